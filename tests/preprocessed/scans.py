"""Small labelled scans for tests of preprocessed datasets."""

import numpy as np

from tomoseg.preprocessed.write import CaseInput
from tomoseg.volume import Volume


def make_case(hu, masks, structures, affine=None, name="c0", warnings=()):
    """A case from an array and the masks of its annotated channels, both in RAS+ order."""
    affine = np.diag([1.0, 1.0, 1.0, 1.0]) if affine is None else affine
    return CaseInput(
        name, "p0", Volume.from_array(hu, affine), masks.__getitem__, tuple(masks), structures, "print", warnings
    )


def box(shape, *corners):
    """A mask of a box, given as `(start, stop)` along each axis."""
    mask = np.zeros(shape, bool)
    mask[tuple(slice(*corner) for corner in corners)] = True
    return mask
