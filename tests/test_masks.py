import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomoseg.errors import InputError
from tomoseg.masks import (
    BoxedMask,
    add_mask,
    bit_value,
    by_byte,
    byte_of,
    check_packed,
    clear_mask,
    mask_in,
    pack,
    packed_bytes,
    set_structure,
    structure_mask,
    unpack,
)


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


class TestBoxedMask:
    def test_the_tightest_box(self):
        mask = np.zeros((5, 4, 6), bool)
        mask[1, 2, 3] = mask[3, 2, 4] = True
        boxed = BoxedMask.of(mask)
        assert boxed.start == (1, 2, 3)
        assert boxed.inside.shape == (3, 1, 2)
        assert boxed.voxels == 2

    def test_empty(self):
        boxed = BoxedMask.of(np.zeros((3, 4, 5), bool))
        assert boxed.voxels == 0
        assert boxed.whole().shape == (3, 4, 5)
        assert not boxed.whole().any()
        assert boxed.overlap(BoxedMask.of(np.ones((3, 4, 5), bool))) == 0

    @given(st.integers(0, 2**16), st.sampled_from(["C", "F"]), st.floats(0.01, 0.6))
    def test_like_plain_arrays(self, seed, order, share):
        rng = np.random.default_rng(seed)
        one, other = (np.array(rng.random((4, 5, 6)) < share, order=order) for _ in range(2))
        np.testing.assert_array_equal(BoxedMask.of(one).whole(), one)
        np.testing.assert_array_equal(BoxedMask.of(one[::-1]).whole(), one[::-1])
        assert BoxedMask.of(one).overlap(BoxedMask.of(other)) == np.count_nonzero(one & other)
        start = tuple(int(s) for s in rng.integers(0, 3, 3))
        extent = tuple(int(e) for e in rng.integers(1, 3, 3))
        cut = one[tuple(slice(s, s + e) for s, e in zip(start, extent, strict=True))]
        np.testing.assert_array_equal(BoxedMask.of(one).within(start, extent).whole(), cut)


def test_bits_of_a_byte_plane_by_hand():
    assert [byte_of(channel) for channel in (0, 7, 8, 116)] == [(0, 0), (0, 7), (1, 0), (14, 4)]
    assert [int(bit_value(channel)) for channel in (0, 7, 8, 10)] == [1, 128, 1, 4]
    assert by_byte([9, 0, 8, 1]) == {1: [9, 8], 0: [0, 1]}
    plane = np.array([[[0b101, 0b001, 0b100]]], np.uint8)
    assert mask_in(plane, 10).tolist() == [[[True, False, True]]]
    clear_mask(plane, 10)
    assert plane.tolist() == [[[1, 1, 0]]]
    add_mask(plane, 9, BoxedMask.of(np.array([[[False, True, True]]])))
    assert plane.tolist() == [[[1, 3, 2]]]
