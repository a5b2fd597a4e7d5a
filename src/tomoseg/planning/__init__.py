"""Settings chosen from what a dataset is: a fingerprint of it, and rules that go by that."""
