"""Training on scans of a few voxels: it learns, resumes bit for bit, and says what is wrong."""

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from tests.training.tiny import LABELS, add_case, make_config, make_dataset, make_scan
from tomoseg.config import (
    AugmentationConfig,
    CurriculumConfig,
    GridConfig,
    LossConfig,
    NetworkConfig,
    OptimizerConfig,
    SamplingConfig,
    ScheduleConfig,
)
from tomoseg.errors import DatasetError, OutputError, TrainingError
from tomoseg.evaluation.statistics import Estimate
from tomoseg.models.folder import load_model
from tomoseg.options import Compute
from tomoseg.pictures.history import draw_history
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.terminal.stopping import stop_on_signal
from tomoseg.training import budget as budget_module
from tomoseg.training import recipe
from tomoseg.training.build import build_run
from tomoseg.training.curriculum import easiest_slices
from tomoseg.training.listener import Listener
from tomoseg.training.plain_loss import plain_loss
from tomoseg.training.recipe import epoch_draws, grouped, take_step, train
from tomoseg.training.run import warnings_of
from tomoseg.training.run_folder import RunFolder
from tomoseg.training.sampling import draw_epoch, structure_frequencies
from tomoseg.training.slices import DrawnSlices, collate
from tomoseg.workflows import course
from tomoseg.workflows.evaluate import evaluate
from tomoseg.workflows.train import train_run

OFF = AugmentationConfig(enabled=False)


@pytest.fixture(autouse=True, scope="module")
def quick():
    """One thread, since the arrays are small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("preprocessed")
    make_dataset(folder)
    return folder


TIMES = {"minutes", "minutes_left", "slices_per_second", "speed"}


def metrics(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def last(folder):
    return torch.load(folder / "last.pt", weights_only=True)


def same_state(one, other):
    """Whether two nested states are equal bit for bit, times aside."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same_state(one[k], other[k]) for k in one if k not in TIMES)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same_state(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def assert_same_run(one, other):
    assert metrics(one) == metrics(other)
    first, second = last(one), last(other)
    assert first["counters"][:2] == second["counters"][:2]
    for state in (first, second):
        del state["counters"]
    assert same_state(first, second)
    models = [load_model(folder).network.state_dict() for folder in (one, other)]
    assert same_state(dict(models[0]), dict(models[1]))


def stop_after(steps):
    """A listener that asks to stop after so many steps."""
    taken = []
    return Listener(on_step=taken.append, should_stop=lambda: len(taken) >= steps)


@pytest.fixture(scope="module")
def learned(dataset, tmp_path_factory):
    """A run folder and its outcome, after 90 steps."""
    folder = tmp_path_factory.mktemp("learned")
    optimizer = OptimizerConfig(learning_rate=3e-2)
    config = make_config(
        epochs=15,
        validate_every=5,
        optimizer=optimizer,
        sampling=SamplingConfig(slices_per_case=8),
        augmentation=OFF,
    )
    return folder, train_run(dataset, folder, config)


def test_learns_balls_and_cubes(learned):
    _, outcome = learned
    assert outcome.finished
    assert outcome.best_dice > 0.9
    assert {name for name, dice in outcome.history[-1]["dice"].items() if dice > 0.85} == set(LABELS.names)
    assert outcome.history[-1]["train_loss"] < 0.3 * outcome.history[0]["train_loss"]


# The training cases give 12 slices an epoch: 3 steps of 4.
@pytest.mark.parametrize("steps", [1, 3, 4, 6], ids=["first", "end of epoch", "mid-epoch", "very last"])
def test_interrupted_and_resumed_is_uninterrupted(dataset, tmp_path, steps):
    config = make_config(network=NetworkConfig(channels=(8, 16), dropout=0.2))
    train_run(dataset, tmp_path / "whole", config)
    stopped = train_run(dataset, tmp_path / "parts", config, stop_after(steps))
    assert not stopped.finished
    assert last(tmp_path / "parts")["counters"][:2] == ((steps - 1) // 3, (steps - 1) % 3 + 1)
    resumed = train_run(dataset, tmp_path / "parts", config)
    assert resumed.finished
    assert [record["epoch"] for record in resumed.history] == [1, 2]
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def stopped_in_wait(number):
    """A listener that is asked to stop while it waits for the slices of a step, by its number."""
    waits = []

    @contextmanager
    def waiting():
        waits.append(None)
        yield
        if len(waits) == number:
            raise KeyboardInterrupt

    return Listener(waiting=waiting, should_stop=lambda: len(waits) == number)


# An epoch waits five times: for the slices of its 3 steps, for their end, and for its validation.
@pytest.mark.parametrize(("wait", "counters"), [(1, (0, 0)), (3, (0, 2)), (4, (0, 3)), (5, (0, 3)), (6, (1, 0))])
def test_stopped_in_waiting_and_resumed_is_uninterrupted(dataset, tmp_path, wait, counters):
    config = make_config(network=NetworkConfig(channels=(8, 16), dropout=0.2))
    train_run(dataset, tmp_path / "whole", config)
    assert not train_run(dataset, tmp_path / "parts", config, stopped_in_wait(wait)).finished
    assert last(tmp_path / "parts")["counters"][:2] == counters
    assert train_run(dataset, tmp_path / "parts", config).finished
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_ctrl_c_in_waiting_that_nobody_takes_as_a_wish_is_raised(dataset, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train_run(dataset, tmp_path, make_config(), replace(stopped_in_wait(1), should_stop=lambda: False))


def test_one_ctrl_c_before_the_first_slices_come_is_enough(dataset, tmp_path, monkeypatch):
    def never_ready(loader, draws):
        signal.raise_signal(signal.SIGINT)
        yield pytest.fail("it waited on")

    monkeypatch.setattr("tomoseg.training.slices.EpochLoader.batches", never_ready)
    with stop_on_signal() as stop:
        outcome = train_run(dataset, tmp_path, make_config(), Listener(should_stop=stop, waiting=stop.at_once))
    assert not outcome.finished


@pytest.mark.parametrize("is_signal", [True, False], ids=["Ctrl-C", "callback"])
def test_stopped_between_validation_cases_and_resumed_is_uninterrupted(tmp_path, is_signal):
    make_dataset(tmp_path / "data", splits={"a": "train", "b": "train", "v": "validation", "w": "validation"})
    config, validated = make_config(epochs=1, network=NetworkConfig(channels=(8, 16), dropout=0.2)), []
    train_run(tmp_path / "data", tmp_path / "whole", config)
    with stop_on_signal() as stop:

        def on_validated(done, total):
            validated.append((done, total))
            if is_signal:
                signal.raise_signal(signal.SIGINT)

        listener = Listener(on_validated=on_validated, should_stop=lambda: bool(validated))
        if is_signal:
            listener = replace(listener, should_stop=stop, waiting=stop.at_once)
        assert not train_run(tmp_path / "data", tmp_path / "parts", config, listener).finished
    assert validated == [(1, 2)]
    assert last(tmp_path / "parts")["counters"][:2] == (0, 2)  # 8 slices are two steps
    assert not (tmp_path / "parts" / "metrics.jsonl").exists()
    assert train_run(tmp_path / "data", tmp_path / "parts", config).finished
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_stopped_in_its_last_validation_case_the_epoch_is_kept(dataset, tmp_path):
    whole = []
    listener = Listener(on_validated=lambda done, total: whole.append(done == total), should_stop=lambda: any(whole))
    assert not train_run(dataset, tmp_path, make_config(), listener).finished
    assert last(tmp_path)["counters"][:2] == (1, 1)  # validated, and stopped after the next step


def test_stopped_at_every_step_is_uninterrupted(dataset, tmp_path):
    config = make_config(schedule=ScheduleConfig(kind="plateau", patience=0), accumulation=2, epochs=3)
    train_run(dataset, tmp_path / "whole", config)
    calls = 0
    while not train_run(dataset, tmp_path / "parts", config, stop_after(1)).finished:
        calls += 1
    assert calls == 6  # 12 slices are two steps, of 8 and of 4
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_finished_run_is_left_alone(dataset, tmp_path):
    config = make_config(epochs=1)
    first = train_run(dataset, tmp_path / "run", config)
    before = (tmp_path / "run" / "last.pt").read_bytes()
    again = train_run(dataset, tmp_path / "run", config, Listener(on_step=lambda step: pytest.fail("a step")))
    assert again == first
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


def test_emphasis_fades_over_the_budget(dataset):
    run = build_run(Preprocessed(dataset), make_config(loss=LossConfig(emphasis_power=0.5), epochs=2))
    frequencies = np.array(structure_frequencies([case.record for case in run.cases], 3))
    np.testing.assert_allclose(run.pos_weight, frequencies**-0.5, rtol=1e-5)
    run.state.epoch = 1
    np.testing.assert_allclose(run.pos_weight, frequencies**-0.25, rtol=1e-5)
    run.state.epoch = 2
    assert run.pos_weight is None


def curriculum_config(**changes):
    """Four epochs of three steps; from the third on, after half of the budget, all slices are drawn."""
    curriculum = CurriculumConfig(enabled=True, start_share=0.25)
    return make_config(**{"epochs": 4, "validate_every": 4, "curriculum": curriculum, **changes})


def read_slices(monkeypatch):
    """Will hold the draws in the order in which their slices are read for training."""
    found = []
    original = DrawnSlices.__getitem__

    def read(slices, draw):
        if not slices.centred:
            found.append(draw)
        return original(slices, draw)

    monkeypatch.setattr(DrawnSlices, "__getitem__", read)
    return found


def test_easy_slices_come_first(dataset, tmp_path, monkeypatch):
    found = read_slices(monkeypatch)
    outcome = train_run(dataset, tmp_path, curriculum_config())
    records = [case.record for case in Preprocessed(dataset).split("train")]
    sampling = curriculum_config().sampling
    # 0.25, then half of the way to 1, then all.
    assert [record["curriculum_share"] for record in outcome.history] == [0.25, 0.625, 1, 1]
    assert [record["curriculum_share"] for record in metrics(tmp_path)] == [0.25, 0.625, 1, 1]
    epochs = [found[first : first + 12] for first in range(0, 48, 12)]
    assert epochs == [
        draw_epoch(records, sampling, 0, 0, easiest_slices(records, 0.25)),
        draw_epoch(records, sampling, 0, 1, easiest_slices(records, 0.625)),
        draw_epoch(records, sampling, 0, 2),
        draw_epoch(records, sampling, 0, 3),
    ]
    assert epochs[0] != draw_epoch(records, sampling, 0, 0)
    assert "<dt>curriculum</dt><dd>100% of the slices</dd>" in (tmp_path / "summary.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "budget", [{}, {"epochs": None, "steps": 12}, {"epochs": None, "minutes": 1.5}], ids=["epochs", "steps", "minutes"]
)
@pytest.mark.parametrize("steps", [1, 3, 5], ids=["first", "end of epoch", "mid-epoch"])
def test_a_curriculum_survives_an_interruption(dataset, tmp_path, monkeypatch, budget, steps):
    # By the clock of the test a step takes an eighth of a minute: all budgets are of 12 steps.
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(budget_module, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def take_its_time(run, parts):
        clock.now += 7.5
        return take_step(run, parts)

    monkeypatch.setattr(recipe, "take_step", take_its_time)
    config, found = curriculum_config(**budget), read_slices(monkeypatch)
    train_run(dataset, tmp_path / "whole", config)
    whole = found.copy()
    found.clear()
    assert not train_run(dataset, tmp_path / "parts", config, stop_after(steps)).finished
    assert found == whole[: 4 * steps]
    found.clear()
    assert train_run(dataset, tmp_path / "parts", config).finished
    assert found == whole[4 * steps :]
    assert len(set(whole)) == 48
    assert [record["curriculum_share"] for record in metrics(tmp_path / "parts")] == [0.25, 0.625, 1, 1]
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_longer_budget_leaves_the_epoch_that_is_under_way(dataset, tmp_path, monkeypatch):
    found = read_slices(monkeypatch)
    train_run(dataset, tmp_path, curriculum_config(), stop_after(4))
    begun = build_run(Preprocessed(dataset), curriculum_config())
    begun.restore(last(tmp_path))
    longer = build_run(Preprocessed(dataset), curriculum_config(epochs=400))
    longer.restore(last(tmp_path))
    assert (longer.state.epoch, longer.state.step) == (1, 1)
    assert longer.curriculum_share == begun.curriculum_share == 0.625
    assert epoch_draws(longer) == epoch_draws(begun)
    assert epoch_draws(begun)[:4] == found[12:16]
    longer.state.epoch, longer.state.step = 2, 0
    longer.begin_epoch()
    assert longer.curriculum_share == pytest.approx(0.25 + 0.75 * (2 / 400) / 0.5)


def test_a_state_from_before_curricula_still_resumes(dataset, tmp_path):
    config = make_config()
    train_run(dataset, tmp_path / "whole", config)
    train_run(dataset, tmp_path / "parts", config, stop_after(4))
    state = last(tmp_path / "parts")
    assert state.pop("epoch_began_at") == 0.5
    torch.save(state, tmp_path / "parts" / "last.pt")
    saved = tmp_path / "parts" / "config.yaml"
    settings = yaml.safe_load(saved.read_text(encoding="utf-8"))
    del settings["curriculum"], settings["sampling"]["rare_power"]
    saved.write_text(yaml.safe_dump(settings), encoding="utf-8")
    assert train_run(dataset, tmp_path / "parts", config).finished
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")
    assert not any("curriculum_share" in record for record in metrics(tmp_path / "parts"))


def test_a_dataset_from_before_difficulties_trains_without_a_curriculum_only(tmp_path):
    make_dataset(tmp_path / "data")
    for path in (tmp_path / "data").glob("cases/[ab]/case.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        del content["difficulty"]
        path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"got none in 2 of 3 training cases, such as a; preprocess again"):
        train_run(tmp_path / "data", tmp_path / "run", curriculum_config())
    assert train_run(tmp_path / "data", tmp_path / "run", make_config(epochs=1)).finished


def test_epochs_may_be_extended(dataset, tmp_path):
    steady = {"schedule": ScheduleConfig(kind="constant"), "loss": LossConfig(emphasis_power=0)}
    train_run(dataset, tmp_path / "whole", make_config(**steady, epochs=3))
    train_run(dataset, tmp_path / "parts", make_config(**steady, epochs=1))
    train_run(dataset, tmp_path / "parts", make_config(**steady, epochs=3, minutes=600))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_a_budget_of_steps(dataset, tmp_path):
    # 3 steps an epoch; the cosine ends with the budget.
    steps = []
    outcome = train_run(dataset, tmp_path, make_config(epochs=None, steps=5), Listener(on_step=steps.append))
    assert outcome.finished
    assert [(s.epoch, s.step) for s in steps] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]
    assert steps[-1].learning_rate == pytest.approx(0.01 * 0.5 * (1 + math.cos(math.pi * (0.8 - 0.02) / 0.98)))


def test_without_any_budget_there_are_a_hundred_epochs(dataset):
    run = build_run(Preprocessed(dataset), make_config(epochs=None))
    run.state.epoch = 25
    assert run.progress == 0.25


def test_early_stopping_waits_for_so_many_validations(dataset, tmp_path, monkeypatch):
    scores = iter([0.5, 0.7, 0.6, 0.7, 0.8])
    validated = recipe.validate

    def scored(run, listener):
        _, summary = validated(run, listener)
        return 0.0, replace(summary, overall=summary.overall | {"dice": Estimate(next(scores))})

    monkeypatch.setattr(recipe, "validate", scored)
    outcome = train_run(dataset, tmp_path, make_config(epochs=50, early_stopping=2))
    assert outcome.finished
    assert [record["validation_dice"] for record in outcome.history] == [0.5, 0.7, 0.6, 0.7]
    assert outcome.best_dice == 0.7
    more = train_run(dataset, tmp_path, make_config(epochs=5, early_stopping=3))
    assert [record["validation_dice"] for record in more.history] == [0.5, 0.7, 0.6, 0.7, 0.8]


def test_force_goes_on_with_other_settings(dataset, tmp_path):
    train_run(dataset, tmp_path, make_config(epochs=1))
    changed = make_config(epochs=2, batch_size=6, optimizer=OptimizerConfig(learning_rate=0.5))
    with pytest.raises(TrainingError, match="with --force"):
        train_run(dataset, tmp_path, changed)
    outcome = train_run(dataset, tmp_path, changed, force=True)
    assert [record["epoch"] for record in outcome.history] == [1, 2]
    assert "batch_size: 6" in (tmp_path / "config.yaml").read_text(encoding="utf-8")


def test_a_mean_of_the_weights_is_validated_and_kept(dataset, tmp_path):
    plain = train_run(dataset, tmp_path / "plain", make_config(epochs=1))
    mean = train_run(dataset, tmp_path / "mean", make_config(epochs=1, ema_decay=0.9))
    assert mean.history[0]["train_loss"] == plain.history[0]["train_loss"]
    assert mean.history[0]["validation_loss"] != plain.history[0]["validation_loss"]
    state = last(tmp_path / "mean")
    kept = load_model(tmp_path / "mean").network.state_dict()
    assert all(torch.equal(kept[name], state["average"][f"module.{name}"]) for name in kept)
    assert same_state(state["network"], last(tmp_path / "plain")["network"])
    assert not same_state(dict(kept), dict(state["network"]))


def test_a_mean_of_the_weights_survives_an_interruption(dataset, tmp_path):
    config = make_config(ema_decay=0.9)
    train_run(dataset, tmp_path / "whole", config)
    assert not train_run(dataset, tmp_path / "parts", config, stop_after(4)).finished
    assert train_run(dataset, tmp_path / "parts", config).finished
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def test_deterministic_is_for_the_run_only(dataset, tmp_path):
    seen = []
    listener = Listener(on_step=lambda step: seen.append(torch.are_deterministic_algorithms_enabled()))
    train_run(dataset, tmp_path / "one", make_config(epochs=1, deterministic=True), listener)
    assert seen == [True] * 3
    assert not torch.are_deterministic_algorithms_enabled()
    train_run(dataset, tmp_path / "two", make_config(epochs=1, deterministic=True))
    assert_same_run(tmp_path / "one", tmp_path / "two")


def test_a_disk_that_fills_leaves_the_last_checkpoint(dataset, tmp_path, monkeypatch):
    train_run(dataset, tmp_path, make_config(epochs=1))
    before = (tmp_path / "last.pt").read_bytes()
    write = Path.write_bytes

    def full(path, content):
        if path.name.startswith(".last.pt"):
            write(path, bytes(content)[:1000])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"last\.pt.*No space left on device; free some space"):
        train_run(dataset, tmp_path, make_config(epochs=2))
    monkeypatch.undo()
    assert (tmp_path / "last.pt").read_bytes() == before
    assert not [path for path in tmp_path.iterdir() if path.suffix == ".part"]
    assert len(train_run(dataset, tmp_path, make_config(epochs=2)).history) == 2


def test_structures_that_never_occur_are_named(tmp_path):
    make_dataset(tmp_path / "data", annotated={name: (0, 1) for name in "abc"})
    warned = []
    train_run(tmp_path / "data", tmp_path / "run", make_config(epochs=1), Listener(on_warning=warned.append))
    assert warned[0] == "no training case has both; the model will not find them"


def test_no_annotated_structure_at_all_is_an_error(tmp_path):
    make_dataset(tmp_path / "data", annotated={name: () for name in "abc"})
    with pytest.raises(DatasetError, match="expected a training case with an annotated structure, got none in 3"):
        train_run(tmp_path / "data", tmp_path / "run", make_config(epochs=1))


def test_other_settings_are_refused_by_name(dataset, tmp_path):
    train_run(dataset, tmp_path, make_config(epochs=1))
    changed = make_config(batch_size=5, optimizer=OptimizerConfig(learning_rate=0.5))
    with pytest.raises(
        TrainingError, match=r"optimizer\.learning_rate was 0\.01 and is 0\.5.*batch_size was 4 and is 5"
    ):
        train_run(dataset, tmp_path, changed)
    assert "batch_size: 4" in (tmp_path / "config.yaml").read_text(encoding="utf-8")


def test_settings_that_never_trained_bind_nobody(dataset, tmp_path):
    with pytest.raises(TrainingError, match=r"expected GPUs for sync_batch_norm"):
        train_run(dataset, tmp_path, make_config(sync_batch_norm=True))
    assert train_run(dataset, tmp_path, make_config(epochs=1)).finished


def test_another_dataset_is_refused(dataset, tmp_path):
    config = make_config(epochs=1)
    train_run(dataset, tmp_path / "run", config)
    make_dataset(tmp_path / "fewer", splits={"a": "train", "v": "validation"})
    make_dataset(tmp_path / "other")
    index = tmp_path / "other" / "preprocessed.json"
    content = json.loads(index.read_text(encoding="utf-8"))
    content["labels"][2]["name"] = "another"
    index.write_text(json.dumps(content), encoding="utf-8")
    make_dataset(tmp_path / "coarse", GridConfig(mode="size", size=(12, 11), crop="none"))
    make_dataset(tmp_path / "unknown", annotated={"a": (0,)})
    make_dataset(tmp_path / "tested", splits={"a": "train", "b": "train", "c": "train", "v": "validation", "w": "test"})
    for name, what in (
        ("fewer", "training cases and validation cases and masks"),
        ("other", "structures"),
        ("coarse", "grid and masks"),
        ("unknown", "masks"),
        ("tested", "validation cases and masks"),
    ):
        with pytest.raises(TrainingError, match=f"started with, got different {what} in .*{name}"):
            train_run(tmp_path / name, tmp_path / "run", config)


def test_masks_that_moved_are_refused_though_as_many_voxels_are_in_them(dataset, tmp_path):
    train_run(dataset, tmp_path / "run", make_config(epochs=1))
    make_dataset(tmp_path / "moved")
    shutil.rmtree(tmp_path / "moved" / "cases" / "a")
    hu, masks = make_scan(0)
    add_case(tmp_path / "moved", "a", hu, masks[:, ::-1], native=False)
    with pytest.raises(TrainingError, match=r"this run was started with, got different voxels in .*moved"):
        train_run(tmp_path / "moved", tmp_path / "run", make_config(epochs=2))
    make_dataset(tmp_path / "again")
    assert train_run(tmp_path / "again", tmp_path / "run", make_config(epochs=2)).finished


def test_a_dataset_from_before_contents_were_kept_goes_on(tmp_path):
    make_dataset(tmp_path / "data")
    train_run(tmp_path / "data", tmp_path / "run", make_config(epochs=1))
    path = tmp_path / "data" / "cases" / "a" / "case.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["contents"]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert train_run(tmp_path / "data", tmp_path / "run", make_config(epochs=2)).finished


def test_a_run_of_before_goes_on(dataset, tmp_path):
    train_run(dataset, tmp_path, make_config(epochs=1))
    state = last(tmp_path)
    state["learned_from"] = state["learned_from"][:2]  # what was kept before the grid and others were
    torch.save(state, tmp_path / "last.pt")
    assert train_run(dataset, tmp_path, make_config(epochs=2)).finished


def test_a_state_of_another_network_or_no_state_is_refused(dataset, tmp_path):
    config = make_config(epochs=1)
    train_run(dataset, tmp_path, config)
    state = last(tmp_path)
    del state["network"]["head.bias"]
    torch.save(state, tmp_path / "last.pt")
    with pytest.raises(TrainingError, match="expected the state of this network"):
        train_run(dataset, tmp_path, config)
    (tmp_path / "last.pt").write_bytes(b"no state")
    with pytest.raises(TrainingError, match="expected a training state"):
        train_run(dataset, tmp_path, config)


def steps_of(dataset, config, count, loss=None):
    """A run, and its first slices as so many batches."""
    run = build_run(Preprocessed(dataset), config, loss)
    draws = draw_epoch([case.record for case in run.cases], config.sampling, config.seed, 0)
    slices = DrawnSlices(run.cases, len(LABELS), run.size)
    size = config.batch_size
    return run, [collate([slices[d] for d in draws[k * size : (k + 1) * size]]) for k in range(count)]


@pytest.mark.parametrize("augmentation", [OFF, AugmentationConfig()], ids=["plain", "augmented"])
def test_four_accumulated_batches_are_one_batch(dataset, augmentation):
    settings = {
        "network": NetworkConfig(channels=(8, 16), normalisation="group"),
        "loss": LossConfig(kind="bce"),
        "optimizer": OptimizerConfig(kind="sgd", learning_rate=0.1),
        "augmentation": augmentation,
    }
    one, (whole,) = steps_of(dataset, make_config(batch_size=8, **settings), 1)
    four, parts = steps_of(dataset, make_config(batch_size=2, accumulation=4, **settings), 4)
    assert len({int(part.annotated.sum()) for part in parts}) > 1
    before = [p.detach().clone() for p in one.state.network.parameters()]
    losses = take_step(one, [whole])[0], take_step(four, parts)[0]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)
    pairs = list(zip(one.state.network.parameters(), four.state.network.parameters(), strict=True))
    assert max((a - b).detach().abs().max().item() for a, b in pairs) < 1e-6
    moved = zip(one.state.network.parameters(), before, strict=True)
    assert max((a - b).detach().abs().max().item() for a, b in moved) > 1e-3


def test_batches_are_grouped_and_the_rest_is_kept():
    assert list(grouped("abcdefg", 3)) == [["a", "b", "c"], ["d", "e", "f"], ["g"]]
    assert list(grouped("", 3)) == []


def assert_evaluates_to_its_validation(run, data):
    best = max((m for m in metrics(run) if "dice" in m), key=lambda record: record["validation_dice"])
    summary = evaluate(run, data, compute=Compute(engine="torch", device="cpu", precision="fp32")).summary
    assert summary.dice == best["validation_dice"]
    assert summary.iou == best["validation_iou"]
    assert {row.structure: row.dice for row in summary.structures} == best["dice"]
    record = load_model(run).record
    assert record.scores["validation_dice"] == summary.dice
    assert record.provenance["epoch"] == best["epoch"]
    return summary.dice


def test_validation_is_what_evaluate_says(learned, dataset):
    folder, outcome = learned
    assert assert_evaluates_to_its_validation(folder, dataset) == outcome.best_dice


def test_validation_is_what_evaluate_says_on_a_grid_of_its_own(tmp_path):
    make_dataset(tmp_path / "data", GridConfig(mode="spacing", spacing_mm=1.25, slice_spacing_mm=1.6))
    optimizer = OptimizerConfig(learning_rate=4e-2)
    config = make_config(epochs=4, optimizer=optimizer, sampling=SamplingConfig(slices_per_case=8), augmentation=OFF)
    train_run(tmp_path / "data", tmp_path / "run", config)
    assert assert_evaluates_to_its_validation(tmp_path / "run", tmp_path / "data") > 0.1


def test_each_epoch_is_written(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(course, "draw_history", draw_history)
    steps, epochs, validated = [], [], []
    listener = Listener(steps.append, epochs.append, lambda done, total: validated.append((done, total)))
    train_run(dataset, tmp_path, make_config(), listener)
    written = metrics(tmp_path)
    assert [record["epoch"] for record in written] == [1, 2]
    for record in written:
        wanted = ("train_loss", "validation_loss", "validation_dice", "validation_iou", "learning_rate")
        assert all(math.isfinite(record[key]) for key in wanted)
        assert record["gradient_norm"] > 0
        assert list(record["dice"]) == list(LABELS.names)
    assert [(s.epoch, s.step, s.steps) for s in steps] == [(e, s, 3) for e in (1, 2) for s in (1, 2, 3)]
    assert [s.loss for s in steps[3:]] == pytest.approx([steps[3].loss, steps[4].loss, steps[5].loss])
    assert written[1]["train_loss"] == pytest.approx(sum(s.loss for s in steps[3:]) / 3)
    assert [s.dice for s in steps[:3]] == [None] * 3
    assert validated == [(1, 2), (2, 2)] * 2
    assert [record["epoch"] for record in epochs] == [1, 2]
    assert all(record["slices_per_second"] > 0 for record in epochs)
    assert epochs[0]["minutes_left"] > 0 == epochs[1]["minutes_left"]
    assert {p.name for p in tmp_path.iterdir()} == {
        "config.yaml",
        "environment.json",
        "metrics.jsonl",
        "history.png",
        "summary.html",
        "last.pt",
        "best",
    }


def test_the_norm_of_the_gradient_is_that_before_it_is_clipped(dataset, tmp_path, monkeypatch):
    found = []

    def noted(run, parts):
        loss, norm = take_step(run, parts)
        clipped = [parameter.grad for parameter in run.state.learner.parameters() if parameter.grad is not None]
        found.append((norm, math.sqrt(sum(float((one.double() ** 2).sum()) for one in clipped))))
        return loss, norm

    monkeypatch.setattr(recipe, "take_step", noted)
    outcome = train_run(dataset, tmp_path / "whole", make_config(epochs=1, optimizer=OptimizerConfig(clip_norm=None)))
    assert [norm for norm, _ in found] == pytest.approx([left for _, left in found], rel=1e-4)
    assert outcome.history[0]["gradient_norm"] == pytest.approx(sum(norm for norm, _ in found) / 3)
    found.clear()
    train_run(dataset, tmp_path / "clipped", make_config(epochs=1, optimizer=OptimizerConfig(clip_norm=1e-3)))
    assert min(norm for norm, _ in found) > 1e-2
    assert [left for _, left in found] == pytest.approx([1e-3] * 3, rel=1e-3)


def test_the_validation_loss_is_that_of_the_plain_loss(dataset):
    run = build_run(Preprocessed(dataset), make_config(batch_size=4))

    def own(logits, masks, annotated):
        return plain_loss(logits, masks, annotated, run.config.loss)

    expected = recipe.validation_loss(build_run(run.data, run.config, own), run.validation)
    assert recipe.validation_loss(run, run.validation) == pytest.approx(expected, rel=1e-5)
    run.state.network.train()
    assert recipe.validation_loss(run, run.validation) == pytest.approx(expected, rel=1e-5)


def test_validates_only_every_so_many_epochs_and_at_the_end(dataset, tmp_path):
    train_run(dataset, tmp_path, make_config(epochs=5, validate_every=2))
    assert [record["epoch"] for record in metrics(tmp_path) if "validation_dice" in record] == [2, 4, 5]
    assert all("train_loss" in record for record in metrics(tmp_path))


def test_without_validation_cases_the_last_model_is_the_best(tmp_path):
    make_dataset(tmp_path / "data", splits={"a": "train"})
    outcome = train_run(tmp_path / "data", tmp_path / "run", make_config())
    assert outcome.finished
    assert outcome.best_dice is None
    weights = load_model(tmp_path / "run").network.state_dict()
    assert same_state(dict(weights), dict(last(tmp_path / "run")["network"]))


def test_no_training_cases_is_an_error(tmp_path):
    make_dataset(tmp_path / "data", splits={"v": "validation"})
    with pytest.raises(DatasetError, match="expected cases in split 'train'"):
        train_run(tmp_path / "data", tmp_path / "run", make_config())


@pytest.mark.parametrize(("budget", "warned"), [({"epochs": 4}, False), ({"epochs": None, "steps": 3}, True)])
def test_a_budget_that_ends_before_a_curriculum_moves_on_is_warned_of(tmp_path, budget, warned):
    make_dataset(tmp_path)
    config = make_config(curriculum=CurriculumConfig(enabled=True), **budget)  # an epoch is 3 steps
    warnings = warnings_of(build_run(Preprocessed(tmp_path), config))
    assert [text.startswith("the curriculum advances when an epoch starts") for text in warnings] == [True] * warned


def test_validation_cases_without_references_still_give_a_model(tmp_path):
    make_dataset(tmp_path / "data", annotated={"v": (), "w": ()})
    outcome = train_run(tmp_path / "data", tmp_path / "run", make_config(epochs=3, early_stopping=1))
    assert outcome.history[0]["validation_dice"] is None
    assert outcome.history[0]["validation_loss"] == 0
    assert (len(outcome.history), outcome.best_dice) == (3, None)
    assert load_model(tmp_path / "run").record.provenance["epoch"] == 3  # nothing chooses, so the newest is kept


def test_a_batch_in_which_nothing_is_known_changes_no_weight(tmp_path):
    make_dataset(tmp_path, annotated={"a": (), "b": (), "c": ()})
    run, batches = steps_of(tmp_path, make_config(optimizer=OptimizerConfig(kind="sgd", weight_decay=0)), 1)
    before = [p.detach().clone() for p in run.state.network.parameters()]
    assert take_step(run, batches) == (0, 0)
    assert all(torch.equal(a, b) for a, b in zip(run.state.network.parameters(), before, strict=True))


@pytest.mark.parametrize("what", ["loss", "gradient"])
def test_what_is_not_finite_names_the_cases_and_keeps_the_state(dataset, tmp_path, what):
    def broken(logits, masks, annotated):
        return logits.mean() * math.nan if what == "loss" else (0 * logits).abs().sqrt().mean()

    train_run(dataset, tmp_path, make_config(epochs=1))
    before = (tmp_path / "last.pt").read_bytes()
    with pytest.raises(
        TrainingError, match=rf"a finite {what}, got (norm )?nan at epoch 2, step 1, cases (a|b|c).*fp32"
    ):
        train_run(dataset, tmp_path, make_config(epochs=2), loss=broken)
    assert (tmp_path / "last.pt").read_bytes() == before
    run, batches = steps_of(dataset, make_config(), 1, broken)
    weights = [p.detach().clone() for p in run.state.network.parameters()]
    names = {run.cases[d.case].name for d in draw_epoch([c.record for c in run.cases], run.config.sampling, 0, 0)[:4]}
    with pytest.raises(TrainingError, match=rf"cases {', '.join(sorted(names))};"):
        take_step(run, batches)
    assert all(torch.equal(a, b) for a, b in zip(run.state.network.parameters(), weights, strict=True))


def test_a_loss_of_ones_own(dataset, tmp_path):
    seen, plainly = [], LossConfig(emphasis_power=0)

    def own(logits, masks, annotated):
        assert logits.dtype == torch.float32
        assert logits.shape == masks.shape
        seen.append(annotated.shape)
        return plain_loss(logits, masks, annotated, plainly)

    config = make_config(epochs=1, loss=plainly)
    ours = train_run(dataset, tmp_path / "own", config, loss=own)
    built_in = train_run(dataset, tmp_path / "built_in", config)
    assert seen[0] == (4, 3)
    assert ours.history[0]["train_loss"] == pytest.approx(built_in.history[0]["train_loss"], rel=1e-4)
    assert ours.history[0]["validation_loss"] == pytest.approx(built_in.history[0]["validation_loss"], rel=1e-2)
    doubled = train_run(dataset, tmp_path / "doubled", config, loss=lambda a, b, c: 2 * own(a, b, c))
    assert doubled.history[0]["train_loss"] > 1.5 * ours.history[0]["train_loss"]
    assert doubled.history[0]["validation_loss"] > 1.5 * ours.history[0]["validation_loss"]


def test_runs_in_bf16(dataset, tmp_path):
    outcome = train_run(dataset, tmp_path, make_config(precision="bf16", epochs=4))
    assert outcome.history[-1]["train_loss"] < outcome.history[0]["train_loss"]
    assert all(p.dtype == torch.float32 for p in load_model(tmp_path).network.parameters())
    assert json.loads((tmp_path / "environment.json").read_text(encoding="utf-8"))["precision"] == "bfloat16"


def test_minutes_hold_steps_and_validations(dataset, tmp_path, monkeypatch):
    # A step takes 6 s and scoring a case 9 s: 0.3 minutes for 3 steps, then 0.3 for a validation. Of 2 minutes, three
    # epochs use 1.8, and the 0.2 that are left are too few for another validation.
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(budget_module, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def passes(seconds):
        clock.now += seconds

    listener = Listener(on_step=lambda step: passes(6), on_validated=lambda done, total: passes(9))
    config = make_config(epochs=100, minutes=2.0)
    outcome = train_run(dataset, tmp_path, config, listener)
    assert outcome.finished
    assert [record["minutes"] for record in outcome.history] == pytest.approx([0.6, 1.2, 1.8])
    # the time of a step is seen after the next one: 12 slices in 2 of the 3
    assert [record["slices_per_second"] for record in outcome.history] == pytest.approx([1, 1, 1])
    # of the 1.7 minutes before the last validation
    assert [record["minutes_left"] for record in outcome.history] == pytest.approx([1.1, 0.5, 0])
    assert "validation_dice" in outcome.history[-1]
    assert outcome.history[-1]["learning_rate"] < outcome.history[0]["learning_rate"]
    more = train_run(dataset, tmp_path, make_config(epochs=100, minutes=2.5), listener)
    assert [record["minutes"] for record in more.history] == pytest.approx([0.6, 1.2, 1.8, 2.4])


def test_progress_counts_epochs_steps_and_minutes(dataset):
    run = build_run(Preprocessed(dataset), make_config(epochs=4, minutes=10.0))
    assert (run.budget.steps_per_epoch, run.progress) == (3, pytest.approx(0, abs=0.05))
    run.state.epoch, run.state.step = 1, 1
    assert run.progress == pytest.approx((1 + 1 / 3) / 4)
    run.state.minutes, run.state.validation_minutes = 6.0, 2.0
    assert run.progress == pytest.approx(6 / 8)
    run.state.validation_minutes = 20.0
    assert run.progress == 1


def test_a_case_of_one_slice_and_one_smaller_than_the_patch(tmp_path):
    data = make_dataset(tmp_path / "data", splits={"a": "train"})
    config = make_config(epochs=1, sampling=SamplingConfig(slices_per_case=3, patch_size=(31, 17)))
    run = build_run(data, config)
    assert run.size == (32, 18)
    assert train(data, config, RunFolder(tmp_path / "run", config)).finished


KILLED = """
    import sys
    from pathlib import Path
    import torch
    from tests.training.tiny import make_config
    from tomoseg.training.listener import Listener
    from tomoseg.workflows.train import train_run

    torch.set_num_threads(1)
    say = lambda step: print(step.epoch, step.step, flush=True)
    train_run(Path(sys.argv[1]), Path(sys.argv[2]), make_config(epochs=1000), Listener(on_step=say))
"""


def test_a_killed_run_resumes(dataset, tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(dataset), str(tmp_path / "run")]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root, env={**os.environ}) as process:
        for line in process.stdout:
            if line.split() == ["2", "2"]:
                break
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    finished = metrics(tmp_path / "run")
    assert 1 <= len(finished) < 1000
    constant = make_config(epochs=len(finished) + 1)
    outcome = train_run(dataset, tmp_path / "run", constant)
    assert outcome.finished
    assert metrics(tmp_path / "run")[:-1] == finished
