"""Bodies made of label maps: bent at random, filled with tissues, scanned; with their masks."""

from tomoseg.bodies.anatomy import Anatomy, build_anatomy
from tomoseg.bodies.body import MadeBody, make_body
from tomoseg.bodies.config import BodyConfig
from tomoseg.bodies.read import procedural_anatomy, read_anatomies, read_anatomy

__all__ = [
    "Anatomy",
    "BodyConfig",
    "MadeBody",
    "build_anatomy",
    "make_body",
    "procedural_anatomy",
    "read_anatomies",
    "read_anatomy",
]
