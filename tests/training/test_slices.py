"""Slices as they are cropped, padded, batched and loaded; every pixel says where it is from."""

import numpy as np
import pytest
import torch

from tests.training.tiny import NATIVE, add_case, finish, make_config, make_dataset
from tomoseg.config import NetworkConfig
from tomoseg.grid import AIR_HU
from tomoseg.labels import LabelSet
from tomoseg.masks import pack
from tomoseg.networks.images import NetworkInput
from tomoseg.networks.packed import unpack_bits
from tomoseg.training.sampling import Draw, draw_epoch
from tomoseg.training.slices import DrawnSlices, EpochLoader, collate, windowed

SHAPE = (11, 8, 3)
STRUCTURES = 13


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """HU are 100 x + 10 y + z, and the masks are the bits of their product with a large number."""
    folder = tmp_path_factory.mktemp("coded")
    x, y, z = np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij")
    hu = (100 * x + 10 * y + z).astype(np.int16)
    masks = np.stack([(hu.astype(int) * 40503 >> c & 1).astype(bool) for c in range(STRUCTURES)])
    masks[[2, 12]] = False
    add_case(folder, "a", hu, masks, NATIVE, tuple(c for c in range(STRUCTURES) if c not in (2, 12)))
    labels = LabelSet.from_names([f"s{c}" for c in range(STRUCTURES)])
    return finish(folder, {"a": "train"}, labels), hu, pack(masks)


@pytest.mark.parametrize("size", [(6, 4), (16, 16), (6, 16), (16, 4), (11, 8)])
@pytest.mark.parametrize("centred", [True, False])
def test_values_and_masks_move_together(coded, size, centred):
    data, hu, packed = coded
    slices = DrawnSlices(data.cases, STRUCTURES, size, centred=centred)
    offsets = set()
    for number in range(20):
        batch = slices[Draw(0, 1, (0, 0, number))]
        values, bits = batch.hu[0, 0].numpy(), batch.packed[0].numpy()
        assert values.shape == size
        inside = np.argwhere(values != AIR_HU)
        assert len(inside) == min(size[0], 11) * min(size[1], 8)
        source = np.stack([values[tuple(inside.T)] // 100, values[tuple(inside.T)] // 10 % 10], axis=1)
        shift = np.unique(source - inside, axis=0)
        assert len(shift) == 1
        assert np.array_equal(values[tuple(inside.T)], hu[source[:, 0], source[:, 1], 1])
        assert np.array_equal(bits[:, inside[:, 0], inside[:, 1]], packed[:, source[:, 0], source[:, 1], 1])
        assert not bits[:, values == AIR_HU].any()
        offsets.add(tuple(shift[0].tolist()))
    if centred:
        assert offsets == {
            tuple(a // 2 if (a := n - s) >= 0 else -(-a // 2) for n, s in zip(SHAPE, size, strict=False))
        }
    elif size != (11, 8):
        assert len(offsets) > 3


def test_the_draw_says_where_to_crop(coded):
    slices = DrawnSlices(coded[0].cases, STRUCTURES, (4, 4))
    one, again, other = (slices[Draw(0, 0, (1, 2, number))].hu for number in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("size", [(4, 3), (4, 16), (3, 2, 2), (5, 8, 4)])
@pytest.mark.parametrize("pixel", [(0, 0), (5, 7), (10, 4)])
def test_a_crop_holds_the_structure_that_it_was_drawn_for(size, pixel, tmp_path):
    masks = np.zeros((2, *SHAPE), bool)
    masks[1][(*pixel, 1)] = True
    add_case(tmp_path, "a", np.zeros(SHAPE, np.int16), masks, NATIVE, (0, 1))
    cases = finish(tmp_path, {"a": "train"}, LabelSet.from_names(["s0", "s1"])).cases
    slices = DrawnSlices(cases, 2, size)
    held = [unpack_bits(slices[Draw(0, 1, (0, 0, n), 1)].packed, 2)[0, 1].sum().item() for n in range(30)]
    assert held == [1] * 30
    anywhere = [unpack_bits(slices[Draw(0, 1, (0, 0, n))].packed, 2)[0, 1].sum().item() for n in range(30)]
    assert 0 in anywhere


def test_known_are_the_annotated(coded):
    batch = DrawnSlices(coded[0].cases, STRUCTURES, (8, 8))[Draw(0, 0, (0, 0, 0))]
    assert batch.annotated[0].tolist() == [c not in (2, 12) for c in range(STRUCTURES)]
    assert not unpack_bits(batch.packed, STRUCTURES)[0, [2, 12]].any()


def test_collate_keeps_the_order(coded):
    slices = DrawnSlices(coded[0].cases, STRUCTURES, (11, 8))
    draws = [Draw(0, k, (0, 0, number)) for number, k in enumerate((2, 0, 1))]
    batch = collate([slices[draw] for draw in draws])
    assert batch.hu.shape == (3, 1, 11, 8)
    assert batch.hu[:, 0, 0, 0].tolist() == [2, 0, 1]
    assert batch.packed.shape == (3, 2, 11, 8)
    assert batch.annotated.shape == (3, STRUCTURES)
    assert batch.keys == tuple(draw.key for draw in draws)
    moved = batch.to(torch.device("cpu"))
    assert torch.equal(moved.hu, batch.hu)
    assert moved.keys == batch.keys


@pytest.mark.parametrize(("k", "near"), [(0, [0, 0, 0, 1, 2]), (1, [0, 0, 1, 2, 2]), (2, [0, 1, 2, 2, 2])])
def test_neighbours_are_channels_and_the_ends_are_repeated(coded, k, near):
    batch = DrawnSlices(coded[0].cases, STRUCTURES, (11, 8), reach=2)[Draw(0, k, (0, 0, 0))]
    assert (batch.hu[0, :, 4, 3] - 430).tolist() == near
    assert np.array_equal(batch.packed[0].numpy(), coded[2][..., k])


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("centred", [True, False])
def test_a_block_holds_the_slice_that_was_drawn(coded, depth, centred):
    data, hu, packed = coded
    slices = DrawnSlices(data.cases, STRUCTURES, (4, 8, depth), centred=centred)
    firsts = set()
    for number in range(12):
        batch = slices[Draw(0, 1, (0, 0, number))]
        values, bits = batch.hu[0, 0].numpy(), batch.packed[0].numpy()
        assert values.shape == (4, 8, depth)
        inside = np.argwhere(values != AIR_HU)
        found = values[tuple(inside.T)]
        source = np.stack([found // 100, found // 10 % 10, found % 10], axis=1)
        assert len(np.unique(source - inside, axis=0)) == 1
        assert np.array_equal(found, hu[tuple(source.T)])
        assert np.array_equal(bits[:, *inside.T], packed[:, *source.T])
        assert set(source[:, 2]) == set(range(min(source[:, 2]), min(source[:, 2]) + min(depth, 3)))
        assert 1 in source[:, 2]
        firsts.add((source - inside)[0, 2])
    assert len(firsts) == (1 if centred or depth in (1, 3) else 2 if depth == 2 else 3)


def loaded(data, workers, epochs=(0, 1)):
    config = make_config(workers=workers, batch_size=3)
    loader = EpochLoader(DrawnSlices(data.cases, 3, (16, 32)), config, torch.device("cpu"))
    records = [case.record for case in data.cases]
    draws = [draw_epoch(records, config.sampling, 0, epoch) for epoch in epochs]
    return draws, [list(loader.batches(d)) for d in draws]


def test_loader_gives_the_draws_in_order_and_keeps_the_rest(tmp_path):
    data = make_dataset(tmp_path, splits={"a": "train", "b": "train"})
    draws, epochs = loaded(data, 0)
    for drawn, batches in zip(draws, epochs, strict=True):
        assert [len(batch.hu) for batch in batches] == [3, 3, 2]
        assert [key for batch in batches for key in batch.keys] == [draw.key for draw in drawn]
        annotated = torch.cat([batch.annotated for batch in batches])
        assert annotated[:, 2].tolist() == [draw.case == 0 for draw in drawn]


def test_a_worker_process_gives_the_same(tmp_path):
    data = make_dataset(tmp_path, splits={"a": "train", "b": "train"})
    for one, other in zip(loaded(data, 0)[1], loaded(data, 1)[1], strict=True):
        for here, there in zip(one, other, strict=True):
            assert torch.equal(here.hu, there.hu)
            assert torch.equal(here.packed, there.packed)
            assert torch.equal(here.annotated, there.annotated)
            assert here.keys == there.keys


def test_loading_leaves_the_random_state_alone(tmp_path):
    data = make_dataset(tmp_path, splits={"a": "train"})
    before = torch.get_rng_state()
    loaded(data, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_windows_by_hand():
    hu = torch.tensor([[-1024.0, -200, 50, 300, 3000], [0, 0.5, 100, 100, 100]])[None, :, None]
    images = windowed(hu, ((-200.0, 300.0), (0.0, 100.0)))
    assert images.shape == (1, 4, 1, 5)  # both slices in the first window, then in the second
    assert images[0, 0, 0].tolist() == [0, 0, 0.5, 1, 1]
    assert images[0, 1, 0].tolist() == pytest.approx([0.4, 0.401, 0.6, 0.6, 0.6])
    assert images[0, 2, 0].tolist() == [0, 0, 0.5, 1, 1]
    assert images[0, 3, 0].tolist() == pytest.approx([0, 0.005, 1, 1, 1])


@pytest.mark.parametrize("slices", [1, 3])
def test_training_windows_hu_as_prediction_does(slices):
    windows = ((-200.0, 300.0), (-17.0, 83.5))
    hu = np.random.default_rng(0).integers(-1500, 3000, (8, 4, 7), dtype=np.int16)
    input_spec = NetworkInput(windows, NetworkConfig(channels=(8, 8), slices=slices))
    predicted = input_spec.of_slices(hu)
    near = np.stack([hu[:, :, k : k + slices].transpose(2, 0, 1) for k in range(7 - slices + 1)])
    trained = windowed(torch.from_numpy(near).float(), windows)
    np.testing.assert_allclose(trained.numpy(), predicted, atol=1e-6)
    assert (trained == 0).any()
    assert (trained == 1).any()
