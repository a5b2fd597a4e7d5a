"""Neighbours and tiles, against the network run plainly."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.inference.test_predictor import LABELS, WINDOWS
from tests.training.tiny import NATIVE, make_scan
from tomoseg.config import NetworkConfig
from tomoseg.inference.choose import choose_engine
from tomoseg.inference.engine import Engine
from tomoseg.inference.logits import LogitSource
from tomoseg.inference.segment import segment
from tomoseg.inference.tiles import axis_tiles, slice_logits, with_neighbours
from tomoseg.models.folder import Model, ModelRecord
from tomoseg.networks.images import NetworkInput
from tomoseg.options import Compute
from tomoseg.volume import Volume


def make_model(**network):
    torch.manual_seed(0)
    record = ModelRecord(LABELS, NetworkConfig(**{"channels": (8, 16), **network}), NATIVE, WINDOWS)
    return Model(record, record.build().eval())


def volume_of(hu):
    return Volume.from_array(np.asfortranarray(hu), np.eye(4))


class OneValue(Engine):
    """Logits that are the HU themselves, or a mean of neighbours: what tiles and neighbours do to them can be seen."""

    name, device, precision = "one value", "cpu", "fp32"

    def run(self, images):
        return images.mean(axis=1, keepdims=True, dtype=np.float32)


def one_value(**network):
    return OneValue(NetworkInput(((0.0, 1000.0),), NetworkConfig(**{"channels": (8, 8), **network})))


def random_hu(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 1000, shape).astype(np.int16)


def stacked(engine, hu, batch=2, slab=3):
    slabs = [hu[:, :, first : first + slab] for first in range(0, hu.shape[2], slab)]
    return np.stack(list(slice_logits(LogitSource(engine), slabs, hu.shape, batch)), axis=-1)


@given(st.integers(1, 300), st.integers(1, 300))
def test_shares_add_up_to_one_everywhere(length, tile):
    tile = min(length, tile)
    total, covered = np.zeros(length), np.zeros(length, int)
    tiles = axis_tiles(length, tile)
    for first, shares in tiles:
        assert shares.shape == (tile,)
        assert (shares > 0).all()
        total[first : first + tile] += shares
        covered[first : first + tile] += 1
    np.testing.assert_allclose(total, 1, rtol=1e-5)
    assert covered.min() >= 1
    firsts = [first for first, _ in tiles]
    assert firsts == sorted(set(firsts))
    assert all(b - a <= max(1, tile // 2) for a, b in pairwise(firsts))  # half overlaps
    if length == tile:
        assert (tiles[0][1] == 1).all()


@given(st.integers(1, 20), st.integers(1, 7), st.integers(0, 3), st.integers(1, 6))
def test_every_slice_comes_once_among_its_neighbours(slices, batch, reach, slab):
    scan = np.arange(slices, dtype=np.int16).reshape(1, 1, -1)
    stacks = list(with_neighbours([scan[:, :, k : k + slab] for k in range(0, slices, slab)], batch, reach))
    assert all(stack.shape[2] == batch + 2 * reach for stack in stacks[:-1])
    found = [s[0, 0, k : k + 2 * reach + 1].tolist() for s in stacks for k in range(s.shape[2] - 2 * reach)]
    padded = np.pad(np.arange(slices), reach, mode="edge")
    assert found == [padded[k : k + 2 * reach + 1].tolist() for k in range(slices)]


def test_the_mean_of_neighbours_by_hand():
    hu = np.array([100, 200, 600], np.int16).reshape(1, 1, 3)
    assert stacked(one_value(slices=3), hu)[0, 0, 0].tolist() == pytest.approx([0.4 / 3, 0.3, 1.4 / 3])


def test_a_network_that_looks_at_the_middle_of_its_neighbours_is_one_of_a_slice():
    one, three = make_model(), make_model(slices=3)
    state = one.network.state_dict()
    first = torch.zeros_like(three.network.state_dict()["encoder.0.0.weight"])
    first[:, 1::3] = state["encoder.0.0.weight"]  # channels are windows by neighbours
    three.network.load_state_dict(state | {"encoder.0.0.weight": first})
    hu = make_scan(2)[0]
    by_one, by_three = (stacked(choose_engine(m, "torch", "cpu", "fp32"), hu) for m in (one, three))
    np.testing.assert_allclose(by_one, by_three, atol=1e-4)


@pytest.mark.parametrize("shape", [(16, 8, 8), (13, 8, 7), (3, 2, 1)])
def test_one_tile_is_no_tiles(shape):
    model = make_model(dims=3, tile=(16, 8, 8))
    engine = choose_engine(model, "torch", "cpu", "fp32")
    hu = random_hu(shape)
    with torch.inference_mode():
        whole = model.network(torch.from_numpy(engine.input_spec.of_block(hu)))[0]
    x, y, z = shape
    assert np.array_equal(stacked(engine, hu), whole[:, :x, :y, :z].numpy())


@pytest.mark.parametrize("shape", [(40, 9, 30), (17, 16, 9), (16, 33, 8)])
def test_tiles_of_what_does_not_depend_on_the_tile_are_the_whole(shape):
    hu = random_hu(shape)
    found = stacked(one_value(dims=3, tile=(16, 16, 8)), hu)
    assert found.shape == (1, *shape)
    np.testing.assert_allclose(found[0], hu / 1000, atol=1e-6)


def test_overlapping_tiles_by_hand():
    """Two tiles of 4 along x, from 0 and 2; the first says 1 and the second 3."""

    class Counts(OneValue):
        said = 1.0

        def run(self, images):
            self.said, said = 3.0, self.said
            return np.full((1, 1, *images.shape[2:]), said, np.float32)

    engine = Counts(NetworkInput(((0.0, 1000.0),), NetworkConfig(channels=(8, 8), dims=3, tile=(4, 2, 2))))
    found = stacked(engine, random_hu((6, 2, 2)))[0, :, 0, 0].tolist()
    edge, middle = (np.exp(-0.5 * (place / 0.125) ** 2) for place in (0.375, 0.125))  # of a tile's four voxels
    low, high = edge / (edge + middle), middle / (edge + middle)
    assert found == pytest.approx([1, 1, high + 3 * low, low + 3 * high, 3, 3], rel=1e-5)


def test_slices_are_tiled_where_a_network_takes_one_size_only():
    hu = random_hu((40, 20, 5))
    engine = one_value(kind="unetr", channels=(8, 32), tile=(16, 32), slices=1)
    np.testing.assert_allclose(stacked(engine, hu)[0], hu / 1000, atol=1e-6)


@pytest.mark.parametrize(
    "network",
    [{"slices": 5}, {"dims": 3, "tile": (16, 16, 4)}, {"attention": True}, {"residual": True}],
    ids=lambda network: " ".join(network),
)
def test_engines_agree_on_every_network(network):
    model = make_model(**network)
    volume = volume_of(make_scan(1)[0])
    by_torch, by_openvino = (
        segment(volume, model, compute=Compute(engine=name, device="cpu", precision="fp32"))
        for name in ("torch", "openvino")
    )
    masks = [np.stack([s.mask(name) for name in LABELS.names]) for s in (by_torch, by_openvino)]
    assert 0 < masks[0].mean() < 1
    assert (masks[0] != masks[1]).mean() < 1e-3


def test_a_constant_block_is_computed_once():
    engine, sizes = one_value(dims=3, tile=(16, 16, 8)), []
    run = engine.run
    engine.run = lambda images: sizes.append(len(images)) or run(images)
    hu = np.full((32, 16, 16), -1000, np.int16)
    hu[0, 0, 0] = 500
    assert stacked(engine, hu)[0, 0, 0, 0] == 0.5
    assert sizes == [1, 1]  # nine tiles, of which eight are air
