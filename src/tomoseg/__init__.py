"""Multi-label segmentation of CT: labelled scans in, a mask for each structure of a new scan out."""

from tomoseg.version import __version__ as __version__
