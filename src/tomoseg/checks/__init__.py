"""Checks of scans and datasets before they are used."""
