"""Evaluation of predictions: metrics, summaries, baselines."""
