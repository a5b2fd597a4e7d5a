"""The course of a run for others, in their own packages and without a network."""

import importlib.util
import json
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.training.tiny import LABELS, make_config, make_dataset
from tomoseg.config import CurriculumConfig
from tomoseg.errors import ConfigError
from tomoseg.training import recorders
from tomoseg.training.listener import Listener
from tomoseg.workflows.train import train_run

STEPS = [1, 2, 3, 4, 5, 6]
"""Of two epochs of three."""


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    make_dataset(folder)
    return folder


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Without settings of whoever runs the tests, and with no other machine to speak to."""
    for name in ("WANDB_MODE", "WANDB_PROJECT", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    connect = socket.socket.connect

    def to_itself(self, address):
        assert isinstance(address, str) or address[0] in {"127.0.0.1", "::1", "localhost"}, f"asked for {address}"
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", to_itself)


def train(dataset, run, config):
    """A run in which no recorder fails."""
    warned = []
    outcome = train_run(dataset, run, config, Listener(on_warning=warned.append))
    assert not [line for line in warned if "has failed" in line]
    return outcome


def test_tensorboard_has_the_course_of_the_run(dataset, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    curriculum = CurriculumConfig(enabled=True, start_share=0.5)
    config = make_config(tensorboard=True, curriculum=curriculum, pictures=("cube",))
    outcome = train(dataset, tmp_path, config)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    dice = [event.value for event in events.Scalars("validation/dice")]
    assert dice == pytest.approx([record["validation_dice"] for record in outcome.history])
    assert [event.step for event in events.Scalars("train/loss")] == STEPS
    assert [event.value for event in events.Scalars("train/curriculum_share")] == [0.5, 1]
    assert {f"dice/{name}" for name in LABELS.names} <= set(events.Tags()["scalars"])
    assert events.Tags()["images"] == ["pictures/cube"]


def _wandb_records(run):
    """What W&B keeps, read by its own schema from its log of records (that of LevelDB: blocks of 32 KiB)."""
    schema = importlib.import_module("wandb.proto.wandb_internal_pb2")
    for file in sorted(Path(run).glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime):
        data, at, whole = file.read_bytes(), 7, b""
        while at + 7 <= len(data):
            if 32768 - at % 32768 < 7:
                at += 32768 - at % 32768
                continue
            length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
            whole += data[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in {1, 4}:  # whole, or the last part
                record = schema.Record()
                record.ParseFromString(whole)
                whole = b""
                yield file, record


def _history(records):
    rows = [one.history.item for _, one in records if one.WhichOneof("record_type") == "history"]
    return [{(item.key or "/".join(item.nested_key)): json.loads(item.value_json) for item in row} for row in rows]


def test_weights_and_biases_has_it_without_a_network_and_goes_on_in_the_same_run(dataset, tmp_path):
    pytest.importorskip("wandb")
    config = make_config(wandb=True, pictures=("cube",), epochs=1)
    first = train(dataset, tmp_path, config)
    outcome = train(dataset, tmp_path, config.model_copy(update={"epochs": 2}))
    records = list(_wandb_records(tmp_path))
    runs = [one.run for _, one in records if one.WhichOneof("record_type") == "run"]
    assert len({file for file, _ in records}) == 2
    assert {(one.run_id, one.display_name, one.project) for one in runs} == {
        ((tmp_path / "wandb" / "run-id").read_text(), tmp_path.name, "tomoseg")
    }
    said = {item.key: json.loads(item.value_json) for item in runs[0].config.update}
    assert (said["batch_size"], said["network"]["channels"]) == (4, [8, 16])
    rows = _history(records)
    assert [row["step"] for row in rows if "train/loss" in row] == STEPS
    dice = [row["validation/dice"] for row in rows if "validation/dice" in row]
    assert dice == pytest.approx([record["validation_dice"] for record in outcome.history])
    assert dice[:1] == pytest.approx([record["validation_dice"] for record in first.history])
    assert [row["epoch"] for row in rows if "dice/cube" in row] == [1, 2]
    assert any(name.startswith("pictures/cube") for row in rows for name in row)
    assert list(tmp_path.glob("wandb/offline-run-*/files/media/images/pictures/*.png"))
    kept = {path.name for path in tmp_path.glob("wandb/offline-run-*/files/**/*") if path.is_file()}
    assert not kept & {"wandb-metadata.json", "output.log"}  # the machine, the command and what was printed


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # MLflow's own
def test_mlflow_has_it_in_the_run_folder_and_goes_on_in_the_same_run(dataset, tmp_path):
    tracking = pytest.importorskip("mlflow.tracking")
    config = make_config(mlflow=True, pictures=("cube",), epochs=1)
    train(dataset, tmp_path, config)
    outcome = train(dataset, tmp_path, config.model_copy(update={"epochs": 2}))
    client = tracking.MlflowClient(f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("tomoseg")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == (tmp_path.name, "FINISHED")
    assert (run.data.params["batch_size"], run.data.params["network.channels"]) == ("4", "[8, 16]")
    loss = client.get_metric_history(run.info.run_id, "train/loss")
    assert sorted(one.step for one in loss) == STEPS
    dice = {one.step: one.value for one in client.get_metric_history(run.info.run_id, "validation/dice")}
    assert dice == pytest.approx({record["epoch"]: record["validation_dice"] for record in outcome.history})
    assert {f"dice/{name}" for name in LABELS.names} <= run.data.metrics.keys()
    kept = {path.relative_to(tmp_path / "mlflow" / "artifacts") for path in tmp_path.rglob("artifacts/**/*.*")}
    assert {path.name for path in kept} >= {"config.yaml", "0001.png"}


@pytest.mark.parametrize(
    ("module", "setting", "words"),
    [
        ("tensorboard", "tensorboard", "expected TensorBoard, found none"),
        ("wandb", "wandb", "expected Weights & Biases, found none"),
        ("mlflow", "mlflow", "expected MLflow, found none"),
    ],
)
def test_what_is_missing_is_told(dataset, tmp_path, monkeypatch, module, setting, words):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == module else find(name))
    with pytest.raises(ConfigError, match=rf'{words}; run: pip install "tomoseg\[{setting}\]"'):
        train_run(dataset, tmp_path, make_config(**{setting: True}))


class _Failing:
    """A recorder that fails at one of its steps."""

    def __init__(self, at):
        self.at, self.seen = at, []

    def __call__(self, run, config):
        self._do("begin")
        return self

    def _do(self, what):
        self.seen.append(what)
        if what == self.at:
            raise RuntimeError("the disk of that server is full")

    def numbers(self, values, at, per):
        self._do(per)

    def picture(self, name, file, epoch):
        self._do("picture")

    def close(self, *, failed):
        self._do("close")


@pytest.mark.parametrize("at", ["begin", "step", "epoch", "close"])
def test_a_recorder_that_fails_is_told_of_once_and_ends_no_training(dataset, tmp_path, monkeypatch, at):
    recorder = _Failing(at)
    monkeypatch.setattr(recorders, "import_module", lambda name: SimpleNamespace(TensorBoardRecorder=recorder))
    warned = []
    outcome = train_run(dataset, tmp_path, make_config(tensorboard=True), Listener(on_warning=warned.append))
    assert (outcome.finished, len(outcome.history)) == (True, 2)
    assert [line for line in warned if "TensorBoard" in line] == [
        "TensorBoard has failed, and training goes on without it: RuntimeError: the disk of that server is full"
    ]
    assert recorder.seen[-1] == at


def test_a_server_of_mlflow_that_is_away_ends_no_training(dataset, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    warned = []
    config = make_config(mlflow=True, epochs=1)
    assert train_run(dataset, tmp_path, config, Listener(on_warning=warned.append)).finished
    assert sum("MLflow has failed, and training goes on without it" in line for line in warned) == 1
