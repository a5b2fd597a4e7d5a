"""Trainings that clients start, as 3D Slicer and OHIF send the requests: one at a time, a model at the end."""

import json
import time

import numpy as np
import pytest

from tests.server.conftest import write_scan
from tests.server.running import ended, send, started
from tests.server.test_monai import drawn, save_label
from tests.training.tiny import SHAPE, make_scan
from tomoseg.errors import DatasetError
from tomoseg.files.nifti import write_nifti
from tomoseg.server.database import Database
from tomoseg.server.trainer import Learning
from tomoseg.server.training import Task, check_learnable
from tomoseg.volume import SourceGrid


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """Three labelled scans, one folder a case."""
    root = tmp_path_factory.mktemp("labelled")
    grid = SourceGrid(SHAPE, np.eye(4))
    for seed in range(10, 13):
        hu, masks = make_scan(seed)
        write_nifti(root / f"s{seed}" / "ct.nii.gz", hu, grid)
        for name, mask in zip(("ball", "cube"), masks, strict=False):
            write_nifti(root / f"s{seed}" / "segmentations" / f"{name}.nii.gz", mask, grid)
    return root


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """So that seconds are enough."""
    path = tmp_path_factory.mktemp("settings") / "train.yaml"
    path.write_text(
        "steps: 4\nbatch_size: 2\nworkers: 0\nexport: false\nprecision: fp32\nsampling: {slices_per_case: 4}\n"
    )
    return path


def training(server):
    """The status once it is no more as it was."""
    until = time.monotonic() + 250
    while time.monotonic() < until:
        found = server.get("/train/").json()
        if found["status"] != "RUNNING":
            return found
        time.sleep(0.1)
    raise AssertionError(found)


def submit(server, folder):
    scan = write_scan(folder / "ct.nii.gz", 0).read_bytes()
    server.put("/datastore/?image=DOE", files={"params": (None, "{}"), "file": ("DOE.nii.gz", scan)})
    assert save_label(server, "DOE", drawn(folder, 1), {"ball": 1}).status_code == 200


def test_a_training_learns_from_labels_that_came_back_and_its_model_is_offered_beside_the_old(
    tmp_path, model, dataset, settings
):
    folder, learning = tmp_path / "server", Learning((dataset,), 1.0, settings, "cpu")
    with started(folder, [model], learning=learning) as server:
        submit(server, tmp_path)
        info = server.get("/info/").json()
        assert list(info["trainers"]) == ["hu"]  # Slicer shows its box of training, and sends the values back
        assert info["trainers"]["hu"]["config"] == {"minutes": 1.0}
        assert info["train_stats"] == {}
        assert server.get("/train/?check_if_running=true").status_code == 404
        begun = server.post("/train/hu", json={"minutes": "0.5", "client_id": "user-xyz"}).json()
        assert begun["status"] == "RUNNING"
        assert {"id", "start_ts", "details"} <= set(begun)
        assert server.get("/train/?check_if_running=true").json()["id"] == begun["id"]
        assert server.post("/train/", json={}).status_code == 429  # one at a time
        done = training(server)
        assert (done["status"], done.get("result")) == ("DONE", {"model": "hu-2"}), done
        assert "preprocessed: 4 cases of 2 structures" in done["details"]
        assert server.get("/train/?all=true").json() == [done]
        assert server.get("/info/").json()["train_stats"]["hu"]["epoch"] == 100
        assert set(server.get("/info/").json()["models"]) == {"hu", "hu-2"}
        upload = send(server, ("ct.nii.gz", write_scan(tmp_path / "other.nii.gz", 3).read_bytes()))
        job = server.post("/api/v1/jobs", json={"uploads": [upload], "model": "hu-2"}).json()
        assert ended(server, job["id"])["state"] == "done"
        found = server.get(f"/api/v1/jobs/{job['id']}/result").json()
        assert [one["name"] for one in found["structures"]] == ["ball", "cube"]
    assert not (folder / "training").exists()
    assert str(tmp_path) not in json.dumps(done)
    assert "DOE" not in json.dumps(done)


def test_a_training_that_is_stopped_leaves_nothing_and_another_can_start(tmp_path, model, dataset):
    folder = tmp_path / "server"
    with started(folder, [model], workers=0, learning=Learning((dataset,), 5.0)) as server:
        assert server.delete("/train/").json() is None  # Slicer stops before it starts
        begun = server.post("/train/", json={"hu": {"minutes": 4}}).json()["hu"]["result"]  # as OHIF sends it
        stopped = server.delete("/train/").json()
        assert (stopped["id"], stopped["status"], stopped["details"][-1]) == (begun["id"], "STOPPED", "stopped")
        assert server.get("/train/?check_if_running=true").status_code == 404
        assert not (folder / "training").exists()
        assert server.post("/train/hu", json={}).json()["status"] == "RUNNING"
    with started(folder, [model], workers=0, learning=Learning((), 5.0)) as server:
        assert server.get("/train/").json()["status"] == "STOPPED"  # by the server's end
        assert server.post("/train/hu").status_code == 409  # no label was submitted


def test_of_a_server_that_was_killed_it_is_said_that_the_training_did_not_end(tmp_path, model):
    database = Database(tmp_path)
    begun = {"model": "hu", "id": "x", "status": "RUNNING", "started": "2026-01-01 00:00:00", "ended": None}
    more = {"lines": ["preprocessing"], "share": 0.1, "dice": None, "result": None}
    database.set_fact("training", json.dumps(begun | more))
    database.close()
    with started(tmp_path, [model], workers=0, learning=Learning(())) as server:
        found = server.get("/train/").json()
        assert (found["status"], found["details"]) == (
            "ERROR",
            ["preprocessing", "the server was stopped during training; start the training again"],
        )


def test_what_cannot_be_trained_is_refused(tmp_path, model, dataset):
    with started(tmp_path / "one", [model], workers=0) as server:
        assert server.get("/info/").json()["trainers"] == {}  # Slicer hides its box
        refused = server.post("/train/hu", json={})
        assert (refused.status_code, refused.json()["detail"]) == (
            403,
            "expected a server that trains, got one that does not; start it with --train-on",
        )
    with started(tmp_path / "two", [model], workers=0, learning=Learning((dataset,))) as server:
        assert server.post("/train/none", json={}).status_code == 404
        for minutes in ("long", -1, "nan"):
            assert "minutes: expected" in server.post("/train/hu", json={"minutes": minutes}).json()["detail"]
        assert server.post("/train/hu", content=b"[", headers={"content-type": "application/json"}).status_code == 422
    with pytest.raises(DatasetError, match="expected a dataset folder"):
        check_learnable((tmp_path / "none",))
    for number in range(2):
        write_nifti(tmp_path / "flat" / f"{number}.nii.gz", make_scan(0)[0], SourceGrid(SHAPE, np.eye(4)))
        write_nifti(tmp_path / "flat" / f"{number}_labels.nii.gz", make_scan(0)[1][0], SourceGrid(SHAPE, np.eye(4)))
    (tmp_path / "flat" / "labels.json").write_text('{"1": "ball"}')
    with pytest.raises(DatasetError, match=r"expected one folder per case, .* got the layout 'flat'"):
        check_learnable((tmp_path / "flat",))


def test_damaged_labels_end_a_training_with_the_reason(tmp_path, model, dataset):
    broken = tmp_path / "broken"
    (broken / "s1" / "segmentations").mkdir(parents=True)
    (broken / "s1" / "ct.nii.gz").write_bytes(b"no scan")
    (broken / "s1" / "segmentations" / "ball.nii.gz").write_bytes(b"no mask")
    with started(tmp_path / "server", [model], workers=0, learning=Learning((broken,))) as server:
        server.post("/train/hu", json={})
        found = training(server)
        assert found["status"] == "ERROR"
        assert "expected at least one usable case, got none" in found["details"][-1]
        assert str(tmp_path) not in json.dumps(found)


def test_a_task_comes_through_the_command_line_whole():
    task = Task("/models/hu", ("/a", "/b"), "/work", 1.5, "/train.yaml")
    assert Task.from_json(task.to_json()) == task
