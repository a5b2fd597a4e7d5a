"""Connected components of a mask, 26-connected.

Edges and corners connect, since ribs and vessels that run obliquely through thick slices touch by nothing else.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tomoseg.masks import BoxedMask

TOUCHING = np.ones((3, 3, 3), bool)


def keep_largest(mask: BoxedMask) -> BoxedMask:
    """Keep the component with the most voxels; of equals, the one that begins first along x, then y, then z."""
    pieces, sizes = _pieces(mask)
    return _kept(mask, pieces == 1 + int(np.argmax(sizes)) if sizes.size else mask.inside)


def remove_small(mask: BoxedMask, voxel_ml: float, least_ml: float) -> BoxedMask:
    """Keep the components of at least a volume.

    Args:
        mask: The mask of one structure.
        voxel_ml: Volume of a voxel.
        least_ml: Least volume of a component; 0 keeps all.
    """
    pieces, sizes = _pieces(mask)
    enough = np.concatenate([[False], sizes * voxel_ml >= least_ml * (1 - 1e-9)])
    return _kept(mask, enough[pieces])


def _pieces(mask: BoxedMask) -> tuple[np.ndarray, np.ndarray]:
    """Number the components from 1, 0 outside; also return the voxels of each."""
    pieces, count = ndimage.label(mask.inside, TOUCHING)
    return pieces, np.bincount(pieces.ravel(), minlength=count + 1)[1:]


def _kept(mask: BoxedMask, inside: np.ndarray) -> BoxedMask:
    return BoxedMask(inside, mask.start, mask.shape)
