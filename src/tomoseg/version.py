"""The version of tomoseg, for records and headers."""

__version__ = "0.2.0"
