import numpy as np
from scipy import ndimage

from tomoseg.inference.nnunet.frame import lay_grid
from tomoseg.inference.nnunet.patches import gaussian, means_of_slices
from tomoseg.nnunet import Intensity, NnunetPlan
from tomoseg.volume import SourceGrid


def grid_of(shape, patch=(8, 6, 10), sign=1):
    plan = NnunetPlan(spacing_mm=(1.0, 1.0, 1.0), patch=patch, intensity=Intensity(scheme="none"), decision="exclusive")
    return lay_grid(np.ones(shape, np.int16), SourceGrid(shape, np.diag([sign, sign, 1.0, 1.0])), plan)


def test_weights_have_16_bits_and_are_never_0():
    weights = gaussian((64, 64, 64))
    expected = np.zeros((64, 64, 64))
    expected[32, 32, 32] = 1
    expected = ndimage.gaussian_filter(expected, 8.0, mode="constant")
    expected *= 10 / expected.max()
    assert weights.max() == 10
    assert weights.min() == np.float32(np.float16(6e-8))
    np.testing.assert_allclose(weights, expected, rtol=2**-11, atol=6e-8)


def test_what_every_patch_says_alike_stays(rng):
    """Each voxel's own value comes back, whichever patches cover it, and slices come one by one."""
    for shape, sign in (((19, 23, 21), 1), ((19, 23, 21), -1), ((5, 23, 3), 1)):
        grid = grid_of(shape, sign=sign)
        values = rng.normal(size=shape).astype(np.float32)
        slabs = [values[:, :, :2], values[:, :, 2:]]
        made = means_of_slices(lambda block: np.stack([block, 2 * block]), slabs, grid, 0.5)
        np.testing.assert_allclose(np.stack(list(made), axis=-1), np.stack([values, 2 * values]), atol=1e-5)


def test_a_patch_counts_most_in_its_middle():
    grid = grid_of((10, 6, 12))
    count = iter([0.0, 1.0])

    def compute(block):
        assert block.shape == (10, 6, 8)
        return np.full((1, *block.shape), next(count), np.float32)

    (found,) = np.stack(list(means_of_slices(compute, [np.ones((10, 6, 12), np.float32)], grid, 0.5)), axis=-1)
    along = found[5, 3]
    assert along[:4].tolist() == [0, 0, 0, 0]
    assert along[8:].tolist() == [1, 1, 1, 1]
    assert (np.diff(along[3:9]) > 0).all()
    weights = gaussian((8, 6, 10))[:, 3, 5].astype(float)
    np.testing.assert_allclose(along[4:8], weights[:4] / (weights[:4] + weights[4:]), atol=1e-5)
