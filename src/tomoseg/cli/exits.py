"""The exit status of every command."""

DONE = 0
SOME_FAILED = 1
"""Some cases failed; the others are done."""
NOT_STARTED = 2
"""Nothing could start; the last line on standard error says why."""
STOPPED = 130
"""Stopped by Ctrl-C; the same command goes on where it was."""
