"""How good a prediction is: overlap, summaries, baselines."""
