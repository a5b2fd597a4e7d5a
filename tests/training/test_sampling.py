"""Which slices are drawn, against counts by hand."""

from collections import Counter

import pytest

from tomoseg.config import NetworkConfig, SamplingConfig, TrainConfig
from tomoseg.grid import Placement
from tomoseg.preprocessed.format import CaseRecord
from tomoseg.training.sampling import draw_epoch, emphasis_of, emphasised, sample_size, structure_frequencies


def record(name="a", shape=(20, 10, 8), occurrence=None, voxels=None):
    """A case with structure 0 in slices 2, 3 and 6, structure 1 absent and structure 2 unknown."""
    occurrence = {0: ((2, 4), (6, 7)), 1: ()} if occurrence is None else occurrence
    voxels = {c: 0 for c in occurrence} if voxels is None else voxels
    affine = tuple(tuple(float(i == j) for j in range(4)) for i in range(4))
    placement = Placement((0, 0, 0), shape, shape)
    return CaseRecord(name, name, shape, affine, placement, tuple(occurrence), occurrence, voxels, {}, "")


def test_every_case_gives_its_draws():
    records = [record(), record("b", (20, 10, 3), {}), record("c", (20, 10, 1), {0: ((0, 1),)})]
    draws = draw_epoch(records, SamplingConfig(slices_per_case=7), 0, 0)
    assert Counter(draw.case for draw in draws) == {0: 7, 1: 7, 2: 7}
    assert all(0 <= draw.slice < records[draw.case].placement.shape[2] for draw in draws)
    assert sorted(draw.key for draw in draws) == [(0, 0, number) for number in range(21)]
    assert [draw.case for draw in draws] != sorted(draw.case for draw in draws)


def test_draws_follow_from_seed_and_epoch():
    records, config = [record(), record("b")], SamplingConfig()
    draws = draw_epoch(records, config, 3, 5)
    assert draw_epoch(records, config, 3, 5) == draws
    for seed, epoch in ((4, 5), (3, 6)):
        other = draw_epoch(records, config, seed, epoch)
        assert [(d.case, d.slice) for d in other] != [(d.case, d.slice) for d in draws]
        assert not {d.key for d in other} & {d.key for d in draws}


def test_structure_share_one_draws_slices_with_a_structure():
    draws = draw_epoch([record()], SamplingConfig(slices_per_case=3000, structure_share=1), 0, 0)
    counts = Counter(draw.slice for draw in draws)
    assert set(counts) == {2, 3, 6}
    assert all(0.3 < count / 3000 < 0.367 for count in counts.values())


def test_structures_have_the_same_chance_whatever_their_size():
    # Structure 0 is in slice 0 alone, structure 1 in slices 4 to 7: half the draws, and an eighth each.
    one = record(occurrence={0: ((0, 1),), 1: ((4, 8),)})
    counts = Counter(d.slice for d in draw_epoch([one], SamplingConfig(slices_per_case=4000, structure_share=1), 0, 0))
    assert counts[0] / 4000 == pytest.approx(1 / 2, abs=0.03)
    assert all(counts[k] / 4000 == pytest.approx(1 / 8, abs=0.03) for k in (4, 5, 6, 7))


def test_structure_share_zero_is_uniform():
    draws = draw_epoch([record()], SamplingConfig(slices_per_case=8000, structure_share=0), 0, 0)
    counts = Counter(draw.slice for draw in draws)
    assert all(0.11 < counts[k] / 8000 < 0.14 for k in range(8))


def test_structure_share_mixes_both():
    # Slice 0 has no structure: 0.6 of the draws are uniform over eight slices.
    draws = draw_epoch([record()], SamplingConfig(slices_per_case=8000, structure_share=0.4), 0, 0)
    assert Counter(d.slice for d in draws)[0] / 8000 == pytest.approx(0.6 / 8, abs=0.01)


@pytest.mark.parametrize("occurrence", [{}, {0: (), 1: ()}], ids=["none annotated", "all absent"])
def test_a_case_without_structures_is_drawn_uniformly(occurrence):
    draws = draw_epoch([record(occurrence=occurrence)], SamplingConfig(slices_per_case=400, structure_share=1), 0, 0)
    assert set(Counter(draw.slice for draw in draws)) == set(range(8))


def test_patch_size_is_the_median_case_to_the_nearest_multiple():
    records = [record(shape=shape) for shape in ((30, 100, 5), (41, 102, 5), (300, 90, 5))]
    assert sample_size(records, TrainConfig()) == (48, 96)  # 41 / 16 = 2.6, 100 / 16 = 6.25
    assert sample_size([record(shape=(3, 4, 5))], TrainConfig()) == (16, 16)


def test_patch_size_as_configured_is_rounded_up():
    assert sample_size([record()], TrainConfig(sampling=SamplingConfig(patch_size=(33, 64)))) == (48, 64)


def test_a_block_is_the_median_case_cut_to_the_most_or_the_tile():
    network = NetworkConfig(dims=3, channels=(8, 8, 8))
    records = [record(shape=(100, 300, n)) for n in (9, 10, 90)]
    assert sample_size(records, TrainConfig(network=network)) == (100, 128, 8)  # 10 / 4 = 2.5, rounded to even
    tile = TrainConfig(network=NetworkConfig(dims=3, channels=(8, 8, 8), tile=(64, 32, 4)))
    assert sample_size(records, tile) == (64, 32, 4)


def test_structure_frequencies_by_hand():
    # Structure 0: (80 + 0) of 1600 + 400 voxels. Structure 1: annotated in the second only, 100 of 400. 2: nowhere.
    one = record(occurrence={0: ((0, 1),)}, voxels={0: 80})
    two = record("b", (10, 10, 4), {0: (), 1: ((0, 4),)}, {0: 0, 1: 100})
    assert structure_frequencies([one, two], 3) == pytest.approx([0.04, 0.25, 0.0])


def test_emphasis_by_hand():
    assert emphasis_of([0.25, 0.01, 0.0], 0.5) == pytest.approx([2, 10, 1])
    assert emphasis_of([0.25, 0.01, 0.0], 0.0) == [1, 1, 1]
    assert emphasis_of([0.25, 1.0], 1.0) == [4, 1]
    # 2 * 0.25 of 2 * 0.25 + 0.75; at power 1 nearly a half: 1 of 1 + 0.75.
    assert emphasised([0.25, 0.25, 0.0, 1.0], [2, 4, 1, 1]) == pytest.approx([0.4, 1 / 1.75, 0, 1])
