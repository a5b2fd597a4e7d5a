"""Centre-line Dice: whether a vessel is followed, regardless of its width.

Source: Shit, S. et al. (2021). clDice: a novel topology-preserving loss function for tubular structure segmentation.
CVPR, 16560-16569. Centre lines are the 3D thinning of Lee, T. C. et al. (1994), CVGIP 56(6), 462-478.
"""

from __future__ import annotations

from dataclasses import replace

from tomoseg.evaluation.pairs import MaskPair
from tomoseg.masks import BoxedMask
from tomoseg.packages import require_installed


def centre_line_dice(pair: MaskPair) -> float:
    """Return the centre-line Dice (clDice) of two masks.

    It is the harmonic mean of two shares: that of the predicted centre line inside the reference, and vice versa.

    Args:
        pair: Two masks, neither empty.

    Returns:
        0 to 1; 0 if neither centre line meets the other mask.

    Raises:
        ConfigError: If scikit-image is not installed.

    Example:
        >>> import numpy as np
        >>> line = BoxedMask.of(np.ones((1, 1, 8), bool))
        >>> half = BoxedMask(line.inside[:, :, :4], (0, 0, 0), (1, 1, 8))
        >>> round(centre_line_dice(MaskPair(half, line, (1.0, 1.0, 1.0), 3.0)), 3)
        0.667
    """
    precision = _share_inside(centre_line(pair.predicted), pair.reference)
    sensitivity = _share_inside(centre_line(pair.reference), pair.predicted)
    return 2 * precision * sensitivity / (precision + sensitivity) if precision or sensitivity else 0.0


def centre_line(mask: BoxedMask) -> BoxedMask:
    """Return the centre line of a mask, one voxel wide; a mask of which thinning leaves nothing is returned whole.

    Args:
        mask: The mask, not empty.

    Raises:
        ConfigError: If scikit-image is not installed.
    """
    require_installed("skimage")
    from skimage.morphology import skeletonize

    thinned = skeletonize(mask.inside)
    return replace(mask, inside=thinned) if thinned.any() else mask


def _share_inside(line: BoxedMask, mask: BoxedMask) -> float:
    return line.overlap(mask) / line.voxels
