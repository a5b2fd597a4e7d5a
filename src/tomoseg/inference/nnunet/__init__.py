"""Scans as nnU-Net gives them to its networks, and logits back on the scan, in a stream."""
