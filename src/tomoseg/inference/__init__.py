"""Prediction: from a model and a scan to masks on the scan's own grid."""
