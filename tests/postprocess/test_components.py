"""Pieces, against a search that is written out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tomoseg.masks import BoxedMask
from tomoseg.postprocess.components import keep_largest, remove_small

MASKS = arrays(bool, st.tuples(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4)))


def pieces_by_search(mask):
    """Sets of voxels that touch by a face, an edge or a corner, in the order of their first voxel."""
    left, found = {tuple(v) for v in np.argwhere(mask).tolist()}, []
    for start in map(tuple, np.argwhere(mask).tolist()):
        if start not in left:
            continue
        piece, edge = set(), [start]
        left.discard(start)
        while edge:
            voxel = edge.pop()
            piece.add(voxel)
            near = {v for v in left if max(abs(a - b) for a, b in zip(v, voxel, strict=True)) == 1}
            left -= near
            edge += near
        found.append(piece)
    return found


def mask_of(voxels, shape):
    mask = np.zeros(shape, bool)
    for voxel in voxels:
        mask[voxel] = True
    return mask


@given(MASKS)
def test_the_largest_piece(mask):
    pieces = pieces_by_search(mask)
    expected = mask_of(max(pieces, key=len), mask.shape) if pieces else mask
    found = keep_largest(BoxedMask.of(mask))
    assert np.array_equal(found.whole(), expected)
    assert np.array_equal(keep_largest(found).whole(), expected)


@given(MASKS, st.integers(0, 9))
def test_small_pieces_go(mask, least):
    kept = [v for piece in pieces_by_search(mask) if len(piece) >= least for v in piece]
    found = remove_small(BoxedMask.of(mask), 0.1, 0.1 * least)
    assert np.array_equal(found.whole(), mask_of(kept, mask.shape))


@pytest.mark.parametrize("least_ml", [0.0, 1e-9])
def test_nothing_is_smaller_than_nothing(least_ml):
    mask = np.eye(3, dtype=bool)[:, :, None]
    assert np.array_equal(remove_small(BoxedMask.of(mask), 1.0, least_ml).whole(), mask)
