"""One file and one record: scans, masks, label maps and results in and out, nothing else."""
