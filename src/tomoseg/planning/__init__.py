"""Choice of training settings by rules from a dataset's fingerprint."""
