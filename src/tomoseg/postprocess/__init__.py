"""What is done to masks after the network: pure functions on one structure, and lists of them for many."""
