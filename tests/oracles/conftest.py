"""Scripts that run elsewhere are no tests."""

collect_ignore = ["nnunet_oracle.py", "totalseg_oracle.py"]
