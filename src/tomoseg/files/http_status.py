"""Answers of servers over HTTP."""

MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Failures that may be over when asked again."""
