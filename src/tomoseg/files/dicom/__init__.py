"""CT scans as DICOM: files found, headers read, one series chosen, its slices decoded and stacked."""
