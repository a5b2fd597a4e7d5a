"""Multi-label segmentation of CT: labelled scans in, a mask for each structure of a new scan out."""

__version__ = "0.1.0"
