"""Training: a preprocessed dataset in, a run folder with the best model out."""
