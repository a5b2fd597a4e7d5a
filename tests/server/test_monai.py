"""What 3D Slicer, MITK and OHIF send, request by request, and MONAI Label's own client where it is installed.

CI installs it without its dependencies, of which it takes `requests` alone; Python 3.13 has not what it imports.
"""

import gc
import importlib.util
import json
import re
import sys
import tempfile
import warnings
from pathlib import Path

import nrrd
import numpy as np
import pytest
import SimpleITK

from tests.server.conftest import write_scan, zipped
from tests.server.running import started
from tests.training.tiny import NATIVE
from tomoseg.config import PreprocessConfig
from tomoseg.datasets.corrections import latest
from tomoseg.files.nifti import read_ct
from tomoseg.inference.segment import segment
from tomoseg.options import Request
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.workflows.preprocess import preprocess


def parts_of(answer):
    """The parts as MITK and Slicer find them: by order and these header texts."""
    boundary = re.fullmatch(r"multipart/form-data; boundary=(\S+)", answer.headers["content-type"])[1]
    _, params, image, end = answer.content.split(f"--{boundary}".encode())
    assert end == b"--\r\n"
    head, body = params.split(b"\r\n\r\n", 1)
    assert head.split(b"\r\n")[1:] == [
        b'Content-Disposition: form-data; name="params"',
        b"Content-Type: application/json",
    ]
    image_head, data = image.split(b"\r\n\r\n", 1)
    name = re.search(rb'name="image"; filename="([^"]+)"\r\nContent-Type: application/octet-stream', image_head)[1]
    return json.loads(body), name.decode(), data[:-2]


def expected(scan, model):
    return segment(read_ct(scan), model, Request(ml=True)).result


@pytest.fixture(scope="module")
def session(server, scan):
    answer = server.put("/session/", files={"files": ("/home/user/DOE JANE.nii.gz", scan.read_bytes())})
    return answer.json()["session_id"]


def test_info_has_what_each_client_needs(server):
    info = server.get("/info/").json()
    assert isinstance(info["labels"], list)  # OHIF pushes into it
    assert "config" not in info  # Slicer would ask for a newer server
    assert (info["trainers"], list(info["strategies"])) == ({}, ["triage"])
    model = info["models"]["hu"]
    assert (model["type"], model["dimension"], model["labels"]) == ("segmentation", 3, ["ball", "cube", "both"])
    assert {"name", "description", "version", "datastore"} <= set(info)


def test_slicer_sends_an_image_and_gets_names_and_a_label_map(server, session, scan, model):
    assert server.get("/auth/").json() == {"enabled": False}
    assert server.get(f"/session/{session}").json()["session_id"] == session
    params = json.dumps({"result_extension": ".nrrd", "result_dtype": "uint8", "client_id": "user-xyz"})
    url = f"/infer/hu?image=none&session_id={session}&output=all"
    answer = server.post(url, files={"params": (None, params)})
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert not {"transfer-encoding", "content-encoding"} & set(answer.headers)
    said, name, data = parts_of(answer)
    assert said["label_names"] == {"ball": 1, "cube": 2, "both": 3}  # all of them, from 1 without gaps
    assert name == "image.nrrd"
    with tempfile.NamedTemporaryFile(suffix=name) as file:
        Path(file.name).write_bytes(data)
        values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(file.name)).T
    found = expected(scan, model)
    assert values.dtype == np.uint8
    for number, one in enumerate(("ball", "cube", "both"), start=1):
        np.testing.assert_array_equal(values == number, found.mask(one))


def test_mitk_gets_a_nifti(server, scan, model):
    files = {"params": (None, '{"restore_label_idx": true}'), "file": ("post_from_mitk.nii.gz", scan.read_bytes())}
    said, name, data = parts_of(server.post("/infer/hu?image=post_from_mitk", files=files))
    assert (name, said["label_names"]["cube"]) == ("image.nii.gz", 2)
    with tempfile.NamedTemporaryFile(suffix=name) as file:
        Path(file.name).write_bytes(data)
        image = SimpleITK.ReadImage(file.name)
    values = SimpleITK.GetArrayFromImage(image)
    np.testing.assert_array_equal(values.T == 2, expected(scan, model).mask("cube"))
    assert image.GetSize() == (24, 22, 8)


def test_ohif_gets_the_bare_bytes_of_an_nrrd(server, session, scan, model):
    params = {
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
        "result_compress": False,
        "restore_label_idx": False,
    }
    answer = server.post(
        f"/infer/hu?image={session}&output=image",
        files={"params": (None, json.dumps(params))},
        headers={"accept": "*/*"},
    )
    assert answer.content.startswith(b"NRRD")
    header, body = answer.content.split(b"\n\n", 1)
    assert b"encoding: raw" in header
    assert len(body) == 24 * 22 * 8
    with tempfile.NamedTemporaryFile(suffix=".nrrd") as file:
        Path(file.name).write_bytes(answer.content)
        values, _ = nrrd.read(file.name)
    np.testing.assert_array_equal(values == 2, expected(scan, model).mask("cube"))


def test_ohif_is_told_that_no_pacs_is_behind_the_server_until_a_series_was_sent_under_its_identifier(server, slices):
    files, uid = {"params": (None, "{}")}, "1.2.3.11"
    refused = server.post(f"/infer/hu?image={uid}&output=image", files=files)
    assert (refused.status_code, "send the image first" in refused.json()["detail"]) == (404, True)
    assert uid not in refused.json()["detail"]
    none = server.get("/proxy/dicom/qido/studies?limit=1")
    assert (none.status_code, "start it with --dicomweb URL" in none.json()["detail"]) == (501, True)
    sent = {**files, "file": ("series.zip", zipped(slices / "one"))}
    assert server.put(f"/datastore/?image={uid}", files=sent).status_code == 200
    params = json.dumps({"result_extension": ".nrrd", "result_compress": False})
    answer = server.post(f"/infer/hu?image={uid}&output=image", files={"params": (None, params)})
    assert answer.content.startswith(b"NRRD")


def test_ohif_gets_two_bytes_a_voxel_where_it_asks_for_them(server, session, scan, model):
    for kind, read in ((".nrrd", lambda path: nrrd.read(path)[0]), (".nii.gz", read_nifti)):
        params = {"result_extension": kind, "result_dtype": "uint16", "result_compress": False}
        files = {"params": (None, json.dumps(params))}
        answer = server.post(f"/infer/hu?image={session}&output=all", files=files)
        said, name, data = parts_of(answer)
        assert said["centroids"]["cube"][0] == 2
        with tempfile.NamedTemporaryFile(suffix=name) as file:
            Path(file.name).write_bytes(data)
            values = read(file.name)
        assert values.dtype == np.uint16
        np.testing.assert_array_equal(values == 2, expected(scan, model).mask("cube"))


def read_nifti(path):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path)).T


def test_overlaps_come_as_a_dicom_segmentation(server, session):
    answer = server.post(f"/infer/hu?image={session}&output=dicom_seg", files={"params": (None, "{}")})
    assert answer.content[128:132] == b"DICM"


def test_a_scan_that_fails_is_said_and_an_unknown_model_too(server):
    files = {"params": (None, "{}"), "file": ("x.nii.gz", b"no scan")}
    answer = server.post("/infer/hu?image=x", files=files)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("expected")
    assert server.post("/infer/nothing?image=x", files=files).status_code == 404
    assert server.get("/session/none").status_code == 404


def test_images_are_kept_corrected_and_offered_by_what_the_model_is_least_sure_of(tmp_path, model):
    with started(tmp_path / "server", [model], workers=0) as server:
        assert server.post("/activelearning/triage", json={"client_id": "x"}).json() == {}
        scans = [write_scan(tmp_path / f"{seed}.nii.gz", seed).read_bytes() for seed in range(2)]
        for name, data in zip(("DOE^JANE", "ROE"), scans, strict=True):
            added = server.put(f"/datastore/?image={name}", files={"params": (None, "{}"), "file": ("a.nii.gz", data)})
            assert added.json() == {"image": name}
        sample = server.post("/activelearning/triage", json={"client_id": "x"}).json()
        assert server.get(f"/datastore/image?image={sample['id']}").content == scans[0]
        assert sample["checksum"].startswith("SHA256:")
        for value in (1, 2):
            label = drawn(tmp_path, value)
            kept = save_label(server, sample["id"], label, {"ball": value})
            assert kept.json() == {"image": sample["id"], "label": sample["id"], "structures": ["ball"]}
        got = server.get(f"/datastore/label?label={sample['id']}&tag=final")
        assert (got.content, "filename=" in got.headers["content-disposition"]) == (label, True)
        assert server.head(f"/datastore/label?label={sample['id']}&tag=final").status_code == 200
        assert server.get("/datastore/").json() == {"total": 2, "completed": 1, "label_tags": {"final": 1}}
        listed = server.get("/datastore/?output=all").json()["objects"]
        assert listed[sample["id"]]["labels"]["final"]["info"]["params"]["label_names"] == {"ball": 2}
        assert server.post("/activelearning/triage", json={}).json()["id"] != sample["id"]
        assert server.get("/train/?check_if_running=true").status_code == 404
    assert b"DOE" not in b"".join(path.read_bytes() for path in (tmp_path / "server").glob("jobs.sqlite3*"))


def drawn(folder, value, shape=(24, 22, 8)):
    """A label map as Slicer saves it, in LPS, with a box of a value; returns the bytes of an NRRD."""
    values = np.zeros(shape, np.uint8)
    values[3:9, 4:8, 2:5] = value
    image = SimpleITK.GetImageFromArray(values.T)
    image.SetDirection([-1, 0, 0, 0, -1, 0, 0, 0, 1])  # of the scan: RAS+ in NIfTI, without a turn
    SimpleITK.WriteImage(image, str(folder / "drawn.nrrd"), True)
    return (folder / "drawn.nrrd").read_bytes()


def save_label(server, image, label, names, **params):
    """What Slicer sends when a label is submitted."""
    info = [{"name": name, "idx": value} for name, value in names.items()]
    files = {
        "params": (None, json.dumps({"label_info": info, "client_id": "user-xyz", **params})),
        "label": ("label_sample.nrrd", label),
    }
    return server.put(f"/datastore/label?image={image}&tag=final", files=files)


def test_labels_that_slicer_saves_are_corrections_as_those_of_the_viewer(tmp_path, model):
    folder = tmp_path / "server"
    with started(folder, [model], workers=0) as server:
        scan = write_scan(tmp_path / "0.nii.gz", 0).read_bytes()
        server.put("/datastore/?image=DOE", files={"params": (None, "{}"), "file": ("DOE.nii.gz", scan)})
        first = save_label(server, "DOE", drawn(tmp_path, 1), {"ball": 1, "cube": 2}).json()
        assert (first["image"], first["structures"]) == ("DOE", ["ball", "cube"])
        case = first["label"]
        assert save_label(server, "DOE", drawn(tmp_path, 2), {"ball": 1, "cube": 2}).status_code == 200
        refused = {
            "expected the grid of the image, got 24 x 22 x 7 voxels": (drawn(tmp_path, 1, (24, 22, 7)), {"ball": 1}),
            "expected a name for each value of the label map, got none for 2": (drawn(tmp_path, 2), {"ball": 1}),
            "the label map: expected": (b"no NRRD", {"ball": 1}),
            "label_info: expected": (drawn(tmp_path, 1), {"../../ball": 1}),
        }
        for words, (label, names) in refused.items():
            answer = save_label(server, "DOE", label, names)
            assert answer.status_code == 422
            assert words in answer.json()["detail"]
            assert str(tmp_path) not in answer.json()["detail"]
    versions = sorted(path.relative_to(folder / "corrections" / case) for path in folder.rglob("correction.json"))
    assert [path.parts[0] for path in versions] == ["0001", "0002", "0003", "0004"]
    found = latest(folder / "corrections" / case)
    assert {name: (one.version, one.who) for name, one in found.items()} == {
        "ball": (3, "user-xyz"),
        "cube": (4, "user-xyz"),
    }
    settings = PreprocessConfig(grid=NATIVE, validation_share=0, workers=1)
    report = preprocess(folder / "corrected", tmp_path / "out", settings, corrections=folder / "corrections")
    assert (report.failed, report.left_out, report.labels.names) == ({}, (), ("ball", "cube"))
    (learned,) = Preprocessed(tmp_path / "out").cases
    masks = np.unpackbits(learned.masks(), axis=0, count=2, bitorder="little") > 0
    box = np.zeros((24, 22, 8), bool)
    box[3:9, 4:8, 2:5] = True
    np.testing.assert_array_equal(masks, [np.zeros_like(box), box])  # the last version has no ball any more
    assert not any("DOE" in str(path) for path in folder.rglob("*"))


def test_a_login_takes_the_token_for_a_password(tmp_path, model):
    from tomoseg.server.database import Database
    from tomoseg.server.guard import make_token

    token = make_token(Database(tmp_path))
    with started(tmp_path, [model], workers=0, asks_for_token=True, only_loopback=False) as server:
        assert server.get("/auth/").json() == {"enabled": True}
        assert server.get("/info/").status_code == server.get("/auth/token/valid").status_code == 401
        form = {"username": "anybody", "password": "wrong", "grant_type": "password"}
        assert server.post("/auth/token", data=form).status_code == 401
        got = server.post("/auth/token", data=form | {"password": token}).json()
        headers = {"authorization": f"{got['token_type']} {got['access_token']}"}
        assert server.get("/auth/token/valid", headers=headers).status_code == 200
        assert server.get("/info/", headers=headers).json()["name"] == "tomoseg"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_the_client_of_monai_label_works_unchanged(server, scan):
    if importlib.util.find_spec("monailabel") is None or sys.version_info >= (3, 13):
        pytest.skip("needs monailabel==0.8.5, installed without its dependencies, and Python below 3.13")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from monailabel.client import MONAILabelClient
    client = MONAILabelClient(server_url=str(server.base_url), tmpdir=tempfile.mkdtemp())
    assert client.info()["models"]["hu"]["type"] == "segmentation"
    session = client.create_session(str(scan))["session_id"]
    assert client.get_session(session)["session_id"] == session
    params = {"result_extension": ".nrrd", "result_dtype": "uint8"}
    image, said = client.infer(model="hu", image_id="", params=params, session_id=session)
    assert said["label_names"] == {"ball": 1, "cube": 2, "both": 3}
    values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(image))
    assert set(np.unique(values)) == {0, 2}
    sent = client.upload_image(str(scan), "DOE^JOHN")
    assert sent["image"] == "DOE^JOHN"
    assert (
        client.save_label("DOE^JOHN", image, params={"label_info": [{"name": "cube", "idx": 2}]})["image"] == "DOE^JOHN"
    )
    assert client.next_sample("triage", {})["id"]
    assert any(one["labels"] for one in client.datastore()["objects"].values())
    assert client.download_label("DOE^JOHN", "final").endswith(".nrrd")
    assert client.train_status(check_if_running=True) is False
    assert client.train_stop() is None
    with pytest.raises(Exception, match="start it with --train-on"):
        client.train_start("hu", {})
    del client
    gc.collect()  # it leaves its sockets open
