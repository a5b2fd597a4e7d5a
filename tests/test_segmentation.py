import numpy as np
import pytest

from tomoseg.errors import GridError, InputError, LabelError
from tomoseg.labels import LabelSet
from tomoseg.masks import pack
from tomoseg.segmentation import SLAB_SLICES, LabelMap, Segmentation
from tomoseg.volume import SourceGrid

NAMES = [f"part_{n}" for n in range(10)]
LABELS = LabelSet.from_names(NAMES)


def _grid(slices):
    return SourceGrid((4, 3, slices), np.diag([1.0, 2.0, 3.0, 1.0]))


def _masks(rng, slices):
    return rng.random((len(LABELS), 4, 3, slices)) < 0.3


@pytest.mark.parametrize("slices", [1, SLAB_SLICES - 1, SLAB_SLICES, SLAB_SLICES + 1, 2 * SLAB_SLICES, 19])
def test_what_goes_in_comes_out(rng, slices):
    masks = _masks(rng, slices)
    packed = pack(masks)
    segmentation = Segmentation.from_packed(packed, LABELS, _grid(slices))
    for channel, name in enumerate(NAMES):
        np.testing.assert_array_equal(segmentation.mask(name), masks[channel], strict=True)
    for k in range(slices):
        np.testing.assert_array_equal(segmentation.slice(k), masks[..., k], strict=True)
    for plane in range(2):
        np.testing.assert_array_equal(segmentation.byte_plane(plane), packed[plane], strict=True)


@pytest.mark.parametrize("slices", [1, SLAB_SLICES + 1])
def test_it_is_empty_without_a_voxel(slices):
    masks = np.zeros((len(LABELS), 4, 3, slices), bool)
    assert Segmentation.from_packed(pack(masks), LABELS, _grid(slices)).is_empty
    assert LabelMap(np.zeros((4, 3, slices), np.uint8), LABELS, _grid(slices)).is_empty
    masks[9, 3, 2, -1] = True
    assert not Segmentation.from_packed(pack(masks), LABELS, _grid(slices)).is_empty
    assert not LabelMap(masks[9].astype(np.uint16), LABELS, _grid(slices)).is_empty


def test_slices_are_appended_one_by_one_from_inferior_to_superior(rng):
    masks = _masks(rng, 11)
    segmentation = Segmentation(LABELS, _grid(11))
    buffer = np.empty((2, 4, 3), np.uint8)
    for k in range(11):
        buffer[:] = pack(masks[..., k])  # the caller may use its array again
        segmentation.append(buffer)
    np.testing.assert_array_equal(segmentation.mask("part_9"), masks[9])


def test_a_file_in_another_orientation_is_filled_in_ras_order(rng):
    # The file stores z first; the segmentation is (x, y, z) like everything in memory.
    sagittal = SourceGrid((9, 4, 3), np.array([[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float64))
    masks = _masks(rng, 9)
    assert Segmentation.from_packed(pack(masks), LABELS, sagittal).mask("part_3").shape == (4, 3, 9)


def test_complete_slabs_can_be_read_before_the_rest_is_there(rng):
    masks = _masks(rng, 11)
    segmentation = Segmentation(LABELS, _grid(11))
    for k in range(10):
        segmentation.append(pack(masks[..., k]))
    np.testing.assert_array_equal(segmentation.slice(7), masks[..., 7])
    with pytest.raises(GridError, match="expected a slice below 8, got 8; append more"):
        segmentation.slice(8)
    with pytest.raises(GridError, match="expected all 11 slices before reading, got 10; append the rest"):
        segmentation.mask("part_0")
    with pytest.raises(GridError, match="expected all 11 slices before reading, got 10; append the rest"):
        next(segmentation.slabs())
    segmentation.append(pack(masks[..., 10]))
    np.testing.assert_array_equal(segmentation.slice(10), masks[..., 10])


@pytest.mark.parametrize("k", [-1, 11])
def test_slices_that_the_scan_does_not_have(rng, k):
    segmentation = Segmentation.from_packed(pack(_masks(rng, 11)), LABELS, _grid(11))
    with pytest.raises(GridError, match=f"expected a slice below 11, got {k};"):
        segmentation.slice(k)


def test_what_does_not_fit_is_refused(rng):
    segmentation = Segmentation(LABELS, _grid(1))
    with pytest.raises(InputError, match="expected 2 bytes per voxel for 10 structures, got 3"):
        segmentation.append(np.zeros((3, 4, 3), np.uint8))
    with pytest.raises(GridError, match=r"expected 1 slices of \(4, 3\), got slice 0 of \(3, 4\)"):
        segmentation.append(np.zeros((2, 3, 4), np.uint8))
    segmentation.append(np.zeros((2, 4, 3), np.uint8))
    with pytest.raises(GridError, match=r"expected 1 slices of \(4, 3\), got slice 1 of \(4, 3\)"):
        segmentation.append(np.zeros((2, 4, 3), np.uint8))
    with pytest.raises(LabelError, match="did you mean 'part_1'"):
        segmentation.mask("part1")


def test_masks_of_few_voxels_take_little_memory():
    grid = SourceGrid((64, 64, 16), np.eye(4))
    segmentation = Segmentation(LABELS, grid)
    slab = np.zeros((2, 64, 64), np.uint8)
    slab[0, 20:30, 20:30] = 1
    for _ in range(8):
        segmentation.append(slab)
    half = segmentation.compressed_bytes
    for _ in range(8):
        segmentation.append(slab)
    assert 0 < half < segmentation.compressed_bytes < 2 * 64 * 64 * 16 / 20


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_label_map(dtype):
    labels = LabelSet.from_names(["liver", "aorta"])
    values = np.array([0, 1, 2, 2], dtype).reshape(4, 1, 1)
    label_map = LabelMap(values, labels, SourceGrid((4, 1, 1), np.eye(4)))
    assert label_map.mask("liver").ravel().tolist() == [False, True, False, False]
    assert label_map.mask("aorta").ravel().tolist() == [False, False, True, True]
    with pytest.raises(LabelError, match="did you mean 'aorta'"):
        label_map.mask("aotra")
