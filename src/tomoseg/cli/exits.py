"""The exit status of every command."""

DONE = 0
SOME_FAILED = 1
"""Some cases failed; the others are done."""
NOT_STARTED = 2
"""Nothing could start, or the machine let nothing go on; the last line on standard error says why."""
STOPPED = 130
"""Stopped by Ctrl-C; the same command goes on where it was."""
NOT_READ = 141
"""Nobody reads the output any more, as with `| head`; what other programs end with on such a signal."""
