"""Voxels of a task against SciPy's own interpolation, to the last bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from tomoseg.errors import GridError
from tomoseg.inference.nnunet.voxels import brought, nearest, shape_on


@settings(max_examples=30)
@given(
    shape=st.tuples(*[st.integers(1, 33)] * 3),
    zoom=st.tuples(*[st.floats(0.3, 2.5)] * 3),
    seed=st.integers(0, 9),
)
def test_a_scan_is_what_scipy_makes_of_it_cut_off(shape, zoom, seed):
    hu = np.random.default_rng(seed).integers(-1024, 3000, shape).astype(np.int16)
    hu[: shape[0] // 3] = -1000  # what is one value may come back a HU nearer to 0
    wanted = tuple(max(1, round(n * z)) for n, z in zip(shape, zoom, strict=True))
    exact = [w / n for w, n in zip(wanted, shape, strict=True)]
    expected = ndimage.zoom(hu.astype(np.float64), exact, order=1, mode="nearest").astype(np.int32)
    assert np.array_equal(brought(np.asfortranarray(hu), wanted), expected)


@pytest.mark.parametrize(("length", "target"), [(7, 19), (19, 7), (200, 333), (5, 5), (1, 4), (4, 1)])
def test_labels_come_back_as_with_scipy(length, target):
    labels = np.random.default_rng(0).integers(0, 99, (length, 2)).astype(np.float64)
    expected = ndimage.zoom(labels, (target / length, 1), order=0, mode="nearest")
    assert np.array_equal(labels[nearest(length, target)], expected)


def test_how_many_voxels():
    assert shape_on((512, 512, 300), (0.8, 0.8, 1.5), (1.5, 1.5, 1.5)) == (273, 273, 300)
    assert shape_on((3, 3, 3), (0.1, 1.5, 3.0), (1.5, 1.5, 1.5)) == (1, 3, 6)


def test_a_wrong_unit_is_refused():
    with pytest.raises(GridError, match=r"for voxels of .* mm; check the scan's unit"):
        shape_on((512, 512, 300), (800.0, 800.0, 1500.0), (1.5, 1.5, 1.5))
