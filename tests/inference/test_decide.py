"""Decisions against interpolating everything in float64 and deciding then, with SciPy and PyTorch as oracles."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates
from torch.nn.functional import interpolate

from tomoseg.errors import LabelError
from tomoseg.grid import Placement
from tomoseg.inference.decide import (
    GridSlice,
    _highest,
    _interpolated,
    decide_labels,
    decide_masks,
    scan_slices,
)
from tomoseg.masks import pack, unpack

KINDS = ("random", "smooth", "ties", "all negative", "all positive", "far apart")


def make_volume(kind, channels, points, seed):
    """Logits `(c, gx, gy, 2)`, of two slices."""
    values = np.random.default_rng(seed).normal(size=(channels, *points, 2))
    if kind == "smooth":
        values = gaussian_filter(values, (0, 1.5, 1.5, 0)) * 5
    if kind == "ties":
        values = np.rint(values * 1.5)
    if kind == "all negative":
        values = -np.abs(values) * (values > 0.3)  # with zeros, which are not above 0
    if kind == "all positive":
        values = np.abs(values) + 1e-6
    if kind == "far apart":
        values = values * 10.0 ** np.random.default_rng(seed + 1).integers(-20, 20, (channels, 1, 1, 1))
    return torch.from_numpy(values.astype(np.float32))


def interpolated(volume, size, share):
    """`(c, x, y)` float64: linear between points, clamped at the edges."""
    axes = [(np.arange(n) + 0.5) * g / n - 0.5 for n, g in zip(size, volume.shape[1:3], strict=True)]
    where = np.meshgrid(*axes, [share], indexing="ij")
    sampled = [map_coordinates(c.double().numpy(), where, order=1, mode="nearest") for c in volume]
    return np.stack(sampled)[..., 0]


def tolerance(volume, size):
    """`(c, x, y)`, 8 units in the last place of float32 at the largest corner around each pixel."""
    largest = np.abs(volume.numpy()).max(axis=3)
    axes = [np.clip((np.arange(n) + 0.5) * g / n - 0.5, 0, g - 1) for n, g in zip(size, largest.shape[1:], strict=True)]
    corners = [
        largest[:, x(axes[0]).astype(int)][:, :, y(axes[1]).astype(int)]
        for x in (np.floor, np.ceil)
        for y in (np.floor, np.ceil)
    ]
    return 8 * np.spacing(np.max(corners, axis=0))


def between(volume, share):
    low, high = (GridSlice(volume[..., k]) for k in (0, 1))
    return (low, high, share) if share > 0 else (low, low, 0.0)


cases = given(
    kind=st.sampled_from(KINDS),
    channels=st.sampled_from([1, 2, 8, 9, 19, 117, 130]),
    points=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    size=st.tuples(st.integers(1, 26), st.integers(1, 26)),
    share=st.sampled_from([0.0, 0.5, 0.3, 0.875]),
    seed=st.integers(0, 1000),
)


@cases
@settings(max_examples=150, deadline=None)
def test_masks_are_where_the_interpolated_logit_is_positive(kind, channels, points, size, share, seed):
    volume = make_volume(kind, channels, points, seed)
    value = interpolated(volume, size, share)
    found = unpack(decide_masks(between(volume, share), size), channels)
    differs = found != (value > 0)
    assert (np.abs(value) <= tolerance(volume, size))[differs].all()


@cases
@settings(max_examples=150, deadline=None)
def test_labels_are_the_highest_positive_interpolated_logit(kind, channels, points, size, share, seed):
    volume = make_volume(kind, channels, points, seed)
    value = np.concatenate([np.zeros((1, *size)), interpolated(volume, size, share)])
    allowed = np.concatenate([np.zeros((1, *size)), tolerance(volume, size)])
    found = decide_labels(between(volume, share), size, list(range(1, channels + 1))).astype(int)
    expected = value.argmax(axis=0)  # ties to the lower channel, 0 for background
    x, y = np.nonzero(found != expected)
    mine, best = found[x, y], expected[x, y]
    margin = value[best, x, y] - value[mine, x, y]
    assert (margin <= np.maximum(allowed[best, x, y], allowed[mine, x, y])).all()


@pytest.mark.parametrize("kind", ["random", "smooth"])
@pytest.mark.parametrize("share", [0.0, 0.3])
@pytest.mark.parametrize("size", [(7, 5), (14, 10), (19, 13), (4, 3), (1, 1)])
def test_gpu_way_is_the_same(kind, share, size):
    volume = make_volume(kind, 19, (7, 5), 0)
    where = between(volume, share)
    masks = np.concatenate([group.numpy() > 0 for group in _interpolated(where, size)])
    assert np.array_equal(decide_masks(where, size), pack(masks))
    assert np.array_equal(decide_labels(where, size, list(range(1, 20))), _highest(where, size).numpy())


def test_ties_go_to_the_lower_channel():
    logits = torch.full((20, 1, 3), -1.0)
    logits[[2, 5], :, 0] = 1.5
    logits[[6, 12, 19], :, 1] = 1.5
    logits[[9, 3], :, 2] = torch.tensor([2.5, 1.5])[:, None]
    where = (GridSlice(logits), GridSlice(logits), 0.0)
    assert decide_labels(where, (1, 3), list(range(1, 21))).tolist() == [[3, 7, 10]]
    assert decide_labels(where, (1, 9), list(range(1, 21)))[0, [1, 4, 7]].tolist() == [3, 7, 10]
    assert _highest(where, (1, 3)).tolist() == [[3, 7, 10]]


def test_one_structure_can_win_between_two_others():
    logits = torch.tensor([[4.0, -9.0], [-9.0, 4.0], [3.0, 3.0]])[:, None]  # crossing at -2.5, where the third has 3
    where = (GridSlice(logits), GridSlice(logits), 0.0)
    assert decide_labels(where, (1, 6), [1, 2, 3]).tolist() == [[1, 1, 3, 3, 2, 2]]


def test_zero_and_below_is_background():
    logits = torch.full((9, 2, 2), -0.1)
    logits[4] = 0.0
    where = (GridSlice(logits), GridSlice(logits), 0.0)
    for size in ((2, 2), (5, 3)):
        assert not decide_labels(where, size, list(range(1, 10))).any()
        assert not decide_masks(where, size).any()


def test_a_label_is_inside_its_mask():
    where, ids = between(make_volume("random", 19, (7, 5), 4) - 1.5, 0.0), list(range(1, 20))
    masks, labels = unpack(decide_masks(where, (19, 13)), 19), decide_labels(where, (19, 13), ids)
    assert (labels == 0).any()
    assert (labels > 9).any()
    for channel, value in enumerate(ids):
        assert masks[channel][labels == value].all()
    assert not masks[:, labels == 0].any()


def test_ids_of_two_bytes_and_none_larger():
    logits = torch.tensor([[[1.0]], [[2.0]]])
    assert decide_labels((GridSlice(logits), GridSlice(logits), 0.0), (1, 1), [300, 1]).tolist() == [[1]]
    assert decide_labels((GridSlice(logits), GridSlice(logits), 0.0), (1, 1), [1, 300]).tolist() == [[300]]
    with pytest.raises(LabelError, match=r"expected ids up to 65535 for a label map, got 65536; renumber"):
        decide_labels((GridSlice(logits), GridSlice(logits), 0.0), (1, 1), [65536, 1])


@pytest.mark.parametrize(("depth", "extent"), [(5, 5), (4, 9), (3, 30), (9, 4), (30, 7), (1, 6), (6, 1), (7, 8)])
def test_scan_slices_are_linear_between_slice_centres(depth, extent):
    volume = torch.randn(3, 4, 5, depth, generator=torch.Generator().manual_seed(0))
    placement = Placement((0, 0, 0), (4, 5, extent), (4, 5, depth))
    found = [
        (1 - share) * low.logits + share * high.logits
        for low, high, share in scan_slices((volume[..., k] for k in range(depth)), placement)
    ]
    expected = interpolate(volume[None], size=(4, 5, extent), mode="trilinear", align_corners=False)[0]
    assert torch.allclose(torch.stack(found, dim=-1), expected, atol=1e-5)  # PyTorch places in float32


def test_scan_slices_are_pulled_as_they_are_needed():
    pulled = []

    def logits():
        for k in range(5):
            pulled.append(k)
            yield torch.full((1, 1, 1), float(k))

    slices = scan_slices(logits(), Placement((0, 0, 0), (1, 1, 10), (1, 1, 5)))
    seen = []
    for low, high, share in slices:
        seen.append((float((1 - share) * low.logits + share * high.logits), len(pulled)))
    assert seen == [
        (0, 1),
        (0.25, 2),
        (0.75, 2),
        (1.25, 3),
        (1.75, 3),
        (2.25, 4),
        (2.75, 4),
        (3.25, 5),
        (3.75, 5),
        (4, 5),
    ]
