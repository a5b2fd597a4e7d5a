import re
import shutil

import nibabel
import numpy as np
import pytest
import yaml

from tests.example_files import GRID, body
from tests.training.tiny import add_case, finish, make_scan
from tomoseg.config import TRAIN_PRESETS, GridConfig, PreprocessConfig, TrainConfig
from tomoseg.errors import ConfigError, DatasetError
from tomoseg.files.nifti import write_nifti
from tomoseg.planning.cost import usual_cost
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.settings import load_together, naming, put_over
from tomoseg.training import measure
from tomoseg.volume import SourceGrid
from tomoseg.workflows.plan import PlanRequest, check_asked, plan, plan_preprocessing, plan_training, write_plan
from tomoseg.workflows.preprocess import preprocess

USUAL = PlanRequest(60.0, 8_000_000_000, measures=False)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(measure, "SECONDS", 0.0)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Three training cases, the last without a spleen, and one for validation, of voxels of 8 x 8 x 10 mm."""
    folder = tmp_path_factory.mktemp("plan") / "data"
    for seed, split in enumerate(("train", "train", "train", "validation")):
        hu, masks = body(seed)
        case = folder / split / f"case{seed}"
        write_nifti(case / "ct.nii.gz", hu, GRID)
        for name, mask in masks.items():
            if (seed, name) != (2, "spleen"):
                write_nifti(case / "segmentations" / f"{name}.nii.gz", mask, GRID)
    return folder


@pytest.fixture(scope="module")
def preprocessed(dataset, tmp_path_factory):
    output = tmp_path_factory.mktemp("pre") / "p"
    preprocess(dataset, output, PreprocessConfig(grid=GridConfig(mode="native"), workers=1))
    return output


class TestRaw:
    def test_the_fingerprint_is_of_the_training_cases(self, dataset):
        found = plan(dataset, USUAL).found
        assert (found.cases, found.validation, found.looked_at) == (3, 1, 3)
        assert found.spacing_mm == (8.0, 8.0, 10.0)
        spleen, liver = found.structures
        assert (liver.annotated, liver.present, spleen.annotated, spleen.looked_at) == (3, 3, 2, 2)
        assert liver.thickness_mm == (72.0, 88.0, 60.0)  # 9 x 11 x 6 voxels
        assert spleen.thickness_mm == (40.0, 88.0, 60.0)

    def test_the_grid_is_that_of_the_scans(self, dataset):
        values = plan(dataset, USUAL).values(of_grid=True)
        assert values == {
            "grid.mode": "spacing",
            "grid.spacing_mm": 8.0,
            "grid.slice_spacing_mm": None,
            "grid.crop": "body",
        }

    def test_steps_are_measured(self, dataset):
        found = plan(dataset, PlanRequest(30.0))
        assert found.means.cost.is_measured
        assert found.means.cost.case_seconds is not None
        assert found.size.steps > 0
        assert found.means.memory_bytes > 1e8

    def test_what_is_given_is_not_planned(self, dataset):
        config = PreprocessConfig(grid=GridConfig(spacing_mm=16.0), structures=("liver",))
        found = plan_preprocessing(dataset, config, USUAL)
        assert found.values(of_grid=True) == {}
        assert found.size.edge_mm == 16.0
        assert [one.name for one in found.found.structures] == ["liver"]
        kept = plan_preprocessing(dataset, PreprocessConfig(grid=GridConfig(crop="none")), USUAL)
        assert "grid.crop" not in kept.values(of_grid=True)

    @pytest.mark.parametrize(
        ("grid", "slices", "why"),
        [
            (GridConfig(), 3, "slices 10 mm apart"),  # the scans' own
            (GridConfig(view="coronal"), 3, "slices 8 mm apart"),  # pixels of the planned grid
            (GridConfig(spacing_mm=4.0, view="sagittal"), 5, "slices 4 mm apart"),
            (GridConfig(spacing_mm=4.0, slice_spacing_mm=3.0), 5, "slices 3 mm apart"),
        ],
    )
    def test_neighbours_are_slices_of_the_view_on_the_grid(self, dataset, tmp_path, grid, slices, why):
        fields = {f"grid.{name}" for name in grid.model_fields_set}
        raw = plan_preprocessing(dataset, naming(PreprocessConfig(grid=grid), fields), USUAL)
        chosen = put_over(PreprocessConfig(grid=grid), raw.values(of_grid=True))
        preprocess(dataset, tmp_path / "p", chosen)
        made = plan_training(Preprocessed(tmp_path / "p"), TrainConfig(), USUAL)
        for found in (raw, made):
            (choice,) = (one for one in found.choices if one.setting == "network.slices")
            assert choice.value == slices
            assert why in choice.reason

    def test_scans_of_other_slice_distances_get_the_same_slices(self, dataset, tmp_path):
        shutil.copytree(dataset, tmp_path / "data")
        thin = SourceGrid((*GRID.shape[:2], 2 * GRID.shape[2]), GRID.affine @ np.diag([1.0, 1.0, 0.5, 1.0]))
        for path in (tmp_path / "data" / "train" / "case0").rglob("*.nii.gz"):
            write_nifti(path, np.repeat(np.asarray(nibabel.load(path).dataobj), 2, axis=2).astype(np.int16), thin)
        found = plan(tmp_path / "data", USUAL)
        assert found.found.spacing_range_mm[2] == (5.0, 10.0)
        assert found.values(of_grid=True)["grid.slice_spacing_mm"] == 10.0  # the median of 5, 10 and 10
        chosen = put_over(PreprocessConfig(), found.values(of_grid=True))
        preprocess(tmp_path / "data", tmp_path / "p", chosen)
        assert {case.grid_spacing_mm[2] for case in Preprocessed(tmp_path / "p").cases} == {10.0}

    def test_structures_that_no_case_contains_are_refused(self, dataset, tmp_path):
        for case in ("a", "b"):
            write_nifti(tmp_path / "data" / case / "ct.nii.gz", body(0)[0], GRID)
            write_nifti(tmp_path / "data" / case / "segmentations" / "liver.nii.gz", np.zeros(GRID.shape, bool), GRID)
        with pytest.raises(DatasetError, match=r"that contains a structure, got \d cases? without any; "):
            plan(tmp_path / "data", USUAL)

    def test_cases_are_read_until_one_contains_a_structure(self, dataset, tmp_path, monkeypatch):
        monkeypatch.setattr("tomoseg.workflows.plan.MOST_LOOKED_AT", 1)
        assert plan(dataset, USUAL).found.looked_at == 1
        shutil.copytree(dataset, tmp_path / "data")
        for path in (tmp_path / "data" / "train" / "case1").glob("segmentations/*"):  # the one in the middle
            write_nifti(path, np.zeros(GRID.shape, bool), GRID)
        told = []
        found = plan(tmp_path / "data", USUAL, lambda done, total: told.append((done, total))).found
        assert (found.looked_at, [one.present for one in found.structures]) == (2, [1, 1])
        assert told == [(1, 1), (2, 2)]

    def test_cases_that_cannot_be_read_are_named_and_others_measured(self, dataset, tmp_path):
        shutil.copytree(dataset, tmp_path / "data")
        for case in ("train/case1", "validation/case3"):  # those in the middle, which would be measured
            (tmp_path / "data" / case / "ct.nii.gz").write_bytes(b"no scan")
        found = plan(tmp_path / "data", PlanRequest(30.0))
        assert found.found.looked_at == 2
        assert found.means.cost.is_measured
        assert found.means.cost.case_seconds is None  # no validation case is left
        assert list(found.failed) == ["case1"]
        assert "expected a NIfTI file" in found.failed["case1"]

    def test_without_a_case_that_can_be_read(self, dataset, tmp_path):
        case = tmp_path / "data" / "a"
        write_nifti(case / "ct.nii.gz", body(0)[0], GRID)
        write_nifti(
            case / "segmentations" / "liver.nii.gz", np.zeros((3, 3, 3), bool), GRID.__class__((3, 3, 3), GRID.affine)
        )
        with pytest.raises(DatasetError, match="at least one training case that can be read, got none; "):
            plan(tmp_path / "data", USUAL)

    def test_minutes_that_buy_nothing(self, dataset, monkeypatch):
        monkeypatch.setattr("tomoseg.planning.cost.USUAL_STEP_SECONDS", 1.0)
        assert usual_cost(on_gpu=False, cores=2).step_seconds == 1.0
        with pytest.raises(ConfigError, match=r"got 0\.1, in which this machine trains on 20, .* minutes, or "):
            plan(dataset, PlanRequest(0.1, 8_000_000_000, measures=False))

    def test_memory_that_holds_nothing(self, dataset):
        with pytest.raises(ConfigError, match=r"expected .* GB of memory or more, which.* got 0\.01 GB"):
            plan(dataset, PlanRequest(60.0, 10_000_000, measures=False))

    @pytest.mark.parametrize("minutes", [0.0, -1.0, float("inf"), float("nan")])
    def test_minutes_that_are_no_time(self, minutes):
        with pytest.raises(ConfigError, match="expected minutes above 0"):
            check_asked(PlanRequest(minutes))


class TestPreprocessed:
    def test_its_grid_stays(self, preprocessed):
        found = plan(preprocessed, USUAL)
        assert found.values(of_grid=True) == {}
        assert Preprocessed(preprocessed).cases[0].shape[:2] == (42, 32)
        assert found.size.patch == (40, 32)  # multiples of 4 for three levels

    def test_memory_is_that_of_the_largest_view(self, dataset, tmp_path):
        grid = GridConfig(spacing_mm=8.0, slice_spacing_mm=1.0, crop="none")
        preprocess(dataset, tmp_path / "p", PreprocessConfig(grid=grid, workers=1))
        data = Preprocessed(tmp_path / "p")
        x, y, z = data.split("train")[0].shape
        assert z > max(x, y)  # so the slice along the longer of these is the largest
        alone, views = (
            plan_training(data, TrainConfig(batch_size=8, views=of), USUAL)
            for of in ((), ("axial", "coronal", "sagittal"))
        )
        fixed = alone.means.cost.fixed_bytes
        larger = (views.size.memory_bytes - fixed) / (alone.size.memory_bytes - fixed)
        assert larger == pytest.approx(z / min(x, y), rel=1e-6)
        assert views.size.channels == alone.size.channels

    def test_it_says_of_structures_what_the_raw_one_says(self, dataset, preprocessed):
        raw, made = plan(dataset, USUAL).found, plan(preprocessed, USUAL).found
        assert made.spacing_mm == raw.spacing_mm
        for one, other in zip(made.structures, raw.structures, strict=True):
            assert one.thickness_mm == other.thickness_mm
            assert one.hu == other.hu
            assert (one.annotated, one.volume_ml) == (other.annotated, other.volume_ml)

    def test_a_view_has_x_y_and_z_of_the_body(self, dataset, preprocessed, tmp_path):
        grid = GridConfig(mode="native", view="sagittal")
        preprocess(dataset, tmp_path / "s", PreprocessConfig(grid=grid, workers=1))
        sagittal, axial = plan(tmp_path / "s", USUAL).found, plan(preprocessed, USUAL).found
        assert sagittal.structures == axial.structures
        assert sagittal.spacing_mm == axial.spacing_mm

    def test_a_length_of_steps_is_not_measured(self, preprocessed):
        found = plan_training(Preprocessed(preprocessed), TrainConfig(steps=7, batch_size=4), PlanRequest())
        assert not found.means.cost.is_measured
        assert (found.size.slices, found.size.steps) == (28, 7)
        assert "batch_size" not in found.values(of_grid=False)

    def test_a_structure_that_is_never_there_is_told(self, tmp_path):
        for seed, name in enumerate("ab"):
            hu, masks = make_scan(seed)
            add_case(tmp_path, name, hu, np.stack([masks[0], masks[0] & False, masks[2]]))
        data = finish(tmp_path, dict.fromkeys("ab", "train"))
        found = plan_training(data, TrainConfig(), USUAL)
        assert found.found.never_seen == ("cube",)

    def test_structures_that_no_case_contains_are_refused(self, tmp_path):
        for seed, name in enumerate("ab"):
            hu, masks = make_scan(seed)
            add_case(tmp_path, name, hu, np.zeros_like(masks))
        finish(tmp_path, dict.fromkeys("ab", "train"))
        with pytest.raises(DatasetError, match="a training case that contains a structure, got 2 cases without any; "):
            plan(tmp_path, USUAL)


class TestWritten:
    def test_yaml_with_reasons(self, dataset, tmp_path):
        found = plan(dataset, USUAL)
        write_plan(found, tmp_path / "plan.yaml")
        text = (tmp_path / "plan.yaml").read_text(encoding="utf-8")
        values = yaml.safe_load(text)
        assert values["grid"] == {"mode": "spacing", "spacing_mm": 8.0, "slice_spacing_mm": None, "crop": "body"}
        assert values["windows_hu"] == [[-200.0, 300.0]]
        preset = TRAIN_PRESETS["default"]
        config, made = load_together([preset, PreprocessConfig()], tmp_path / "plan.yaml")
        assert config == put_over(preset, found.values(of_grid=False))
        assert made == put_over(PreprocessConfig(), found.values(of_grid=True))
        assert (config.minutes, config.network.residual) == (60, True)
        assert re.search(r"# the scans have 8 mm; .*\n  spacing_mm: 8\.0\n", text)
