"""Post-processing of masks: pure functions on one structure, and lists of steps for many."""
