"""Labelled scans on disk: their layouts, splits and masks, and downloads of public ones."""
