import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tomoseg.files.layers import layered_slabs, survey
from tomoseg.labels import LabelSet
from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.volume import SourceGrid

NAMES = [f"s{number}" for number in range(11)]
LABELS = LabelSet.from_names(NAMES)


def segmentation(masks):
    grid = SourceGrid(masks.shape[1:], np.eye(4))
    return Segmentation.from_packed(np.packbits(masks, axis=0, bitorder="little"), LABELS, grid)


MASKS = arrays.arrays(
    bool, st.tuples(st.just(11), st.integers(1, 9), st.integers(1, 5), st.integers(1, 19)), fill=st.just(False)
)


@given(MASKS)
def test_boxes_and_overlaps_are_those_of_the_masks(masks):
    seen = survey(segmentation(masks))
    flat = masks.reshape(11, -1).astype(int)
    expected = flat @ flat.T > 0
    np.fill_diagonal(expected, False)
    np.testing.assert_array_equal(seen.overlaps, expected)
    assert seen.found == tuple(np.flatnonzero(flat.any(axis=1)))
    for channel in seen.found:
        places = np.argwhere(masks[channel])
        np.testing.assert_array_equal(seen.boxes[channel], np.stack([places.min(0), places.max(0)], axis=1))


@given(MASKS, st.booleans())
def test_layers_hold_every_mask(masks, descending):
    result = segmentation(masks)
    layers = survey(result).layers
    found = np.zeros_like(masks)
    for start, slab in layered_slabs(result, layers, descending):
        for channel, layer in enumerate(layers):
            depth = slice(start, start + slab.shape[1])
            found[channel][:, :, depth] = (slab[layer] == LABELS.ids[channel]).transpose(2, 1, 0)
    np.testing.assert_array_equal(found, masks)


def test_layers_by_hand():
    masks = np.zeros((11, 4, 1, 1), bool)
    masks[0, 0] = masks[1, 0] = True  # 0 and 1 share a voxel, and so do 1 and 2, but not 0 and 2
    masks[1, 1] = masks[2, 1] = True
    masks[10, 3] = True
    seen = survey(segmentation(masks))
    assert (seen.found, seen.is_disjoint) == ((0, 1, 2, 10), False)
    assert [seen.layers[channel] for channel in seen.found] == [0, 1, 0, 0]


def test_a_label_map_is_one_layer():
    values = np.zeros((3, 2, 17), np.uint8)
    values[1:, 1, 9:12] = 4
    result = LabelMap(values, LABELS, SourceGrid(values.shape, np.eye(4)))
    seen = survey(result)
    assert (seen.found, seen.is_disjoint) == ((3,), True)
    assert seen.boxes[3].tolist() == [[1, 2], [1, 1], [9, 11]]
    slabs = [slab for _, slab in layered_slabs(result, seen.layers)]
    np.testing.assert_array_equal(np.concatenate(slabs, axis=1)[0].T, values)
