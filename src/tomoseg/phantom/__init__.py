"""Procedural CT phantoms with all 117 structures, from a seed, to learn and to test with."""

from tomoseg.phantom.scan import VIEWS, Phantom, ViewName, make_phantom
from tomoseg.phantom.write import make_phantom_dataset, write_phantom

__all__ = ["VIEWS", "Phantom", "ViewName", "make_phantom", "make_phantom_dataset", "write_phantom"]
