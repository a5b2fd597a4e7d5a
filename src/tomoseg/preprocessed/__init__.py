"""A dataset made fast: written once, then any slice is read in about a millisecond."""
