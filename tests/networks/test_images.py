"""What a network reads of a scan."""

import numpy as np
import pytest

from tomoseg.config import NetworkConfig
from tomoseg.errors import ConfigError
from tomoseg.networks.images import NetworkInput, neighbours

WINDOWS = ((-200.0, 300.0), (0.0, 100.0))


def test_neighbours_beyond_the_ends_are_the_ends():
    assert neighbours(3, 0, 9) == [3]
    assert neighbours(1, 3, 3) == [0, 0, 0, 1, 2, 2, 2]


def test_each_window_of_each_neighbour_is_a_channel():
    input_spec = NetworkInput(WINDOWS, NetworkConfig(channels=(8, 8), slices=3))
    assert (input_spec.channels, input_spec.reach) == (6, 1)
    hu = np.zeros((3, 2, 4), np.int16)
    hu[...] = [-200, 50, 100, 300]
    images = input_spec.of_slices(hu)
    assert images.shape == (2, 6, 4, 2)  # 3 is padded to 4, four slices are two with their neighbours
    assert images[0, :, 0, 0].tolist() == pytest.approx([0, 0.5, 0.6, 0, 0.5, 1])
    assert images[1, :, 0, 0].tolist() == pytest.approx([0.5, 0.6, 1, 0.5, 1, 1])
    assert not images[:, :, 3].any()  # air


def test_one_slice_is_its_windows():
    input_spec = NetworkInput(WINDOWS, NetworkConfig(channels=(8, 8)))
    images = input_spec.of_slices(np.full((2, 2, 5), 50, np.int16))
    assert images.shape == (5, 2, 2, 2)
    assert (images == 0.5).all()


def test_a_block_is_padded_with_air():
    input_spec = NetworkInput(WINDOWS, NetworkConfig(channels=(8, 8, 8), dims=3))
    images = input_spec.of_block(np.full((3, 4, 5), 50, np.int16))
    assert images.shape == (1, 2, 4, 4, 8)
    assert (images[:, :, :3, :, :5] == 0.5).all()
    assert not images[:, :, 3:].any()
    assert not images[..., 5:].any()


def test_tiles_are_no_larger_than_the_scan():
    input_spec = NetworkInput(WINDOWS, NetworkConfig(channels=(8, 8, 8), dims=3, tile=(16, 16, 8)))
    assert input_spec.tile((40, 9, 30)) == (16, 9, 8)
    assert input_spec.padded((16, 9, 8)) == (16, 12, 8)
    whole = NetworkInput(WINDOWS, NetworkConfig(channels=(8, 8, 8)))
    assert whole.tile((40, 9, 30)) == (40, 9)
    unetr = NetworkInput(WINDOWS, NetworkConfig(kind="unetr", channels=(8, 32), tile=(32, 32)))
    assert unetr.tile((40, 9, 30)) == (32, 9)
    assert unetr.padded((32, 9)) == (32, 32)
    swin = NetworkInput(WINDOWS, NetworkConfig(kind="swin_unetr", channels=(12, 12)))
    assert swin.padded((32, 9)) == (64, 32)  # one voxel at the bottom has no variance to divide by
    assert swin.padded((33, 9)) == (64, 32)


def test_a_network_whose_layers_depend_on_the_size_is_not_exported_without_one():
    config = NetworkConfig(kind="swin_unetr", channels=(12, 12))
    with pytest.raises(ConfigError, match=r"expected network.tile for an export of swin_unetr, .* use engine torch"):
        NetworkInput(WINDOWS, config).example_shape()
    tiled = NetworkConfig(kind="swin_unetr", channels=(12, 12), tile=(64, 32))
    assert NetworkInput(WINDOWS, tiled).example_shape() == (1, 2, 64, 32)
    small = NetworkConfig(kind="swin_unetr", channels=(12, 12), tile=(32, 32))
    assert NetworkInput(WINDOWS, small).example_shape() == (1, 2, 64, 32)
    assert NetworkInput(WINDOWS, NetworkConfig(channels=(8, 8))).example_shape() == (1, 2, 4, 6)


def test_a_block_has_its_neighbours_already():
    input_spec = NetworkInput(WINDOWS, NetworkConfig(channels=(8, 8, 8), dims=3, slices=5))
    assert (input_spec.channels, input_spec.reach) == (len(WINDOWS), 0)


def test_where_a_slice_lies_is_the_last_channel_and_the_opposite_from_the_other_side():
    input_spec = NetworkInput(WINDOWS, NetworkConfig(channels=(8, 8), slices=3, position=True))
    plain = NetworkInput(WINDOWS, NetworkConfig(channels=(8, 8), slices=3))
    assert (input_spec.channels, plain.channels) == (7, 6)
    hu = np.random.default_rng(0).integers(-300, 400, (3, 2, 5)).astype(np.int16)
    images = input_spec.of_slices(hu, np.array([-100, 0, 50], np.float32))
    assert np.array_equal(images[:, :6], plain.of_slices(hu))
    assert [np.unique(image[6]).tolist() for image in images] == [[0.25], [0.5], [0.625]]
    for view, told in (("sagittal", [0.75, 0.5, 0.375]), ("coronal", [0.25, 0.5, 0.625])):
        mirrored = input_spec.mirrored(images, view)
        assert np.array_equal(mirrored[:, :6], plain.mirrored(images[:, :6], view))
        assert [np.unique(image[6]).tolist() for image in mirrored] == [[value] for value in told]


def test_blocks_are_not_told_where_they_lie():
    with pytest.raises(ConfigError, match="position applies to dims"):
        NetworkConfig(dims=3, position=True)
