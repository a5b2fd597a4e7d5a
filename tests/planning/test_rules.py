import pytest

from tests.planning.made import fingerprint, structure
from tomoseg.config import TRAIN_PRESETS, GridConfig, NetworkConfig, PreprocessConfig, SamplingConfig, TrainConfig
from tomoseg.errors import ConfigError
from tomoseg.planning.cost import StepCost, work_of
from tomoseg.planning.needs import grids_mm, pixels_of, wanted_slices
from tomoseg.planning.rules import DatasetPlan, Means, choose_size, grid_choices, size_of, training_choices
from tomoseg.settings import put_over

FAST = StepCost(step_seconds=0.01, work_seconds=1e-8, fixed_bytes=500_000_000, work_bytes=40.0, case_seconds=1.0)
SLOW = StepCost(step_seconds=0.1, work_seconds=1e-6, fixed_bytes=500_000_000, work_bytes=40.0)
NOTHING = TrainConfig()


def means(minutes=60.0, cost=FAST, memory=8_000_000_000, on_gpu=False, cores=2):
    return Means(minutes, cost, memory, on_gpu, cores)


def sizes(found):
    return [(edge, pixels_of(found, edge)) for edge in grids_mm(found)]


class TestSize:
    def test_patches_are_multiples_of_the_stride(self):
        size = size_of((101, 62), 16, 7, means(), NOTHING, ())
        assert size.channels == (16, 32, 64, 128)
        assert size.patch == (104, 64)
        assert size.work == work_of(104 * 64, size.channels, 7)

    def test_the_largest_batch_that_leaves_enough_steps(self):
        assert size_of((104, 64), 16, 7, means(), NOTHING, ()).batch_size == 16
        # 27 s of training: 616 steps of 16, too few for 7 structures, which want 710, or 1003 of 8
        assert size_of((104, 64), 16, 7, means(0.5), NOTHING, ()).batch_size == 8
        assert size_of((104, 64), 16, 7, means(0.3), NOTHING, ()).batch_size == 4
        assert size_of((104, 64), 16, 117, means(0.5), NOTHING, ()).batch_size == 4

    def test_what_somebody_chose_stays(self):
        fixed = TrainConfig(
            batch_size=3, network=NetworkConfig(channels=(8, 16)), sampling=SamplingConfig(patch_size=(32, 48))
        )
        named = {"batch_size", "network.channels", "sampling.patch_size"}
        size = size_of((104, 64), 16, 7, means(), fixed, named)
        assert (size.batch_size, size.channels, size.patch) == (3, (8, 16), (32, 48))

    def test_batches_shrink_to_fit(self):
        work = size_of((104, 64), 16, 7, means(), NOTHING, ()).work
        size = size_of((104, 64), 16, 7, means(memory=FAST.bytes_of(5, work) + 1), NOTHING, ())
        assert size.batch_size == 5


class TestChosen:
    def test_time_enough_takes_the_finest(self):
        found = fingerprint()
        assert choose_size(sizes(found), 1, means(), NOTHING).edge_mm == 4.0

    def test_little_time_takes_a_coarser_one_before_a_narrower_network(self):
        found = fingerprint(spacing_mm=(1.0, 1.0, 2.5))
        cost = StepCost(0.01, 2e-7, 500_000_000, 40.0)
        size = choose_size(sizes(found), 1, means(12.0, cost), NOTHING)
        assert 1.5 < size.edge_mm < 5.0
        assert size.channels[0] == 16
        assert size.slices >= 0.6 * wanted_slices(1)

    def test_where_nothing_is_enough_the_one_that_sees_most(self):
        size = choose_size(sizes(fingerprint()), 1, means(1.0, SLOW), NOTHING)
        assert (size.edge_mm, size.channels[0]) == (5.0, 8)
        assert size.slices < wanted_slices(1)

    def test_where_it_is_hardly_enough_the_coarsest_at_the_usual_width(self):
        size = choose_size(sizes(fingerprint()), 1, means(5.0, SLOW), NOTHING)
        assert (size.edge_mm, size.channels[0]) == (5.0, 16)
        assert 0.15 * wanted_slices(1) < size.slices < 0.6 * wanted_slices(1)

    def test_memory_that_holds_no_plan(self):
        with pytest.raises(
            ConfigError, match=r"expected 0\.50 GB of memory or more, which .* 80 x 48 pixels .* got 0\.30 GB"
        ):
            choose_size(sizes(fingerprint()), 1, means(memory=300_000_000), NOTHING)

    def test_little_memory_narrows(self):
        work = size_of((100, 60), 16, 1, means(), NOTHING, ()).work
        size = choose_size([(4.0, (100, 60))], 1, means(memory=FAST.bytes_of(2, work) - 1), NOTHING)
        assert size.channels[0] == 12
        assert size.memory_bytes < FAST.bytes_of(2, work)

    def test_a_gpu_has_a_wider_network(self):
        assert choose_size(sizes(fingerprint()), 1, means(on_gpu=True), NOTHING).channels[0] == 32


def values(found, asked=None, config=NOTHING):
    asked = asked or means()
    size = choose_size(sizes(found), len(found.structures), asked, config)
    return {
        one.setting: one for one in (*grid_choices(found, size), *training_choices(found, size, asked, config, 2.5))
    }


class TestChoices:
    def test_all_are_settings_with_one_reason_in_a_line(self):
        found = values(fingerprint([structure(), structure("other")]))
        grid = {name: one.value for name, one in found.items() if name.startswith("grid.")}
        train = {name: one.value for name, one in found.items() if not name.startswith("grid.")}
        assert put_over(PreprocessConfig(), grid).grid == GridConfig(spacing_mm=4.0)
        config = put_over(TRAIN_PRESETS["default"], train)
        assert config.network.channels == (16, 32, 64, 128)
        assert config.minutes == 60
        assert all(one.reason and "\n" not in one.reason for one in found.values())

    def test_openkbp_is_as_by_hand(self):
        """`recipes/head-neck`: the scans' pixels cut to the body, four levels of 16, batches of 16."""
        seven = [structure(str(n), (16.0, 16.0, 25.0)) for n in range(6)] + [structure("cord", (11.0, 10.0, 23.0))]
        found = values(
            fingerprint(seven, (3.91, 3.91, 2.5), (404.0, 250.0, 300.0), cases=170, validation=33), means(75)
        )
        assert found["grid.spacing_mm"].value == 3.91
        assert found["grid.crop"].value == "body"
        assert found["network.channels"].value == (16, 32, 64, 128)
        assert found["network.slices"].value == 5
        assert found["batch_size"].value == 16
        assert found["loss.emphasis_power"].value == 0.5
        assert found["workers"].value == 0

    def test_the_demo_is_as_by_hand(self):
        """`workflows/demo.py`: 117 structures, 25 000 slices in 4.2 minutes on 5 mm, four levels, batches of 4."""
        many = [structure(str(n), (11.0, 10.0, 12.0)) for n in range(117)]
        body = fingerprint(many, (3.0, 3.0, 5.0), (496.0, 303.0, 567.0), cases=24)
        work = work_of(96 * 64, (16, 32, 64, 128), 117)
        cost = StepCost(0.001, 4.2 * 60 * 0.9 / 25_000 / work, 500_000_000, 40.0, 1.0)
        found = values(body, means(4.2, cost))
        assert 3.75 <= found["grid.spacing_mm"].value <= 5.0
        assert found["network.channels"].value[:4] == (16, 32, 64, 128)
        assert found["batch_size"].value == 4
        assert found["loss.emphasis_power"].value == 0.25

    def test_slices_much_nearer_than_pixels_are_averaged(self):
        found = values(fingerprint(spacing_mm=(0.7, 0.7, 0.4)))
        assert found["grid.slice_spacing_mm"].value == found["grid.spacing_mm"].value
        assert values(fingerprint())["grid.slice_spacing_mm"].value is None

    def test_slices_that_differ_from_scan_to_scan_are_put_at_their_median(self):
        found = values(fingerprint(slices_mm=(1.0, 5.0)))["grid.slice_spacing_mm"]
        assert (found.value, found.reason) == (
            2.5,
            "the scans' slices are 1 to 5 mm apart: one distance for all of them",
        )
        assert values(fingerprint(slices_mm=(2.0, 3.0)))["grid.slice_spacing_mm"].value is None  # 1.5 times as far
        assert values(fingerprint(slices_mm=(2.0, 3.1)))["grid.slice_spacing_mm"].value == 2.5

    def test_validations_take_a_tenth_of_the_minutes(self):
        """Ten minutes have a minute for validations, two of 10 s each: three of them in twenty epochs."""
        cost = StepCost(0.01, 1e-8, 500_000_000, 40.0, case_seconds=10.0)
        found = values(fingerprint(cases=100, validation=2), means(10.0, cost))
        assert found["validate_every"].value == 7

    def test_without_validation_cases_none_is_planned(self):
        assert "validate_every" not in values(fingerprint(validation=0))

    def test_a_length_that_is_given_stays(self):
        found = values(fingerprint(), config=TrainConfig(steps=100))
        assert not {"minutes", "sampling.slices_per_case", "validate_every"} & found.keys()

    def test_the_parts_of_a_plan(self):
        found = fingerprint()
        size = choose_size(sizes(found), 1, means(), NOTHING)
        choices = (*grid_choices(found, size), *training_choices(found, size, means(), NOTHING, 2.5))
        plan = DatasetPlan(found, choices, size, means(), "")
        assert plan.values(of_grid=True)["grid.spacing_mm"] == 4.0
        assert "grid.spacing_mm" not in plan.values(of_grid=False)
