"""What MONAI Label's reviewer sends, request by request: the list of images, a verdict, another version, a removal."""

import json

import pytest

from tests.server.conftest import write_scan
from tests.server.running import started
from tests.server.test_monai import drawn, save_label
from tomoseg.datasets.corrections import latest
from tomoseg.server.label_store import names_in


@pytest.fixture
def server(tmp_path, model):
    with started(tmp_path / "server", [model], workers=0) as server:
        scan = write_scan(tmp_path / "0.nii.gz", 0).read_bytes()
        server.put("/datastore/?image=DOE", files={"params": (None, "{}"), "file": ("DOE.nii.gz", scan)})
        yield server


def submit(server, tag, label, names):
    """As the reviewer sends it: the parameters as a field of the form, the label as a file."""
    info = {"label_info": [{"name": name, "idx": value} for name, value in names.items()], "client_id": "reviewer"}
    files = {"label": ("DOE.nrrd", label)}
    return server.put(f"/datastore/label?image=DOE&tag={tag}", data={"params": json.dumps(info)}, files=files)


def test_a_review_from_list_to_verdict(server, tmp_path):
    case = save_label(server, "DOE", drawn(tmp_path, 1), {"ball": 1}).json()["label"]
    assert submit(server, "version_1", drawn(tmp_path, 2), {"ball": 2}).status_code == 200
    found = server.get("/datastore/?output=all").json()["objects"][case]
    assert {"ts", "checksum", "name"} <= set(found["image"]["info"])
    assert set(found["labels"]) == {"final", "version_1"}
    final = found["labels"]["final"]["info"]
    assert (final["client_id"], final["label_info"]) == ("user-xyz", [{"name": "ball", "idx": 1}])
    verdict = {"status": "approved", "level": "hard", "approvedBy": "A", "comment": "good", "editTime": "today"}
    said = {"params": json.dumps({"segmentationMeta": verdict})}
    assert server.put("/datastore/updatelabelinfo?label=DOE&tag=version_1", data=said).status_code == 200
    info = server.get(f"/datastore/label/info?label={case}&tag=version_1").json()
    assert (info["segmentationMeta"], info["params"]) == (verdict, {"label_names": {"ball": 2}})
    assert server.get("/datastore/image/info?image=DOE").json() == found["image"]["info"]
    assert server.get("/datastore/").json() == {
        "total": 1,
        "completed": 1,
        "label_tags": {"final": 1, "version_1": 1},
    }
    assert server.delete("/datastore/label?id=DOE&tag=version_1").json() == {}
    assert server.get("/datastore/label?label=DOE&tag=version_1").status_code == 404
    assert server.get("/datastore/label?label=DOE&tag=final").status_code == 200
    assert latest(tmp_path / "server" / "corrections" / case)["ball"].version == 2  # corrections stay
    assert len(list((tmp_path / "server" / "uploads").iterdir())) == 2


def test_what_is_no_object_is_refused(server, tmp_path):
    save_label(server, "DOE", drawn(tmp_path, 1), {"ball": 1})
    for said in ("", "[1]", "{", '{"a": "' + "x" * 100_001 + '"}'):
        refused = server.put("/datastore/updatelabelinfo?label=DOE&tag=final", data={"params": said})
        assert refused.status_code in {400, 422}, said
        detail = refused.json()["detail"]
        assert detail.startswith("expected") or "params: expected" in detail, said


def test_what_was_never_kept_is_not_there(server):
    for method, path in (
        ("GET", "/datastore/label/info?label=DOE&tag=final"),
        ("DELETE", "/datastore/label?id=DOE&tag=final"),
        ("GET", "/datastore/image/info?image=ROE"),
    ):
        assert server.request(method, path).status_code == 404
    assert server.put("/datastore/updatelabelinfo?label=DOE&tag=final", data={"params": "{}"}).status_code == 404


def test_names_of_what_is_no_list_are_none():
    assert names_in({"label_info": 3}) == names_in({}) == {}
