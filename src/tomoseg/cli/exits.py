"""The exit status of every command."""

DONE = 0
SOME_FAILED = 1
"""Some cases failed; the others are done."""
NOT_STARTED = 2
"""Nothing could start, or the machine's resources ran out; the last line on standard error says why."""
STOPPED = 130
"""Stopped by Ctrl-C; the same command continues."""
NOT_READ = 141
"""The reader of the output has gone, as with `| head`; the usual status of a program ended by SIGPIPE."""
