"""Decisions against interpolating everything in float64 and deciding then, with SciPy and PyTorch as oracles."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.special import expit
from torch.nn.functional import interpolate

from tomoseg.errors import LabelError
from tomoseg.grid import Placement
from tomoseg.inference.decide import (
    GridSlice,
    confidences,
    decide_labels,
    decide_masks,
    highest_confidence,
    load_kernels,
    scan_slices,
)
from tomoseg.masks import unpack

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
    return values.astype(np.float32)


def interpolated(volume, size, share):
    """`(c, x, y)` float64: linear between points, clamped at the edges."""
    axes = [(np.arange(n) + 0.5) * g / n - 0.5 for n, g in zip(size, volume.shape[1:3], strict=True)]
    where = np.meshgrid(*axes, [share], indexing="ij")
    sampled = [map_coordinates(c.astype(np.float64), where, order=1, mode="nearest") for c in volume]
    return np.stack(sampled)[..., 0]


def tolerance(volume, size):
    """`(c, x, y)`, 8 units in the last place of float32 at the largest corner around each pixel."""
    largest = np.abs(volume).max(axis=3)
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
@pytest.mark.parametrize("size", [(7, 5), (14, 10), (19, 13), (4, 3), (1, 1)])
def test_pixels_lie_where_pytorch_puts_them(kind, size):
    """Another oracle than SciPy's, on slices where nothing is near 0."""
    volume = make_volume(kind, 19, (7, 5), 0)
    value = interpolate(torch.from_numpy(volume[..., 0])[None], size=size, mode="bilinear", align_corners=False)[0]
    value = value.numpy()
    clear = np.abs(value) > 1e-5
    assert clear.mean() > 0.9
    where = between(volume, 0.0)
    assert np.array_equal(unpack(decide_masks(where, size), 19)[clear], (value > 0)[clear])
    highest = np.sort(np.concatenate([value, np.zeros((1, *size), np.float32)]), axis=0)
    sure = highest[-1] - highest[-2] > 1e-5
    expected = np.where(value.max(axis=0) > 0, value.argmax(axis=0) + 1, 0)
    assert np.array_equal(decide_labels(where, size, list(range(1, 20)))[sure], expected[sure])


@cases
@settings(max_examples=100, deadline=None)
def test_confidences_are_probabilities_of_the_logits_that_the_network_gave(kind, channels, points, size, share, seed):
    volume = make_volume(kind, channels, points, seed)
    offsets = np.random.default_rng(seed).normal(size=channels).astype(np.float32)
    value = interpolated(volume, size, share) + offsets[:, None, None].astype(np.float64)
    expected = 255 * expit(value)
    found = confidences(between(volume, share), size, offsets)
    assert np.abs(found - expected).max() <= 0.51  # rounded to the nearest, but for float32
    highest = highest_confidence(between(volume, share), size, offsets)
    assert highest.shape == (1, *size)
    assert np.array_equal(highest[0], found.max(axis=0))


def test_confidences_by_hand():
    logits = np.array([-200, -np.log(3), 0, np.log(3), 200], np.float32).reshape(1, 5, 1)
    where = (GridSlice(logits), GridSlice(logits), 0.0)
    found = confidences(where, (5, 1), np.zeros(1, np.float32))
    assert found[0, :, 0].tolist() == [0, 64, 128, 191, 255]  # 63.75, 127.5 and 191.25, a half to the even
    offset = np.log(np.array([0.25 / 0.75], np.float32))  # decided at 0.25: 0 is a probability of 0.25
    assert confidences(where, (5, 1), offset)[0, 2, 0] == 64
    assert highest_confidence(where, (5, 1), offset)[0, 2, 0] == 64


def test_ties_go_to_the_lower_channel():
    logits = np.full((20, 1, 3), -1, np.float32)
    logits[[2, 5], :, 0] = 1.5
    logits[[6, 12, 19], :, 1] = 1.5
    logits[[9, 3], :, 2] = np.array([2.5, 1.5])[:, None]
    where = (GridSlice(logits), GridSlice(logits), 0.0)
    assert decide_labels(where, (1, 3), list(range(1, 21))).tolist() == [[3, 7, 10]]
    assert decide_labels(where, (1, 9), list(range(1, 21)))[0, [1, 4, 7]].tolist() == [3, 7, 10]


def test_one_structure_can_win_between_two_others():
    logits = np.array([[4, -9], [-9, 4], [3, 3]], np.float32)[:, None]  # crossing at -2.5, where the third has 3
    where = (GridSlice(logits), GridSlice(logits), 0.0)
    assert decide_labels(where, (1, 6), [1, 2, 3]).tolist() == [[1, 1, 3, 3, 2, 2]]


def test_zero_and_below_is_background():
    logits = np.full((9, 2, 2), -0.1, np.float32)
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
    logits = np.array([[[1.0]], [[2.0]]], np.float32)
    assert decide_labels((GridSlice(logits), GridSlice(logits), 0.0), (1, 1), [300, 1]).tolist() == [[1]]
    assert decide_labels((GridSlice(logits), GridSlice(logits), 0.0), (1, 1), [1, 300]).tolist() == [[300]]
    with pytest.raises(LabelError, match=r"expected ids up to 65535 for a label map, got 65536; renumber"):
        decide_labels((GridSlice(logits), GridSlice(logits), 0.0), (1, 1), [65536, 1])


@pytest.mark.parametrize(("depth", "extent"), [(5, 5), (4, 9), (3, 30), (9, 4), (30, 7), (1, 6), (6, 1), (7, 8)])
def test_scan_slices_are_linear_between_slice_centres(depth, extent):
    volume = np.random.default_rng(0).normal(size=(3, 4, 5, depth)).astype(np.float32)
    placement = Placement((0, 0, 0), (4, 5, extent), (4, 5, depth))
    found = [
        (1 - share) * low.logits + share * high.logits
        for low, high, share in scan_slices((volume[..., k] for k in range(depth)), placement)
    ]
    size = (4, 5, extent)
    expected = interpolate(torch.from_numpy(volume)[None], size=size, mode="trilinear", align_corners=False)[0]
    np.testing.assert_allclose(np.stack(found, axis=-1), expected.numpy(), atol=1e-5)  # PyTorch places in float32


def test_scan_slices_are_pulled_as_they_are_needed():
    pulled = []

    def logits():
        for k in range(5):
            pulled.append(k)
            yield np.full((1, 1, 1), k, np.float32)

    slices = scan_slices(logits(), Placement((0, 0, 0), (1, 1, 10), (1, 1, 5)))
    seen = []
    for low, high, share in slices:
        seen.append((((1 - share) * low.logits + share * high.logits).item(), len(pulled)))
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


def test_kernels_are_loaded_once(monkeypatch):
    load_kernels.cache_clear()
    decided = []
    monkeypatch.setattr("tomoseg.inference.decide.decide_masks", lambda *_: decided.append("masks"))
    monkeypatch.setattr("tomoseg.inference.decide.decide_labels", lambda *_: decided.append("labels"))
    load_kernels()
    load_kernels()
    assert decided == ["masks", "labels"]
    load_kernels.cache_clear()
