"""Short stacks to train on."""

import numpy as np
import pytest

from tests.training.tiny import NATIVE, make_config, make_dataset
from tomoseg.config import AugmentationConfig, NetworkConfig
from tomoseg.grid import AIR_HU
from tomoseg.masks import pack
from tomoseg.training.sampling import Draw
from tomoseg.training.slices import DrawnSlices
from tomoseg.training.stacks import Stacks, stacks_of

MASKS = np.zeros((2, 6, 100), bool)
MASKS[1, 2, 70:75] = True
KEYS = [(0, 0, number) for number in range(200)]


def kept(share, structure=None, edge_mm=4.0):
    return [Stacks(share).kept(pack(MASKS), edge_mm, key, structure) for key in KEYS]


def test_heights_are_within_the_range_and_anywhere():
    parts = kept(1.0)
    heights = [part.stop - part.start for part in parts]
    assert min(heights) >= 10
    assert max(heights) <= 40
    assert max(heights) - min(heights) > 20
    assert min(part.start for part in parts) < 5
    assert max(part.stop for part in parts) > 95


def test_so_many_as_asked_for_become_short():
    short = [part != slice(0, 100) for part in kept(0.25)]
    assert 0.15 < np.mean(short) < 0.35
    assert not any(part != slice(0, 100) for part in kept(0.0))


def test_what_a_slice_was_drawn_for_is_in_it():
    for part in kept(1.0, structure=1):
        assert MASKS[1, :, part].any()


def test_a_slice_that_is_short_already_stays():
    assert set(map(str, kept(1.0, edge_mm=0.3))) == {str(slice(0, 100))}


def test_slices_are_cut_along_the_height_with_their_masks(tmp_path):
    data = make_dataset(tmp_path, NATIVE.model_copy(update={"view": "coronal"}))
    case = data.cases[0]  # 24 x 22 pixels of 1 mm, so that none is cut unless the heights are smaller
    slices = DrawnSlices(data.cases, 3, (24, 22), stacks=Stacks(1.0))
    draw = Draw(0, 4, (0, 0, 0))
    assert np.array_equal(slices[draw].hu[0, 0], case.ct_slice(4))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tomoseg.training.stacks.HEIGHT_MM", (5.0, 5.0))
        batch = slices[draw]
        part = Stacks(1.0).kept(case.masks_slice(4), 1.0, draw.key, None)
    assert part.stop - part.start == 5
    rows = np.flatnonzero((batch.hu[0, 0].numpy() != AIR_HU).any(axis=0))
    assert len(rows) == 5
    assert np.array_equal(batch.hu[0, 0, :, rows], case.ct_slice(4)[:, part])
    assert np.array_equal(batch.packed[0, :, :, rows], case.masks_slice(4)[:, :, part])


def test_on_for_slices_that_are_not_axial():
    settings = make_config()
    assert stacks_of("coronal", settings) == Stacks(0.2)
    assert stacks_of("axial", settings) is None
    assert stacks_of("sagittal", make_config(augmentation=AugmentationConfig(enabled=False))) is None
    assert stacks_of("sagittal", make_config(augmentation=AugmentationConfig(short_stacks=0))) is None
    assert stacks_of("sagittal", make_config(network=NetworkConfig(dims=3, channels=(8, 16)))) is None
