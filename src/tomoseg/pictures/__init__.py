"""Training curves, four-panel figures, preview sheets, and the pages of reports."""
