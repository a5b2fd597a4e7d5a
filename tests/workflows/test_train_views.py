"""`train --views`: a network for each view in one run folder, which together are one model."""

import multiprocessing
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.training.tiny import LABELS, NATIVE, SPLITS, add_case, finish, make_config, make_dataset, make_scan
from tomoseg.config import GridConfig, NetworkConfig, OptimizerConfig, SamplingConfig, TrainConfig
from tomoseg.errors import ConfigError, DatasetError, TrainingError
from tomoseg.inference.segment import open_predictor, preflight, segment
from tomoseg.loss_kinds import LossConfig
from tomoseg.masks import structure_mask
from tomoseg.models.folder import load_model
from tomoseg.models.views import load_views
from tomoseg.options import Compute
from tomoseg.preprocessed.read import Preprocessed, range_of
from tomoseg.preprocessed.turn import turn
from tomoseg.settings import load_config
from tomoseg.training.listener import Listener
from tomoseg.volume import Volume
from tomoseg.workflows import course, side_by_side, train_views
from tomoseg.workflows.one_run import train_one
from tomoseg.workflows.train import train_run

TORCH = Compute(engine="torch", precision="fp32", device="cpu")
VIEWS = {
    "views": ("axial", "coronal", "sagittal"),
    "epochs": 2,
    "sampling": SamplingConfig(slices_per_case=8),
    "optimizer": OptimizerConfig(learning_rate=3e-2),
}


@pytest.fixture(autouse=True, scope="module")
def quick():
    """One thread, since the arrays are small, and no curves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(course, "draw_history", lambda history, path, lang: None)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return make_dataset(tmp_path_factory.mktemp("data")).folder


@pytest.fixture(scope="module")
def run(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    parts = []
    outcome = train_run(dataset, folder, make_config(**VIEWS), Listener(on_part=parts.append))
    return folder, outcome, parts


def test_a_dataset_is_turned_voxel_by_voxel(tmp_path):
    grid = GridConfig(mode="spacing", spacing_mm=1.5, slice_spacing_mm=2.0, crop="none")
    data = make_dataset(tmp_path / "axial", grid)
    turned = turn(data, "coronal", tmp_path / "coronal")
    assert turned.grid.view == "coronal"
    for before, after in zip(data.cases, turned.cases, strict=True):
        assert (before.name, before.split, before.record.patient) == (after.name, after.split, after.record.patient)
        assert before.record.annotated == after.record.annotated
        assert np.array_equal(after.ct(), before.ct().transpose(0, 2, 1))
        for channel in range(len(LABELS)):
            mask = structure_mask(before.masks(), channel).transpose(0, 2, 1)
            assert np.array_equal(structure_mask(after.masks(), channel), mask)
            where = np.flatnonzero(mask.any(axis=(0, 1)))
            assert np.array_equal(after.record.slices_of(channel), where)
        x, y, z = before.grid_spacing_mm
        assert np.allclose(after.grid_spacing_mm, (x, z, y))
        assert after.record.ceiling == before.record.ceiling  # what the grid loses, though nothing is lost in turning
    (of_scans, of_turned) = (range_of(which.cases) for which in (data, turned))
    assert of_turned.spacing_mm == of_scans.spacing_mm == ((1.0, 1.0),) * 3  # of the scans, not of the grid
    assert of_turned.extent_mm == of_scans.extent_mm == ((24.0, 24.0), (22.0, 22.0), (8.0, 8.0))
    assert of_turned.tissue_hu == of_scans.tissue_hu  # in the same axial slices, as predict measures them


def test_what_a_killed_command_left_among_turned_cases_goes(tmp_path):
    """In a subfolder of the output, which is looked into when this process first writes there."""
    data = make_dataset(tmp_path / "axial")
    cases = tmp_path / "coronal" / "cases"
    for name in (".a.0123456789ab.part", ".mine.part"):
        (cases / name).mkdir(parents=True)
    turn(data, "coronal", tmp_path / "coronal")
    assert {path.name for path in cases.iterdir()} == {case.name for case in data.cases} | {".mine.part"}


def test_turned_cases_are_kept_until_the_arrays_change(tmp_path):
    data = make_dataset(tmp_path / "axial")
    turn(data, "coronal", tmp_path / "coronal")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "coronal").rglob("case.json")}
    turn(data, "coronal", tmp_path / "coronal")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    other = make_dataset(tmp_path / "other", splits={"b": "train", "a": "train"})  # exchanged scans
    turned = turn(other, "coronal", tmp_path / "coronal")
    assert np.array_equal(turned.cases[0].ct(), other.cases[0].ct().transpose(0, 2, 1))


def test_a_network_a_view_and_all_are_one_model(run):
    folder, outcome, parts = run
    assert parts == ["View 1 of 3: axial", "View 2 of 3: coronal", "View 3 of 3: sagittal"]
    assert outcome.finished
    assert list(outcome.views) == list(VIEWS["views"])
    models, fusion = load_views(folder)
    assert [model.record.grid.view for model in models] == list(VIEWS["views"])
    assert fusion.folders == ("axial/best", "coronal/best", "sagittal/best")
    assert [one.up_to_mm for one in fusion.shares] == [120.0, None]
    assert fusion.provenance["cases"] == ["v", "w"]
    assert outcome.best_dice == pytest.approx(fusion.provenance["validation_dice"])
    assert outcome.best_dice > 0.3
    assert not (folder / "turned").exists()


def test_the_run_folder_predicts_as_a_mixture_of_its_views(run):
    folder, _, _ = run
    volume = Volume.from_array(np.asfortranarray(make_scan(7)[0]), np.eye(4))
    assert segment(volume, folder, compute=TORCH).mask("ball").sum() > 20


def test_a_run_that_was_stopped_goes_on_and_ends_the_same(dataset, run, tmp_path):
    steps = []
    stopper = Listener(on_step=steps.append, should_stop=lambda: len(steps) > 9)
    assert not train_run(dataset, tmp_path / "run", make_config(**VIEWS), stopper).finished
    assert train_run(dataset, tmp_path / "run", make_config(**VIEWS)).finished
    for view in VIEWS["views"]:
        assert load_model(tmp_path / "run" / view).sha256 == load_model(run[0] / view).sha256


def test_each_view_starts_from_the_one_before(dataset, run, tmp_path):
    settings = make_config(**VIEWS | {"views": (), "warm_start": run[0] / "axial"})
    turned = turn(Preprocessed(dataset), "coronal", tmp_path / "coronal")
    assert train_run(turned.folder, tmp_path / "run", settings).finished
    assert load_model(tmp_path / "run").sha256 == load_model(run[0] / "coronal").sha256


def test_a_run_that_was_moved_goes_on(dataset, run, tmp_path):
    steps = []
    stopper = Listener(on_step=steps.append, should_stop=lambda: len(steps) > 9)
    assert not train_run(dataset, tmp_path / "begun", make_config(**VIEWS), stopper).finished
    (tmp_path / "begun").rename(tmp_path / "moved")
    assert train_run(dataset, tmp_path / "moved", make_config(**VIEWS)).finished
    for view in VIEWS["views"]:
        assert load_model(tmp_path / "moved" / view).sha256 == load_model(run[0] / view).sha256


def test_a_view_can_be_added(dataset, tmp_path):
    two = make_config(**VIEWS | {"views": ("coronal", "axial"), "epochs": 1})
    assert train_run(dataset, tmp_path, two).finished
    before = load_model(tmp_path / "axial").sha256
    assert train_run(dataset, tmp_path, two.model_copy(update={"views": VIEWS["views"]})).finished
    assert load_model(tmp_path / "axial").sha256 == before
    assert len(load_views(tmp_path)[0]) == 3


def test_a_view_is_dropped_only_by_force(dataset, tmp_path):
    three = make_config(**VIEWS | {"epochs": 1})
    assert not train_run(dataset, tmp_path, three, Listener(should_stop=lambda: True)).finished  # in the first view
    two = three.model_copy(update={"views": ("sagittal", "axial")})
    expected = r"was started with, axial, coronal, sagittal, got sagittal, axial; .* with --force"
    with pytest.raises(TrainingError, match=expected):
        train_run(dataset, tmp_path, two)
    assert load_config(TrainConfig(), tmp_path / "config.yaml") == three
    assert train_run(dataset, tmp_path, two, force=True).finished
    assert load_views(tmp_path)[1].folders == ("sagittal/best", "axial/best")


def test_a_run_whose_first_view_was_killed_says_its_views(dataset, tmp_path, monkeypatch):
    three = make_config(**VIEWS | {"epochs": 1})

    def killed(*given, **named):
        train_one(*given, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(train_views, "train_one", killed)
    with pytest.raises(KeyboardInterrupt):
        train_run(dataset, tmp_path, three)
    monkeypatch.undo()
    with pytest.raises(TrainingError, match="was started with, axial, coronal, sagittal, got axial, coronal;"):
        train_run(dataset, tmp_path, three.model_copy(update={"views": ("axial", "coronal")}))


def test_a_warm_start_says_where_it_takes_a_network_of_another_view(dataset, run, tmp_path):
    told = []
    two = {"views": ("axial", "coronal"), "epochs": None, "steps": 1, "warm_start": run[0] / "axial"}
    settings = make_config(**VIEWS | two)
    assert train_run(dataset, tmp_path / "run", settings, Listener(on_warning=told.append)).finished
    assert [each for each in told if "to start from" in each] == [
        "the model to start from has no network for coronal slices: this one starts from its network for axial slices"
    ]


def test_a_scan_like_those_of_training_is_like_them_for_models_without_an_axial_view(tmp_path):
    # pixels much wider than those of the scans mix air into the tissue at its edges
    grid = GridConfig(mode="spacing", spacing_mm=3.0, slice_spacing_mm=6.0, crop="none")
    for seed, (name, split) in enumerate(SPLITS.items()):
        add_case(tmp_path / "data", name, *make_scan(seed), grid, spacing_mm=(1.0, 1.0, 6.0), native=split != "train")
    data = finish(tmp_path / "data", SPLITS, grid=grid).folder
    two = make_config(**VIEWS | {"views": ("coronal", "sagittal"), "epochs": 1})
    assert train_run(data, tmp_path / "run", two).finished
    for slice_mm, is_unlike in ((6.0, False), (12.0, True)):
        scan = Volume.from_array(np.asfortranarray(make_scan(7)[0]), np.diag([1.0, 1.0, slice_mm, 1.0]))
        for model in (tmp_path / "run", tmp_path / "run" / "coronal"):
            noticed = preflight(scan, open_predictor(model, TORCH))
            assert ("unlike training" in {one.kind for one in noticed}) is is_unlike


def test_without_validation_cases_all_count_alike(tmp_path):
    data = make_dataset(tmp_path / "data", splits={"a": "train"})
    told = []
    settings = make_config(**VIEWS | {"views": ("axial", "coronal"), "epochs": 1})
    outcome = train_run(data.folder, tmp_path / "run", settings, Listener(on_warning=told.append))
    assert outcome.finished
    assert any("all count equally" in each for each in told)
    assert load_views(tmp_path / "run")[1].shares == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"views": ("coronal",)}, "two or three different views, got coronal"),
        ({"views": ("axial", "axial")}, "two or three different views, got axial, axial"),
        ({"folds": 2}, "views or folds, got both"),
        (
            {"network": NetworkConfig(dims=3, channels=(8, 16), tile=(16, 16, 8))},
            "a network of slices for views",
        ),
    ],
)
def test_what_does_not_go_with_views(dataset, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        train_run(dataset, tmp_path / "run", make_config(**VIEWS | changes))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", [{}, {"folds": 2}, {"views": ("axial", "coronal")}])
def test_settings_that_the_dataset_does_not_allow_leave_no_run(dataset, tmp_path, kind):
    settings = make_config(loss=LossConfig(weights={"spleen": 2.0}), **kind)
    with pytest.raises(ConfigError, match=r"loss\.weights: expected one of"):
        train_run(dataset, tmp_path / "run", settings)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("kind", [{}, {"folds": 2}, {"views": ("axial", "coronal")}])
def test_a_dataset_is_no_run_folder(dataset, kind):
    before = sorted(dataset.rglob("*"))
    with pytest.raises(TrainingError, match="expected a run folder, got a preprocessed dataset; choose another"):
        train_run(dataset, dataset, make_config(**kind))
    assert sorted(dataset.rglob("*")) == before


def test_other_runs_and_datasets_are_refused(dataset, run, tmp_path):
    single = tmp_path / "single"
    train_run(dataset, single, make_config(epochs=1))
    with pytest.raises(TrainingError, match="or one of views, got a run of one network"):
        train_run(dataset, single, make_config(**VIEWS))
    with pytest.raises(TrainingError, match="expected --views, which the run in this folder was started with"):
        train_run(dataset, run[0], make_config(epochs=1))
    begun = tmp_path / "begun"  # and stopped in its first view
    (begun / "sagittal").mkdir(parents=True)
    (begun / "sagittal" / "last.pt").touch()
    with pytest.raises(TrainingError, match="expected --views, which the run in this folder was started with"):
        train_run(dataset, begun, make_config(epochs=1))
    with pytest.raises(TrainingError, match="or one with 2 folds, got a run of views"):
        train_run(dataset, begun, make_config(folds=2, epochs=1))
    coronal = make_dataset(tmp_path / "coronal", NATIVE.model_copy(update={"view": "coronal"})).folder
    with pytest.raises(DatasetError, match="expected a dataset of axial slices"):
        train_run(coronal, tmp_path / "run", make_config(**VIEWS))
    with pytest.raises(DatasetError, match="expected a dataset of axial view, got coronal"):
        turn(Preprocessed(coronal), "axial", tmp_path / "turned")


@pytest.fixture(autouse=True, scope="module")
def copied_processes():
    """Processes of views are copies of one that has loaded PyTorch, which would take each of them seconds."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "tomoseg.workflows.train"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(side_by_side, "get_context", lambda kind: context)
        yield


AT_ONCE = VIEWS | {"views": ("axial", "coronal"), "side_by_side": True}


@pytest.fixture(scope="module")
def at_once(dataset, tmp_path_factory):
    """A run of views side by side, stopped by its listener after the first epoch and continued."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    heard = {"parts": [], "beginnings": [], "epochs": [], "steps": []}
    told = Listener(
        on_part=heard["parts"].append,
        on_begin=heard["beginnings"].append,
        on_epoch=heard["epochs"].append,
        on_step=heard["steps"].append,
    )
    config = make_config(**AT_ONCE)
    stopped = train_run(dataset, folder, config, replace(told, should_stop=lambda: bool(heard["steps"])))
    with_readers = config.model_copy(update={"workers": 1})
    return folder, stopped, heard, train_run(dataset, folder, with_readers, told)


def test_views_side_by_side_are_stopped_and_continued(at_once, dataset, tmp_path):
    folder, stopped, heard, outcome = at_once
    assert not stopped.finished
    assert outcome.finished
    assert list(outcome.views) == ["axial", "coronal"]
    assert load_views(folder)[1].folders == ("axial/best", "coronal/best")
    assert set(heard["parts"]) == {"2 views side by side: axial, coronal"}
    assert len(heard["beginnings"]) == 2  # of each call one, not one of each view
    seen = {(record["view"], record["epoch"]) for record in heard["epochs"]}
    assert seen == {(view, epoch) for view in ("axial", "coronal") for epoch in (1, 2)}


def test_views_side_by_side_are_those_that_are_trained_alone(at_once, dataset, tmp_path):
    """Each from its own first weights, as in a run of that view, and not from the view before."""
    alone = tmp_path / "coronal"
    config = make_config(**VIEWS).of_view("coronal")
    train_run(turn(Preprocessed(dataset), "coronal", tmp_path / "turned").folder, alone, config)
    ours, theirs = (load_model(run / "best").network.state_dict() for run in (at_once[0] / "coronal", alone))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def of_views():
    """The processes of views that are alive."""
    return [child for child in multiprocessing.active_children() if child.name.startswith("tomoseg-")]


def test_an_error_of_one_view_ends_all(dataset, tmp_path):
    config = make_config(**AT_ONCE | {"optimizer": OptimizerConfig(learning_rate=1e30)})
    with pytest.raises(TrainingError, match="expected a finite"):
        train_run(dataset, tmp_path / "run", config)
    assert of_views() == []


def test_a_request_to_end_that_reaches_every_process_saves_all(dataset, tmp_path):
    asked = []

    def ask(step):
        if not asked:
            asked[:] = [os.kill(child.pid, signal.SIGTERM) for child in of_views()]

    config = make_config(**AT_ONCE | {"epochs": 1000})
    outcome = train_run(dataset, tmp_path / "run", config, Listener(on_step=ask, should_stop=lambda: bool(asked)))
    assert not outcome.finished
    assert of_views() == []
    assert [(tmp_path / "run" / view / "last.pt").is_file() for view in ("axial", "coronal")] == [True, True]


def test_the_process_of_a_view_that_is_lost_is_named(dataset, tmp_path):
    def kill(step):
        next(child for child in of_views() if child.name == "tomoseg-coronal").kill()

    config = make_config(**AT_ONCE | {"epochs": 1000})
    with pytest.raises(TrainingError, match=r"the process of the coronal one ended: SIGKILL; run the same command"):
        train_run(dataset, tmp_path / "run", config, Listener(on_step=kill))
    assert of_views() == []
    assert (tmp_path / "run" / "axial" / "last.pt").is_file()  # the others saved theirs


def test_side_by_side_without_views_or_with_a_custom_loss_is_refused(dataset, tmp_path):
    with pytest.raises(ConfigError, match="expected views to train side by side, got none"):
        train_run(dataset, tmp_path / "run", make_config(side_by_side=True))
    with pytest.raises(ConfigError, match="expected a loss of tomoseg with side_by_side, got a custom one"):
        train_run(dataset, tmp_path / "run", make_config(**AT_ONCE), loss=lambda logits, *rest: 0)
