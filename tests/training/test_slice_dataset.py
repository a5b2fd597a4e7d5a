"""A split of a preprocessed dataset as a torch dataset, against the arrays that it was made from."""

import pickle

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from tests.example_files import GRID, body, write_example_files
from tomoseg.config import GridConfig, PreprocessConfig
from tomoseg.errors import ConfigError, DatasetError
from tomoseg.grid import AIR_HU
from tomoseg.training.slice_dataset import SliceDataset
from tomoseg.workflows.preprocess import preprocess


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two training cases on the scans' own grid; nobody annotated the spleen of the second."""
    folder = tmp_path_factory.mktemp("data")
    write_example_files(folder)
    (folder / "DATASET" / "train" / "case1" / "segmentations" / "spleen.nii.gz").unlink()
    settings = PreprocessConfig(grid=GridConfig(mode="native", crop="none"), workers=1)
    preprocess(folder / "DATASET", folder / "native", settings)
    return folder / "native"


def test_slices_are_those_of_the_scans(folder):
    data = SliceDataset(folder)
    assert data.labels.names == ("spleen", "liver")
    assert len(data) == 2 * GRID.shape[2]
    for seed in (0, 1):
        hu, masks = body(seed)
        for k in (0, 5, 11):
            one = data[seed * GRID.shape[2] + k]
            np.testing.assert_array_equal(one.hu, hu[None, :, :, k])
            np.testing.assert_array_equal(one.masks[1], masks["liver"][:, :, k])
            np.testing.assert_array_equal(one.masks[0], masks["spleen"][:, :, k] & (seed == 0))
            assert one.annotated.tolist() == [seed == 0, True]


def test_packed_masks_are_eight_structures_a_byte(folder):
    packed = SliceDataset(folder, packed=True)[5]
    spleen, liver = SliceDataset(folder)[5].masks
    assert packed.masks.dtype == torch.uint8
    assert torch.equal(packed.masks[0], spleen.byte() + 2 * liver.byte())


def test_neighbours_are_repeated_at_the_ends(folder):
    hu = body(0)[0]
    np.testing.assert_array_equal(SliceDataset(folder, neighbours=1)[0].hu, hu[:, :, [0, 0, 1]].transpose(2, 0, 1))
    np.testing.assert_array_equal(
        SliceDataset(folder, neighbours=2)[11].hu, hu[:, :, [9, 10, 11, 11, 11]].transpose(2, 0, 1)
    )


def test_a_size_crops_and_pads_around_the_middle(folder):
    """Of 48 x 40 pixels, 40 x 44 leave out 4 on either side along x and add 2 of air on either side along y."""
    one = SliceDataset(folder, size=(40, 44))[5]
    hu, masks = body(0)
    expected = np.pad(hu[4:44, :, 5], ((0, 0), (2, 2)), constant_values=AIR_HU)
    np.testing.assert_array_equal(one.hu[0], expected)
    np.testing.assert_array_equal(one.masks[1], np.pad(masks["liver"][4:44, :, 5], ((0, 0), (2, 2))))


def test_it_makes_batches_and_travels_to_other_processes(folder):
    data = pickle.loads(pickle.dumps(SliceDataset(folder, neighbours=1)))  # noqa: S301
    batch = next(iter(DataLoader(data, batch_size=3)))
    assert batch.hu.shape == (3, 3, *GRID.shape[:2])
    assert batch.masks.shape == (3, 2, *GRID.shape[:2])
    assert batch.annotated.shape == (3, 2)


def test_refusals(folder, tmp_path):
    with pytest.raises(DatasetError, match="expected cases in split 'train2'"):
        SliceDataset(folder, "train2")
    with pytest.raises(DatasetError, match="expected"):
        SliceDataset(tmp_path)
    with pytest.raises(ConfigError, match="expected 0 or more neighbours and 1 pixel or more"):
        SliceDataset(folder, neighbours=-1)
    with pytest.raises(ConfigError, match=r"got 0 and \(0, 4\)"):
        SliceDataset(folder, size=(0, 4))
