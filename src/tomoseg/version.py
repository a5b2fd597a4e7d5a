"""Which tomoseg this is, for records and headers."""

__version__ = "0.2.0"
