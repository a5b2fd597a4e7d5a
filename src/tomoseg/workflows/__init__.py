"""One file a command: what it reads, calls and writes."""
