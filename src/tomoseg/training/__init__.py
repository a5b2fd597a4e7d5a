"""Training: from a preprocessed dataset to a run folder with the best model."""
