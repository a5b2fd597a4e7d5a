"""Reading and writing of files: scans, masks, label maps and results."""
