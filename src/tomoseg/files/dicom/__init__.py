"""Reading of CT scans as DICOM (headers, choice of a series, decoding, stacking), and DICOM results."""
