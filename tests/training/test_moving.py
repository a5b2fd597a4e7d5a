"""Slices moved: by hand, and against SciPy on unpacked masks at the same places."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import BSpline
from scipy.ndimage import map_coordinates

from tests.training.test_augmentation import EVERYTHING
from tomoseg.config import AugmentationConfig
from tomoseg.grid import AIR_HU
from tomoseg.networks.packed import pack_bits, unpack_bits
from tomoseg.training.changes import Change, FieldOfView, draw_change
from tomoseg.training.moving import cut_, move_images, move_masks, sources, spline_weights

CPU = torch.device("cpu")


def slices(n=1, size=(12, 8), structures=11, channels=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    masks = torch.rand(n, structures, *size, generator=generator) < 0.4
    return torch.rand(n, channels, *size, generator=generator) * 2000 - 1000, pack_bits(masks)


def moved(images, packed, changes):
    where = sources(changes, tuple(images.shape[2:]), CPU)
    return move_images(images, where), move_masks(packed, where)


def pixels(changes, size):
    """Sources in pixels, x then y, `(n, 2, x, y)`: a pixel's middle is at a whole number."""
    where = sources(changes, size, CPU).numpy().astype(float)
    return np.stack([(where[..., 1] + 1) * size[0] / 2 - 0.5, (where[..., 0] + 1) * size[1] / 2 - 0.5], axis=1)


def test_identity_changes_nothing():
    images, packed = slices(3)
    found, bits = moved(images, packed, [Change()] * 3)
    assert torch.allclose(found, images, atol=2e-3)
    assert torch.equal(bits, packed)


def test_shift_by_whole_pixels_moves_both():
    # Output (x, y) is from input (x + 3, y - 2) of 12 x 8 pixels: a quarter of the edge each.
    images, packed = slices()
    found, bits = moved(images, packed, [Change(shift=(0.25, -0.25))])
    assert torch.allclose(found[:, :, :9, 2:], images[:, :, 3:, :6], atol=2e-3)
    assert torch.equal(bits[:, :, :9, 2:], packed[:, :, 3:, :6])
    assert (found[:, :, 9:] == AIR_HU).all()
    assert (found[:, :, :, :2] == AIR_HU).all()
    assert not bits[:, :, 9:].any()
    assert not bits[:, :, :, :2].any()


def test_quarter_turn_by_hand():
    # Output (x, y), seen from the centre, is from input (-y, x): column x of the input, read backwards.
    images, packed = slices(size=(6, 6))
    found, bits = moved(images, packed, [Change(turn_degrees=90)])
    for x in range(6):
        assert torch.allclose(found[..., x, :], images[..., x].flip(-1), atol=2e-3)
        assert torch.equal(bits[..., x, :], packed[..., x].flip(-1))


def test_twice_the_size_by_hand():
    # Twice the size, a pixel of the middle covers two by two.
    _, packed = slices(size=(8, 8))
    _, bits = moved(torch.zeros(1, 1, 8, 8), packed, [Change(zoom=2.0)])
    assert torch.equal(bits, packed[:, :, 2:6, 2:6].repeat_interleave(2, dim=2).repeat_interleave(2, dim=3))


def test_never_mirrored_and_a_similarity_in_pixels():
    size, turns = (40, 20), []
    for k in range(100):
        change = draw_change((0, 0, k), AugmentationConfig(rotation_degrees=50, scale=0.4, shift=0.3))
        x, y = pixels([change], size)[0]
        matrix = np.array([[x[1, 0] - x[0, 0], x[0, 1] - x[0, 0]], [y[1, 0] - y[0, 0], y[0, 1] - y[0, 0]]])
        assert np.linalg.det(matrix) > 0
        assert np.allclose(matrix.T @ matrix, np.eye(2) / change.zoom**2, atol=1e-4)
        middle = np.array([x.mean() - 19.5, y.mean() - 9.5]) / size
        assert np.allclose(middle, change.shift, atol=1e-4)
        turns.append(np.degrees(np.arctan2(matrix[1, 0], matrix[0, 0])))
        assert turns[-1] == pytest.approx(change.turn_degrees, abs=1e-3)
    assert min(turns) < -40
    assert max(turns) > 40


@pytest.mark.parametrize("config", [EVERYTHING, AugmentationConfig()], ids=["everything", "default"])
def test_images_and_masks_are_what_scipy_finds_at_the_same_places(config):
    size, structures = (31, 20), 19
    changes = [draw_change((0, 0, k), config) for k in range(6)]
    images, packed = slices(6, size, structures)
    found, bits = moved(images, packed, changes)
    masks, places = unpack_bits(packed, structures), pixels(changes, size)
    assert any(change.bend_pixels > 0 for change in changes) == (config is EVERYTHING)
    disagreeing = 0
    for n in range(6):  # padded, since to SciPy a picture ends at the middle of its last pixel
        for channel in range(2):
            image = np.pad(images[n, channel].numpy(), 1, constant_values=AIR_HU)
            expected = map_coordinates(image, places[n] + 1, order=1, mode="constant", cval=AIR_HU)
            assert np.allclose(found[n, channel], expected, atol=0.05)
        for c in range(structures):
            mask = np.pad(masks[n, c].numpy().astype(np.uint8), 1)
            inside = map_coordinates(mask, places[n] + 1, order=0, mode="constant")
            disagreeing += np.count_nonzero(unpack_bits(bits, structures)[n, c].numpy() != inside.astype(bool))
    assert disagreeing < 1e-3 * 6 * structures * 31 * 20  # ties, where rounding may fall either way
    assert bits.any()
    assert not torch.equal(bits, packed)


def test_image_and_masks_go_to_the_same_place():
    # A blurred disc and its mask: where the moved image is above a half is where the moved mask is.
    place = torch.stack(torch.meshgrid(torch.arange(40.0), torch.arange(30.0), indexing="ij"))
    distance = (place - torch.tensor([25.0, 10.0])[:, None, None]).norm(dim=0)
    image = torch.sigmoid(8 - distance)[None, None] * 1000
    config = AugmentationConfig(rotation_degrees=45, elastic_pixels=2, elastic_probability=1)
    for k in range(10):
        found, bits = moved(image, pack_bits(image > 500), [draw_change((k,), config)])
        assert ((found[:, 0] > 500) != unpack_bits(bits, 1)[:, 0]).sum() < 25


@given(st.integers(1, 300), st.integers(4, 30))
def test_control_points_weigh_as_cubic_b_splines_whose_squares_sum_to_one(length, points):
    weights = spline_weights(length, points)
    assert np.allclose((weights**2).sum(axis=1), 1)
    place = np.linspace(1, points - 2, length)
    splines = np.stack(
        [BSpline.basis_element(np.arange(c - 2.0, c + 3), extrapolate=False)(place) for c in range(points)]
    )
    splines = np.nan_to_num(splines.T)
    assert np.allclose(splines.sum(axis=1), 1)  # four control points surround every pixel, also at the ends
    assert np.allclose(weights, splines / np.linalg.norm(splines, axis=1, keepdims=True))


def test_displacements_have_their_standard_deviation_everywhere_and_are_smooth():
    size = (50, 36)
    changes = [Change(bend_pixels=3.0, bend_points=5, bend_seed=seed) for seed in range(200)]
    by = pixels(changes, size) - pixels([Change()], size)
    deviation = by.std(axis=0)
    assert deviation.mean() == pytest.approx(3, rel=0.08)
    assert 2.2 < deviation.min() < deviation.max() < 3.8
    assert abs(by.mean()) < 0.3  # 200 times 2 means of few points
    assert np.abs(np.diff(by, axis=2)).max() < 1  # the points are 25 and 18 pixels apart
    assert np.abs(np.corrcoef(by[:, 0].ravel(), by[:, 1].ravel())[0, 1]) < 0.05


def test_no_displacement_is_none_beside_others_of_other_points():
    changes = [Change(), Change(bend_pixels=2, bend_points=4, bend_seed=1), Change(bend_pixels=2, bend_points=6)]
    found = sources(changes, (16, 12), CPU)
    for n, change in enumerate(changes):
        assert torch.equal(found[n], sources([change], (16, 12), CPU)[0])
        assert torch.equal(found[n], found[0]) == (n == 0)


def cut(view, size):
    images, packed = torch.full((1, 2, *size), 40.0), torch.full((1, 3, *size), 255, dtype=torch.uint8)
    cut_(images, packed, [Change(view=view)])
    inside = images[0, 0] == 40
    assert torch.equal(inside, images[0, 0] != AIR_HU)
    assert torch.equal(inside, images[0, 1] == 40)
    for plane in packed[0]:
        assert torch.equal(plane, inside.to(torch.uint8) * 255)
    return inside


@pytest.mark.parametrize(("place", "first"), [(-1.0, 0), (0.0, 2), (1.0, 4)])
def test_a_rectangle_by_hand(place, first):
    # 6 of 10 pixels along x and 4 of 8 along y; what is left goes before, on both sides, or behind.
    inside = cut(FieldOfView(False, (0.6, 0.5), (place, 0.0)), (10, 8))
    expected = torch.zeros(10, 8, dtype=torch.bool)
    expected[first : first + 6, 2:6] = True
    assert torch.equal(inside, expected)


def test_a_disc_by_hand():
    # A radius of 3 pixels in the middle of 6 x 6: of the corners' pixels, 2.5 or 1.5 away, only (2.5, 2.5) are outside.
    expected = torch.ones(6, 6, dtype=torch.bool)
    expected[0::5, 0::5] = False
    assert torch.equal(cut(FieldOfView(True, (1.0, 0.3), (0.0, 0.0)), (6, 6)), expected)


@given(st.floats(0.1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_a_disc_is_round_in_pixels_and_stays_in_the_longer_edge(kept, along_x, along_y):
    x, y = torch.nonzero(cut(FieldOfView(True, (kept, 0.5), (along_x, along_y)), (60, 40)), as_tuple=True)
    radius = kept * 30
    middle = torch.tensor([29.5 + along_x * (30 - radius), 19.5 + along_y * abs(20 - radius)])
    away = torch.stack([x, y], 1) - middle
    assert away.norm(dim=1).max() <= radius + 1e-3
    if radius <= 20:
        assert len(x) == pytest.approx(np.pi * radius**2, rel=0.25, abs=4)


def test_only_what_has_a_view_is_cut():
    images, packed = slices(3)
    before = images.clone(), packed.clone()
    cut_(images, packed, [Change(), Change(view=FieldOfView(False, (0.5, 0.5), (0.0, 0.0))), Change()])
    for n in (0, 2):
        assert torch.equal(images[n], before[0][n])
        assert torch.equal(packed[n], before[1][n])
    assert not torch.equal(images[1], before[0][1])
    cut_(images, packed, [Change()] * 3)
    assert torch.equal(images[0], before[0][0])


def test_a_share_of_slices_is_moved_and_those_as_ever():
    always, third = AugmentationConfig(move_probability=1), AugmentationConfig(move_probability=0.33)
    moved = 0
    for k in range(300):
        change, plain = draw_change((0, 0, k), third), draw_change((0, 0, k), always)
        if change.zoom != 1:
            moved += 1
            assert change == plain
        else:
            assert (change.turn_degrees, change.shift, change.hu_shift) == (0, (0, 0), plain.hu_shift)
    assert 70 < moved < 130  # 99 expected, a standard deviation of 8
