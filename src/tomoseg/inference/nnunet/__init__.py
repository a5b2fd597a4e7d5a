"""Streaming inference of imported nnU-Net models: preprocessing, patches, and logits on the scan's grid."""
