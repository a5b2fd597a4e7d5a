"""Model folders, and their formats for other runtimes."""
