import hashlib
import io
import json
import threading
import zipfile
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import nibabel
import numpy as np
import pytest

from tests.datasets.download.server import QUICK, zip_of
from tests.nnunet_files import Made, write_training
from tomoseg.cli import main
from tomoseg.datasets.download.http import Web
from tomoseg.errors import ConfigError, DownloadError, InputError, ModelError
from tomoseg.labels import LabelSet
from tomoseg.models import releases
from tomoseg.models.fetched import archives_folder, data_folder, fetched_models, kept_sums, sums_file
from tomoseg.models.folder import load_model
from tomoseg.models.views import networks_in
from tomoseg.workflows.fetch_model import fetch_model

WEB = Web(QUICK)
TRAINING = "nnUNetTrainer_4000epochs_NoMirroring__nnUNetPlans__3d_fullres"
ONE = "v2.0.0-weights/Dataset297_TotalSegmentator_total_3mm_1559subj.zip"
SIX = "v2.0.0-weights/Dataset298_TotalSegmentator_total_6mm_1559subj.zip"
BODY = "v2.0.0-weights/Dataset299_body_1559subj.zip"


class Release:
    """Files below an address, some of which break off or are others than they were."""

    def __init__(self, files):
        self.files, self.drops, self.asked, self.url = dict(files), [], [], ""


@contextmanager
def serving(release):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            name = self.path.lstrip("/")
            content = release.files.get(name)
            release.asked.append((name, self.headers.get("Range")))
            if content is None:
                self.send_error(404)
                return
            drop = release.drops.pop(0) if release.drops else None
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            self.wfile.write(content[start:][:drop])

        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        release.url = f"http://127.0.0.1:{httpd.server_port}"
        try:
            yield release
        finally:
            httpd.shutdown()
            thread.join()


def archive_of(folder, count, name=TRAINING, seed=0, prefix="class", **changes):
    """An archive as the releases have them: a dataset's folder with a training in it."""
    labels = {"background": 0} | {f"{prefix}_{n}": n for n in range(1, count + 1)}
    made = Made(features=(4, 4, 4), blocks=(1, 1, 1), decoder=(1, 1), labels=labels, **changes)
    folds = ("0",) if seed == 0 else tuple(map(str, range(seed + 1)))
    training = write_training(folder / f"{prefix}{count}-{seed}", made, folds, name)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(training.rglob("*")):
            if path.is_file():
                archive.write(path, f"Dataset297_x/{name}/{path.relative_to(training)}")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    return archive_of(tmp_path_factory.mktemp("release"), 117)


@pytest.fixture(autouse=True)
def _own_folders(tmp_path, monkeypatch):
    """The user's data folder and a table of sizes that fit to what is made here."""
    monkeypatch.setattr("platformdirs.user_data_path", lambda name: tmp_path / "data")
    monkeypatch.setattr("tomoseg.workflows.import_model.is_installed", lambda name: False)  # an export takes seconds


def sized(monkeypatch, name, *contents, sha256=None):
    """The table, with the sizes of these archives."""
    known = releases.releases()
    task = known.tasks[name]
    parts = [
        part.model_copy(update={"bytes": len(content), "sha256": sha256})
        for part, content in zip(task.parts, contents, strict=True)
    ]
    tasks = known.tasks | {name: task.model_copy(update={"parts": tuple(parts)})}
    changed = known.model_copy(update={"tasks": tasks})
    for place in ("models.releases", "workflows.fetch_model", "terminal.fetching", "models.packaged"):
        monkeypatch.setattr(f"tomoseg.{place}.releases", lambda: changed)


def write_scan(path):
    """A scan of noise."""
    scan = np.random.default_rng(3).integers(-900, 900, (20, 18, 10)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(scan, np.diag([2.0, 2.0, 3.0, 1.0])), path)


def left():
    """All files in the user's data folder."""
    return sorted(str(path.relative_to(data_folder())) for path in data_folder().rglob("*") if path.is_file())


class TestOne:
    def test_it_is_fetched_imported_and_found_by_its_name(self, one, monkeypatch):
        sized(monkeypatch, "total-3mm", one)
        with serving(Release({ONE: one})) as release:
            found = fetch_model("total_3mm", url=release.url, web=WEB)
        assert (found.task.name, found.is_new, found.first_sums) == ("total-3mm", True, (ONE,))
        assert release.asked == [(ONE, None)]
        model = load_model("total-3mm")
        assert model.record.labels.names[:2] == ("spleen", "kidney_right")
        assert model.record.labels.ids == tuple(range(1, 118))
        assert (model.record.plan.axes, model.record.plan.step) == ("ras", 0.8)
        made = model.record.provenance
        assert made["archive_sha256"] == hashlib.sha256(one).hexdigest()
        assert made["fetched_from"] == f"https://github.com/wasserth/TotalSegmentator/releases/download/{ONE}"
        assert made["licence"].startswith("Apache-2.0")
        assert [citation.split(",")[0] for citation in made["citations"]] == ["Isensee", "Wasserthal"]
        assert left() == ["archives.json", "models/total-3mm/model.json", "models/total-3mm/weights.safetensors"]
        assert kept_sums() == {ONE: made["archive_sha256"]}

    def test_what_is_there_is_not_fetched_again(self, one, monkeypatch):
        sized(monkeypatch, "total-3mm", one)
        with serving(Release({ONE: one})) as release:
            fetch_model("total-3mm", url=release.url, web=WEB)
            again = fetch_model("total-3mm", url=release.url, web=WEB)
        assert not again.is_new
        assert len(release.asked) == 1

    def test_a_connection_that_breaks_off_is_taken_up_by_the_next_command(self, one, monkeypatch):
        sized(monkeypatch, "total-3mm", one)
        with serving(Release({ONE: one})) as release:
            release.drops = [5000, 0, 0]
            with pytest.raises(DownloadError, match="got 5000 before the connection ended"):
                fetch_model("total-3mm", url=release.url, web=WEB)
            assert fetched_models() == {}
            fetch_model("total-3mm", url=release.url, web=WEB)
        assert release.asked[-1] == (ONE, "bytes=5000-")
        assert list(fetched_models()) == ["total-3mm"]

    def test_an_archive_that_was_changed_is_refused_and_the_model_stays(self, one, tmp_path, monkeypatch):
        other = archive_of(tmp_path, 117, mirrored=(1,))
        other += b"\0" * (len(one) - len(other)) if len(other) < len(one) else b""
        sized(monkeypatch, "total-3mm", one)
        with serving(Release({ONE: one})) as release:
            fetch_model("total-3mm", url=release.url, web=WEB)
            before = load_model("total-3mm").sha256
            assert not fetch_model("total-3mm", again=True, url=release.url, web=WEB).is_new
            release.files[ONE] = one[:-1] + bytes([one[-1] ^ 1])
            digest = hashlib.sha256(one).hexdigest()
            with pytest.raises(DownloadError, match=f"SHA-256 {digest} of the first download, got .*has changed"):
                fetch_model("total-3mm", again=True, url=release.url, web=WEB)
        assert load_model("total-3mm").sha256 == before
        assert not archives_folder().exists()
        assert kept_sums() == {ONE: digest}

    def test_the_sum_is_kept_when_the_model_is_removed(self, one, monkeypatch):
        sized(monkeypatch, "total-3mm", one)
        with serving(Release({ONE: one})) as release:
            folder = fetch_model("total-3mm", url=release.url, web=WEB).folder
            folder.rename(folder.with_name("elsewhere"))
            release.files[ONE] = bytes(len(one))
            with pytest.raises(DownloadError, match="of the first download"):
                fetch_model("total-3mm", url=release.url, web=WEB)
        assert list(fetched_models()) == ["elsewhere"]

    def test_a_sum_that_the_table_states_is_compared(self, one, monkeypatch):
        sized(monkeypatch, "total-3mm", one, sha256="0" * 64)
        with serving(Release({ONE: one})) as release, pytest.raises(DownloadError, match="expected the SHA-256 0000"):
            fetch_model("total-3mm", url=release.url, web=WEB)
        assert left() == []

    def test_another_size_is_refused_before_it_is_read(self, one, monkeypatch):
        sized(monkeypatch, "total-3mm", one[:-1])
        with (
            serving(Release({ONE: one})) as release,
            pytest.raises(
                DownloadError, match=f"expected {len(one) - 1} bytes, got {len(one)}; the server has another"
            ),
        ):
            fetch_model("total-3mm", url=release.url, web=WEB)
        assert left() == []

    def test_no_file_there(self, one, monkeypatch):
        with serving(Release({})) as release, pytest.raises(DownloadError, match="404 Not Found"):
            fetch_model("total-3mm", url=release.url, web=WEB)
        assert not data_folder().exists()

    @pytest.mark.parametrize("name", ["../../evil/plans.json", "/plans.json", "a\\..\\plans.json"])
    def test_an_archive_whose_names_climb_is_refused_and_removed(self, name, monkeypatch):
        content = zip_of({name: b"{}"})
        sized(monkeypatch, "total-3mm", content)
        with (
            serving(Release({ONE: content})) as release,
            pytest.raises(ModelError, match=r"do not trust|no folder with"),
        ):
            fetch_model("total-3mm", url=release.url, web=WEB)
        assert left() == []

    def test_what_is_no_archive_is_refused_and_removed(self, monkeypatch):
        sized(monkeypatch, "total-3mm", b"<html>no</html>")
        with (
            serving(Release({ONE: b"<html>no</html>"})) as release,
            pytest.raises(InputError, match="a whole ZIP file"),
        ):
            fetch_model("total-3mm", url=release.url, web=WEB)
        assert left() == []

    def test_another_number_of_structures_is_refused(self, tmp_path, monkeypatch):
        content = archive_of(tmp_path, 3)
        sized(monkeypatch, "total-3mm", content)
        with (
            serving(Release({ONE: content})) as release,
            pytest.raises(ModelError, match=r"expected 117 structures in dataset\.json, got 3; it is another model"),
        ):
            fetch_model("total-3mm", url=release.url, web=WEB)
        assert left() == []

    def test_of_several_folds_the_first_is_used(self, tmp_path, monkeypatch):
        content = archive_of(tmp_path, 117, seed=1)
        sized(monkeypatch, "total-3mm", content)
        with serving(Release({ONE: content})) as release:
            found = fetch_model("total-3mm", url=release.url, web=WEB)
        assert found.record.provenance["fold"] == "0"

    def test_sums_that_cannot_be_read_are_told(self, one, monkeypatch):
        sized(monkeypatch, "total-3mm", one)
        sums_file().parent.mkdir(parents=True)
        sums_file().write_text("{")
        with pytest.raises(ModelError, match="expected the checksums of downloaded"):
            fetch_model("total-3mm", web=WEB)


class TestParts:
    def test_each_of_five_has_its_structures_of_the_117(self, tmp_path, monkeypatch):
        parts = releases.releases().tasks["total"].parts
        name = "nnUNetTrainerNoMirroring__nnUNetPlans__3d_fullres"
        made = [archive_of(tmp_path / part.name, len(part.structures), name) for part in parts]
        sized(monkeypatch, "total", *made)
        with serving(Release({part.file: content for part, content in zip(parts, made, strict=True)})) as release:
            release.drops = [None, 700, 0, 0]
            with pytest.raises(DownloadError, match="3 times in a row"):
                fetch_model("total", url=release.url, web=WEB)
            assert fetched_models() == {}
            before = len(release.asked)
            found = fetch_model("total", url=release.url, web=WEB)
            assert [span for _, span in release.asked[before:]] == ["bytes=700-", None, None, None]
            assert not fetch_model("total", again=True, url=release.url, web=WEB).is_new
        assert found.record.labels == LabelSet.total()
        assert [path.name for path in networks_in(found.folder)] == [
            "organs",
            "vertebrae",
            "cardiac",
            "muscles",
            "ribs",
        ]
        assert load_model("total/ribs").record.labels.ids == tuple(range(92, 118))
        assert len(kept_sums()) == 5
        assert not archives_folder().exists()

    def test_archives_that_name_their_structures_count_on(self, one, tmp_path, monkeypatch, capsys):
        task = releases.releases().tasks["headneck_muscles"]
        name = "nnUNetTrainer_DASegOrd0_NoMirroring__nnUNetPlans__3d_fullres_high"
        made = [archive_of(tmp_path, count, name, prefix=prefix) for count, prefix in ((2, "a"), (3, "b"))]
        sized(monkeypatch, "headneck_muscles", *made)
        sized(monkeypatch, "total-6mm", one)
        files = {part.file: content for part, content in zip(task.parts, made, strict=True)}
        with serving(Release(files | {SIX: one})) as release:
            assert main(["fetch", "headneck_muscles", "--url", release.url]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert "total-6mm: 117 structures" in told
        assert "input: the box around clavicula_left" in told
        assert sorted(fetched_models()) == ["headneck_muscles", "total-6mm"]
        labels = fetch_model("headneck_muscles").record.labels
        assert labels.names == ("a_1", "a_2", "b_1", "b_2", "b_3")
        assert labels.ids == (1, 2, 3, 4, 5)
        write_scan(tmp_path / "ct.nii.gz")
        places = ["-i", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "masks")]
        assert main(["predict", *places, "-m", "headneck_muscles", "--resampling", "exact"]) == 0
        assert len(list((tmp_path / "masks").glob("*.nii.gz"))) == 5
        record = json.loads((tmp_path / "masks" / "prediction.json").read_text())
        assert record["options"]["resampling"] == "exact"
        assert (record["box"]["finder"], record["box"]["margin_mm"]) == ("total-6mm", 20)
        assert record["box"]["finder_sha256"] == load_model("total-6mm").sha256
        assert main(["models", "headneck_muscles"]) == 0
        assert "networks: part1, part2" in capsys.readouterr().out

    def test_what_is_shown_a_box_needs_what_finds_it(self, one, tmp_path, monkeypatch, capsys):
        content = archive_of(tmp_path, 2, name="nnUNetTrainer__nnUNetPlans__3d_fullres")
        task = releases.releases().tasks["liver_vessels"]
        sized(monkeypatch, "liver_vessels", content)
        sized(monkeypatch, "total-6mm", one)
        with serving(Release({task.parts[0].file: content, SIX: one})) as release:
            found = fetch_model("liver_vessels", url=release.url, web=WEB)
        assert (found.finder.task.name, found.finder.is_new) == ("total-6mm", True)
        rules = found.record.plan.rules
        assert (rules.task, rules.box.structures, rules.voxels_mm) == ("liver_vessels", ("liver",), None)
        found.finder.folder.rename(tmp_path / "elsewhere")
        write_scan(tmp_path / "ct.nii.gz")
        places = ["-i", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "masks")]
        assert main(["predict", *places, "-m", "liver_vessels"]) == 2
        assert "`tomoseg fetch total-6mm` fetches it" in " ".join(capsys.readouterr().err.split())


class TestRefused:
    def test_gated_tasks_with_the_reason(self):
        with pytest.raises(ConfigError, match=r"got tissue_types, which needs a licence number.*tomoseg import"):
            fetch_model("tissue_types")
        with pytest.raises(ConfigError, match="got total_v3, which has no licence that its makers state"):
            fetch_model("total-v3")
        with pytest.raises(ConfigError, match="got total_mr, which is for MR images"):
            fetch_model("total_mr")

    def test_unknown_tasks_with_the_nearest(self):
        with pytest.raises(ConfigError, match=r"got '.*'; did you mean 'total-3mm'\?$"):
            fetch_model("total-3m")

    def test_plain_http(self):
        with pytest.raises(DownloadError, match="expected https, got http"):
            fetch_model("total-3mm", url="http://example.org/releases")


class TestCommand:
    def test_it_lists_what_there_is(self, capsys):
        assert main(["fetch"]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert "total-3mm" in told
        assert "Not available: heartchambers_highres, " in told
        assert ". Each needs a licence number, which" in told

    def test_from_the_release_to_masks(self, tmp_path, monkeypatch, capsys):
        content = archive_of(tmp_path, 2, name="nnUNetTrainer__nnUNetPlans__3d_fullres")
        sized(monkeypatch, "body", content)
        with serving(Release({BODY: content})) as release:
            assert main(["fetch", "body", "--url", release.url]) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert "body: 2 structures, voxels of 3 x 2 x 2 mm" in told
        assert "licence: Apache-2.0" in told
        assert "next: tomoseg predict -i CT -o MASKS -m body" in told
        write_scan(tmp_path / "ct.nii.gz")
        places = ["-i", str(tmp_path / "ct.nii.gz"), "-o", str(tmp_path / "m.nii.gz")]
        assert main(["predict", *places, "--ml", "-m", "body"]) == 0
        values = np.asarray(nibabel.load(tmp_path / "m.nii.gz").dataobj)
        assert values.max() > 0
        capsys.readouterr()
        assert main(["models", "body"]) == 0
        assert "archive sha256" in capsys.readouterr().out
        assert main(["models"]) == 0
        assert "tomoseg fetch" in capsys.readouterr().out

    def test_a_name_that_was_not_fetched_says_how(self, tmp_path, capsys):
        (tmp_path / "ct.nii.gz").write_bytes(b"")
        assert main(["models", "total-6mm"]) == 2
        assert "`tomoseg fetch total-6mm` fetches it" in " ".join(capsys.readouterr().err.split())
        assert main(["models", "tissue-types"]) == 2
        assert "tissue-types of TotalSegmentator needs a licence number" in " ".join(capsys.readouterr().err.split())


def test_the_table_is_whole():
    """Every address is of a release, every size is that of weights, and the five parts are the 117 structures."""
    known = releases.releases()
    parts = [part for task in known.tasks.values() for part in task.parts]
    assert len({part.file for part in parts}) == len(parts)
    assert all(part.file.startswith("v2.") and part.file.endswith(".zip") for part in parts)
    assert all(100e6 < part.bytes < 1e9 for part in parts)
    total = [name for part in known.tasks["total"].parts for name in part.structures.names]
    assert total == list(known.tasks["total-3mm"].parts[0].structures.names)
    assert len(total) == 117
    finders = {task.box.finder for task in known.tasks.values() if task.box is not None}
    assert finders == {"total-6mm", "total-3mm", "body-6mm", "craniofacial_structures"}
    for task in known.tasks.values():
        if task.box is not None:  # the structures are those of the model that finds them
            found = [part.structures for part in known.tasks[task.box.finder].parts]
            assert {*task.box.structures} <= {name for labels in found for name in labels.names}
    assert known.refused.keys().isdisjoint(known.tasks)
    assert set(known.refused.values()) == set(known.reasons)
