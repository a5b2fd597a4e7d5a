"""Orders of axes, by hand and back."""

import numpy as np
import pytest

from tomoseg.views import AXES, ordered, unordered
from tomoseg.volume import Volume, as_axial, seen


def test_coronal_slices_show_left_to_right_and_feet_to_head():
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    assert seen(array, "coronal").shape == (2, 4, 3)
    assert np.array_equal(seen(array, "coronal")[:, :, 1], array[:, 1, :])


def test_sagittal_slices_show_back_to_front_and_feet_to_head():
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    assert np.array_equal(seen(array, "sagittal")[:, :, 1], array[1])


@pytest.mark.parametrize("view", AXES)
def test_there_and_back_is_the_same_memory(view):
    array = np.zeros((5, 2, 3, 4), np.int8)
    back = as_axial(seen(array, view), view)
    assert back.shape == array.shape
    assert back.strides == array.strides
    assert unordered(ordered(("x", "y", "z"), view), view) == ("x", "y", "z")
    assert ordered(array.shape[1:], view) == seen(array, view).shape[1:]


@pytest.mark.parametrize("view", AXES)
def test_a_volume_keeps_its_voxel_edges(view):
    volume = Volume.from_array(np.zeros((2, 3, 4), np.int16), np.diag([-1.0, 2.0, 3.0, 1.0]))
    turned = volume.seen(view)
    assert turned.spacing_mm == ordered((1.0, 2.0, 3.0), view)
    assert turned.shape == turned.hu.shape == ordered((2, 3, 4), view)
