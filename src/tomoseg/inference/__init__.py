"""Prediction: a model and a scan in, masks on the scan's own grid out."""
