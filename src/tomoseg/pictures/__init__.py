"""Training curves, four-panel figures, preview sheets."""
