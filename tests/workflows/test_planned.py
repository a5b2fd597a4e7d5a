import pytest

from tests.training.tiny import NATIVE, make_dataset
from tests.workflows.predicting import make_model
from tests.workflows.test_plan import dataset, short  # noqa: F401
from tomoseg.config import TRAIN_PRESETS, GridConfig, NetworkConfig, PreprocessConfig, SamplingConfig, TrainConfig
from tomoseg.errors import ConfigError, DatasetError
from tomoseg.models.folds import Folds, save_folds
from tomoseg.settings import naming, save_config
from tomoseg.training.run_folder import CONFIG, LAST, RunFolder
from tomoseg.workflows.planned import planned_training
from tomoseg.workflows.planned_grid import planned_grid
from tomoseg.workflows.preprocess import preprocess
from tomoseg.workflows.run_kinds import settings_in

PRESET = naming(TRAIN_PRESETS["default"], ())


class TestGrid:
    def test_it_is_that_of_the_dataset(self, dataset, tmp_path):  # noqa: F811
        settings, plan = planned_grid(dataset, tmp_path / "p", PreprocessConfig())
        assert settings.grid == GridConfig(mode="spacing", spacing_mm=8.0, crop="body")
        assert plan.values(of_grid=True)["grid.spacing_mm"] == 8.0
        assert not plan.means.cost.is_measured

    def test_a_size_that_somebody_chose_leaves_all_as_it_is(self, dataset, tmp_path):  # noqa: F811
        given = PreprocessConfig(grid=GridConfig(spacing_mm=1.5))
        assert planned_grid(dataset, tmp_path / "p", given) == (given, None)

    def test_other_settings_stay_beside_the_plan(self, dataset, tmp_path):  # noqa: F811
        given = PreprocessConfig(grid=GridConfig(crop="none", view="coronal"), structures=("liver",), seed=3)
        settings, _ = planned_grid(dataset, tmp_path / "p", given)
        assert (settings.grid.crop, settings.grid.view, settings.grid.spacing_mm) == ("none", "coronal", 8.0)
        assert (settings.structures, settings.seed) == (("liver",), 3)

    def test_a_dataset_that_is_there_goes_on_with_its_grid(self, dataset, tmp_path):  # noqa: F811
        grid = GridConfig(spacing_mm=16.0, view="sagittal")
        preprocess(dataset, tmp_path / "p", PreprocessConfig(grid=grid, workers=1))
        settings, plan = planned_grid(dataset, tmp_path / "p", PreprocessConfig(seed=2))
        assert (settings.grid, settings.seed, plan) == (grid, 2, None)

    def test_what_is_no_dataset_is_left_to_preprocessing(self, tmp_path):
        (tmp_path / "d").mkdir()
        given = PreprocessConfig()
        assert planned_grid(tmp_path / "d", tmp_path / "p", given) == (given, None)

    def test_minutes_that_are_none(self, dataset, tmp_path):  # noqa: F811
        with pytest.raises(ConfigError, match="expected minutes above 0, got -3"):
            planned_grid(dataset, tmp_path / "p", PreprocessConfig(), -3.0)


class TestTraining:
    @pytest.fixture
    def data(self, tmp_path):
        return make_dataset(tmp_path / "data")

    def test_steps_that_are_given_are_not_measured(self, data, tmp_path):
        given = naming(PRESET.model_copy(update={"steps": 3, "batch_size": 2}), ("steps", "batch_size"))
        settings, plan = planned_training(data.folder, tmp_path / "run", given)
        assert (settings.steps, settings.batch_size, settings.minutes) == (3, 2, None)
        assert settings.network.channels == (16, 32, 64)
        assert settings.network.residual
        assert settings.network.slices == 7  # slices of 1 mm
        assert plan.size.steps == 3

    def test_what_somebody_chose_wins(self, data, tmp_path):
        network = PRESET.network.model_copy(update={"channels": (8, 16), "slices": 1})
        chosen = {
            "network": network,
            "sampling": SamplingConfig(slices_per_case=3),
            "minutes": 0.5,
            "validate_every": 9,
        }
        names = ("network.channels", "network.slices", "sampling.slices_per_case", "minutes", "validate_every")
        settings, plan = planned_training(
            data.folder, tmp_path / "run", naming(PRESET.model_copy(update=chosen), names)
        )
        assert (settings.network.channels, settings.network.slices) == ((8, 16), 1)
        assert (settings.sampling.slices_per_case, settings.minutes, settings.validate_every) == (3, 0.5, 9)
        assert plan.means.cost.is_measured
        assert not {*names} & plan.values(of_grid=False).keys()

    def test_a_run_that_began_goes_on_with_its_settings(self, data, tmp_path):
        began = PRESET.model_copy(update={"batch_size": 5, "minutes": 2.0})
        RunFolder(tmp_path / "run", began).save_settings()
        assert settings_in(tmp_path / "run") is None  # nothing has been learned yet
        (tmp_path / "run" / LAST).touch()
        settings, plan = planned_training(data.folder, tmp_path / "run", naming(TrainConfig(minutes=4.0), ("minutes",)))
        assert (settings.batch_size, settings.minutes, plan) == (5, 4.0, None)

    @pytest.mark.parametrize(
        ("part", "chosen"), [("fold-1", {"folds": 2}), ("coronal", {"views": ("coronal", "axial")})]
    )
    def test_so_does_a_run_of_several_networks(self, data, tmp_path, part, chosen):
        run = tmp_path / "run"
        given = naming(PRESET.model_copy(update=chosen), chosen)
        began = PRESET.model_copy(update={"batch_size": 5, "minutes": 2.0})
        RunFolder(run / part, began).save_settings()
        (run / part / LAST).touch()
        if "folds" in chosen:
            save_folds(Folds(2, {"a": 1, "b": 2}), run)
        settings, plan = planned_training(data.folder, run, given)  # it was killed before its own settings were written
        assert (settings, plan) == (began.model_copy(update=chosen), None)
        save_config(settings.model_copy(update={"batch_size": 6}), run / CONFIG)
        assert planned_training(data.folder, run, given)[0].batch_size == 6

    def test_folds_and_views_that_the_dataset_does_not_allow_are_refused_before_any_step(
        self, data, tmp_path, monkeypatch
    ):
        monkeypatch.setattr("tomoseg.workflows.planned.plan_training", lambda *given: pytest.fail("planned"))
        with pytest.raises(DatasetError, match="patients or more for 99 folds"):
            planned_training(data.folder, tmp_path / "run", PRESET.model_copy(update={"folds": 99}))
        coronal = make_dataset(tmp_path / "coronal", NATIVE.model_copy(update={"view": "coronal"})).folder
        with pytest.raises(DatasetError, match="expected a dataset of axial slices"):
            planned_training(coronal, tmp_path / "run", PRESET.model_copy(update={"views": ("axial", "coronal")}))

    @pytest.mark.parametrize("network", [NetworkConfig(dims=3), NetworkConfig(kind="swin_unetr", channels=(12, 24))])
    def test_blocks_and_transformers_are_not_planned(self, data, tmp_path, network):
        given = PRESET.model_copy(update={"network": network})
        assert planned_training(data.folder, tmp_path / "run", given) == (given, None)

    def test_several_processes_do_not_plan(self, data, tmp_path, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", "2")
        assert planned_training(data.folder, tmp_path / "run", PRESET) == (PRESET, None)

    def test_a_warm_start_keeps_the_models_network(self, data, tmp_path):
        model = make_model(tmp_path / "model")
        given = naming(PRESET.model_copy(update={"warm_start": model, "steps": 2}), ("warm_start", "steps"))
        settings, plan = planned_training(data.folder, tmp_path / "run", given)
        assert (settings.network, settings.windows_hu) == (PRESET.network, PRESET.windows_hu)  # so the model's count
        assert not {"network.channels", "network.slices", "windows_hu"} & plan.values(of_grid=False).keys()
