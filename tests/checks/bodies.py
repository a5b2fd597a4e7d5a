"""Bodies of ellipses, at 6 mm: enough of a CT for what is told by shape and HU."""

import numpy as np

from tomoseg.volume import Volume

EDGE_MM = 6.0
SHAPE = (80, 60)
X, Y = ((np.arange(n) - (n - 1) / 2) * EDGE_MM for n in SHAPE)


def ellipse(width_mm, depth_mm, at=(0.0, 0.0)):
    x, y = X[:, None] - at[0], Y[None, :] - at[1]
    return (2 * x / width_mm) ** 2 + (2 * y / depth_mm) ** 2 <= 1


def level(part):
    """One axial slice; the back is at low y."""
    hu = np.full(SHAPE, -1000.0)
    if part == "head":
        hu[ellipse(160, 200)] = 900
        hu[ellipse(130, 170)] = 35
    elif part == "neck":
        hu[ellipse(130, 130)] = 50
        hu[ellipse(30, 30, (0, -20))] = 500
    elif part == "legs":
        for side in (-85, 85):
            hu[ellipse(130, 130, (side, 0))] = 50
            hu[ellipse(30, 30, (side, 0))] = 700
    elif part != "air":
        hu[ellipse(340, 240)] = 50
        hu[ellipse(320, 220)] = 40
        for side in (-80, 80):
            if part == "thorax":
                hu[ellipse(110, 150, (side, 0))] = -830
            if part == "pelvis":
                hu[ellipse(50, 50, (side, 0))] = 600
        if part != "pelvis":
            hu[ellipse(40, 40, (0, -70))] = 500
    return hu


def body(*parts, levels=12, seed=0):
    """So many slices of each part, from feet to head, with noise."""
    hu = np.stack([level(part) for part in parts for _ in range(levels)], axis=2)
    hu += np.random.default_rng(seed).normal(0, 10, hu.shape)
    return Volume.from_array(np.rint(hu).astype(np.int16), np.diag([EDGE_MM, EDGE_MM, EDGE_MM, 1.0]))
