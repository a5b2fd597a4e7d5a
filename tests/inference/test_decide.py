"""Decisions against interpolating everything and deciding then, with SciPy and PyTorch as oracles."""

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from torch.nn.functional import interpolate

from tomoseg.grid import Placement
from tomoseg.inference.decide import decide_labels, decide_masks, label_dtype, scan_slices
from tomoseg.masks import unpack

SIZES = [(7, 5), (14, 10), (19, 13), (4, 3), (7, 9), (1, 1)]


def make_logits(channels=19, size=(7, 5), seed=0):
    return torch.randn(channels, *size, generator=torch.Generator().manual_seed(seed))


def bilinear(logits, size):
    """Linear between pixel centres, clamped at the edges."""
    axes = [(np.arange(n) + 0.5) * g / n - 0.5 for n, g in zip(size, logits.shape[1:], strict=True)]
    where = np.meshgrid(*axes, indexing="ij")
    return np.stack([map_coordinates(c.double().numpy(), where, order=1, mode="nearest") for c in logits])


@pytest.mark.parametrize("size", SIZES)
def test_masks_are_where_the_interpolated_logit_is_positive(size):
    logits = make_logits()
    expected = bilinear(logits, size)
    found = unpack(decide_masks(logits, size), 19)
    clear = np.abs(expected) > 1e-5
    assert clear.mean() > 0.99
    assert np.array_equal(found[clear], expected[clear] > 0)


@pytest.mark.parametrize("size", SIZES)
def test_labels_are_the_highest_positive_interpolated_logit(size):
    logits = make_logits() - 1.5
    ids = [3 * c + 2 for c in range(19)]
    full = bilinear(logits, size)
    expected = np.where(full.max(axis=0) > 0, np.array(ids)[full.argmax(axis=0)], 0)
    found = decide_labels(logits, size, ids)
    assert found.shape == size
    assert found.dtype == np.uint8
    assert np.array_equal(found, expected)
    if found.size > 20:
        assert (found == 0).any()
        assert (found > 26).any()


def test_ties_go_to_the_lower_channel():
    logits = torch.full((20, 1, 3), -1.0)
    logits[[2, 5], :, 0] = 1.5  # in one group of eight
    logits[[6, 12, 19], :, 1] = 1.5  # in three
    logits[[9, 3], :, 2] = torch.tensor([2.5, 1.5])[:, None]
    assert decide_labels(logits, (1, 3), list(range(1, 21))).tolist() == [[3, 7, 10]]


def test_zero_and_below_is_background():
    logits = torch.full((9, 2, 2), -0.1)
    logits[4] = 0.0
    for size in ((2, 2), (5, 3)):
        assert not decide_labels(logits, size, list(range(1, 10))).any()
        assert not decide_masks(logits, size).any()


def test_a_label_is_inside_its_mask():
    logits, ids = make_logits(seed=4), list(range(1, 20))
    masks, labels = unpack(decide_masks(logits, (19, 13)), 19), decide_labels(logits, (19, 13), ids)
    for channel, value in enumerate(ids):
        assert masks[channel][labels == value].all()
    assert not masks[:, labels == 0].any()


def test_label_dtype():
    assert label_dtype([1, 255]) is np.uint8
    assert label_dtype([256]) is np.uint16
    assert decide_labels(torch.ones(2, 1, 1), (1, 1), [300, 1]).tolist() == [[300]]


@pytest.mark.parametrize(("depth", "extent"), [(5, 5), (4, 9), (3, 30), (9, 4), (30, 7), (1, 6), (6, 1), (7, 8)])
def test_scan_slices_are_linear_between_slice_centres(depth, extent):
    volume = make_logits(3, (4, 5, depth))
    placement = Placement((0, 0, 0), (4, 5, extent), (4, 5, depth))
    found = torch.stack(list(scan_slices((volume[..., k] for k in range(depth)), placement)), dim=-1)
    expected = interpolate(volume[None], size=(4, 5, extent), mode="trilinear", align_corners=False)[0]
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-5)  # PyTorch places in float32


def test_scan_slices_are_pulled_as_they_are_needed():
    pulled = []

    def logits():
        for k in range(5):
            pulled.append(k)
            yield torch.full((1, 1, 1), float(k))

    slices = scan_slices(logits(), Placement((0, 0, 0), (1, 1, 10), (1, 1, 5)))
    seen = [(float(next(slices)), len(pulled)) for _ in range(10)]
    assert seen == [
        (0, 2),
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
