import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomoseg.errors import InputError
from tomoseg.masks import check_packed, pack, packed_bytes, set_structure, structure_mask, unpack


def _packed_bit_by_bit(masks):
    packed = np.zeros((-(-len(masks) // 8), *masks.shape[1:]), np.uint8)
    for c in range(len(masks)):
        for voxel in np.ndindex(masks.shape[1:]):
            if masks[c][voxel]:
                packed[c // 8][voxel] += 2 ** (c % 8)
    return packed


@pytest.mark.parametrize(
    ("structures", "expected"), [(0, 0), (1, 1), (7, 1), (8, 1), (9, 2), (16, 2), (17, 3), (117, 15), (130, 17)]
)
def test_packed_bytes(structures, expected):
    assert packed_bytes(structures) == expected


@pytest.mark.parametrize("structures", range(1, 131))
def test_pack_is_the_bit_by_bit_loop_and_unpack_its_inverse(structures):
    masks = np.random.default_rng(structures).random((structures, 2, 3)) < 0.5
    packed = pack(masks)
    np.testing.assert_array_equal(packed, _packed_bit_by_bit(masks), strict=True)
    np.testing.assert_array_equal(unpack(packed, structures), masks, strict=True)


def test_pack_by_hand():
    masks = np.zeros((10, 1), bool)
    masks[[0, 3, 9]] = True
    # Bits 0 and 3 of the first byte: 1 + 8; bit 1 of the second: 2.
    assert pack(masks).tolist() == [[9], [2]]


@given(st.integers(1, 130), st.data())
def test_one_structure_is_its_row(structures, data):
    masks = np.random.default_rng(structures).random((structures, 3, 2, 2)) < 0.5
    channel = data.draw(st.integers(0, structures - 1))
    np.testing.assert_array_equal(structure_mask(pack(masks), channel), masks[channel], strict=True)


@given(st.integers(1, 130), st.data())
def test_set_structure_adds_to_its_own_bits_only(structures, data):
    rng = np.random.default_rng(structures)
    masks = rng.random((structures, 3, 2)) < 0.3
    channel = data.draw(st.integers(0, structures - 1))
    added = rng.integers(0, 3, (3, 2)) * 100  # any non-zero value is inside
    packed = pack(masks)
    set_structure(packed, channel, added)
    masks[channel] |= added > 0
    np.testing.assert_array_equal(unpack(packed, structures), masks)


def test_masks_that_are_not_contiguous():
    masks = (np.arange(5 * 4 * 6).reshape(5, 4, 6) % 7 == 0)[:, ::-1, ::2]
    np.testing.assert_array_equal(pack(masks), _packed_bit_by_bit(masks))
    packed = np.asfortranarray(pack(masks))
    np.testing.assert_array_equal(structure_mask(packed, 3), masks[3])
    np.testing.assert_array_equal(unpack(packed, 5), masks)


@pytest.mark.parametrize("channel", [-1, 16])
def test_a_channel_that_the_bytes_do_not_hold(channel):
    with pytest.raises(InputError, match=rf"expected a channel below 16, got {channel}"):
        structure_mask(np.zeros((2, 1), np.uint8), channel)


@pytest.mark.parametrize("structures", [8, 17])
def test_bytes_of_another_label_set(structures):
    packed = np.zeros((2, 1), np.uint8)
    check_packed(packed, 9)
    with pytest.raises(InputError, match=rf"for {structures} structures, got 2; pack with the same label set"):
        unpack(packed, structures)
