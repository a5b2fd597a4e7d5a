"""Preprocessed datasets: written once, after which any slice is read in about a millisecond."""
