"""Labelled scans on disk: their layouts, splits and masks, and the phantom."""
