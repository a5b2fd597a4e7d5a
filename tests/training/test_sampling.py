"""Which slices are drawn, against counts by hand."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.records import CASES, made, record
from tomoseg.config import NetworkConfig, SamplingConfig, TrainConfig
from tomoseg.errors import ConfigError
from tomoseg.training.curriculum import easiest_slices
from tomoseg.training.sampling import (
    chances_of,
    draw_epoch,
    pos_weights_of,
    sample_size,
    slice_counts,
    structure_frequencies,
    with_pos_weights,
)

CONFIGS = st.builds(
    SamplingConfig,
    slices_per_case=st.integers(1, 9),
    structure_share=st.sampled_from([0.0, 0.5, 1.0]),
    rare_power=st.sampled_from([0.0, 0.5, 1.0]),
)


def drawn(draws):
    return [(draw.case, draw.slice) for draw in draws]


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


def plain_draws(cases, config, seed, epoch):
    """Draws without rare structures preferred and without a curriculum, written down once more."""
    rng = np.random.default_rng((seed, epoch))
    found = []
    for number, case in enumerate(cases):
        present = [c for c in case.annotated if case.occurrence[c]]
        for _ in range(config.slices_per_case):
            if present and rng.random() < config.structure_share:
                runs = case.occurrence[present[rng.integers(len(present))]]
                slices = [k for first, last in runs for k in range(first, last)]
                found.append((number, slices[rng.integers(len(slices))]))
            else:
                found.append((number, int(rng.integers(case.placement.shape[2]))))
    return [found[place] for place in rng.permutation(len(found))]


@given(CASES, CONFIGS, st.integers(0, 99), st.integers(0, 9))
def test_without_rare_power_the_draws_are_the_plain_ones(cases, config, seed, epoch):
    cases, config = made(cases), config.model_copy(update={"rare_power": 0.0})
    assert drawn(draw_epoch(cases, config, seed, epoch)) == plain_draws(cases, config, seed, epoch)


def test_the_plain_draws_stay_what_they_are():
    # Runs of earlier versions resume with the same draws.
    draws = draw_epoch([record(), record("b", (20, 10, 5), {0: ((1, 3),)})], SamplingConfig(slices_per_case=4), 3, 5)
    assert drawn(draws) == [(1, 2), (0, 7), (0, 6), (0, 2), (1, 2), (1, 2), (0, 2), (1, 2)]


@given(CASES, CONFIGS, st.integers(0, 99))
def test_all_slices_allowed_is_plain_sampling(cases, config, seed):
    cases = made(cases)
    assert draw_epoch(cases, config, seed, 1, easiest_slices(cases, 1.0)) == draw_epoch(cases, config, seed, 1)


@given(CASES, CONFIGS, st.floats(0, 1, exclude_min=True), st.integers(0, 99))
def test_only_allowed_slices_are_drawn(cases, config, share, seed):
    cases = made(cases)
    allowed = easiest_slices(cases, share)
    draws = draw_epoch(cases, config, seed, 0, allowed)
    assert all(allowed[draw.case][draw.slice] for draw in draws)
    assert Counter(draw.case for draw in draws) == dict.fromkeys(range(len(cases)), config.slices_per_case)
    assert draw_epoch(cases, config, seed, 0, allowed) == draws


def test_a_structure_without_an_allowed_slice_leaves_its_chance_to_the_others():
    # 0 is in slices 2, 3 and 6, structure 1 in slice 7 alone, 2 in slices 0 and 1.
    one = record(occurrence={0: ((2, 4), (6, 7)), 1: ((7, 8),), 2: ((0, 2),)})
    config = SamplingConfig(slices_per_case=4000, structure_share=1)
    allowed = np.isin(np.arange(8), [1, 3, 4, 6])
    counts = Counter(d.slice for d in draw_epoch([one], config, 0, 0, [allowed]))
    assert {k: count / 4000 for k, count in counts.items()} == pytest.approx({1: 1 / 2, 3: 1 / 4, 6: 1 / 4}, abs=0.03)
    nothing_there = np.isin(np.arange(8), [4, 5])
    counts = Counter(d.slice for d in draw_epoch([one], config, 0, 0, [nothing_there]))
    assert {k: count / 4000 for k, count in counts.items()} == pytest.approx({4: 1 / 2, 5: 1 / 2}, abs=0.03)


def test_rare_structures_are_drawn_more_often():
    # Over both cases structure 0 is on 1 slice and structure 1 on 9: in the first case, where each is on one slice,
    # their chances are 9 to 1 at power 1 and 3 to 1 at power 0.5. Structure 2 is annotated and absent.
    cases = [
        record(occurrence={0: ((0, 1),), 1: ((7, 8),), 2: ()}),
        record("b", occurrence={1: ((0, 8),)}),
    ]
    assert slice_counts(cases) == {0: 1, 1: 9, 2: 0}
    for power, expected in ((1.0, 0.9), (0.5, 0.75), (0.0, 0.5)):
        config = SamplingConfig(slices_per_case=4000, structure_share=1, rare_power=power)
        draws = draw_epoch(cases, config, 0, 0)
        counts = Counter(draw.slice for draw in draws if draw.case == 0)
        assert set(counts) == {0, 7}
        assert counts[0] / 4000 == pytest.approx(expected, abs=0.02)


def test_chances_by_hand():
    assert chances_of([1, 9], 1) == pytest.approx([0.9, 0.1])
    assert chances_of([1, 9, 9], 0.5) == pytest.approx([3 / 5, 1 / 5, 1 / 5])
    assert chances_of([3, 700], 0) == [0.5, 0.5]


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


@pytest.mark.parametrize(
    ("network", "settings", "said"),
    [
        (
            {"dims": 3, "channels": (8, 8, 8), "tile": (128, 64, 8)},
            {},
            r"expected network.tile of at most 120 80 16, which holds the largest case of 120 x 80 x 13, got 128 64 8",
        ),
        ({"dims": 3, "channels": (8, 8)}, {"sampling": SamplingConfig(patch_size=(32, 32))}, r"no sampling.patch_size"),
        (
            {"channels": (8, 8, 8)},
            {"sampling": SamplingConfig(patch_size=(4, 4)), "batch_size": 1},
            r"expected slices or blocks of more than 4 voxels along an edge for a batch of one, got 4 x 4",
        ),
        (
            {"channels": (8, 8, 8)},
            {"sampling": SamplingConfig(patch_size=(4, 4), slices_per_case=7), "batch_size": 3},
            r"for a batch of one, which the last of an epoch is, got 4 x 4",
        ),
    ],
)
def test_sizes_that_cannot_be_trained_with_are_refused(network, settings, said):
    with pytest.raises(ConfigError, match=said):
        sample_size([record(shape=(120, 80, 13))], TrainConfig(network=NetworkConfig(**network), **settings))


def test_a_batch_of_one_voxel_is_enough_where_samples_are_normalised_apart_or_there_are_two():
    small = {"sampling": SamplingConfig(patch_size=(4, 4))}
    group = NetworkConfig(channels=(8, 8, 8), normalisation="group")
    assert sample_size([record()], TrainConfig(network=group, batch_size=1, **small)) == (4, 4)
    batch = NetworkConfig(channels=(8, 8, 8))
    assert sample_size([record()], TrainConfig(network=batch, batch_size=2, **small)) == (4, 4)


def test_a_small_tile_of_swin_unetr_is_widened_as_in_use():
    swin = NetworkConfig(kind="swin_unetr", channels=(12, 12), tile=(32, 32))
    assert sample_size([record()], TrainConfig(network=swin)) == (64, 32)


def test_structure_frequencies_by_hand():
    # Structure 0: (80 + 0) of 1600 + 400 voxels. Structure 1: annotated in the second only, 100 of 400. 2: nowhere.
    one = record(occurrence={0: ((0, 1),)}, voxels={0: 80})
    two = record("b", (10, 10, 4), {0: (), 1: ((0, 4),)}, {0: 0, 1: 100})
    assert structure_frequencies([one, two], 3) == pytest.approx([0.04, 0.25, 0.0])


def test_emphasis_by_hand():
    assert pos_weights_of([0.25, 0.01, 0.0], 0.5) == pytest.approx([2, 10, 1])
    assert pos_weights_of([0.25, 0.01, 0.0], 0.0) == [1, 1, 1]
    assert pos_weights_of([0.25, 1.0], 1.0) == [4, 1]
    # 2 * 0.25 of 2 * 0.25 + 0.75; at power 1 nearly a half: 1 of 1 + 0.75.
    assert with_pos_weights([0.25, 0.25, 0.0, 1.0], [2, 4, 1, 1]) == pytest.approx([0.4, 1 / 1.75, 0, 1])
