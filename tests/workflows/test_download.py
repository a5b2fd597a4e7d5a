import gzip
import hashlib
import json

import numpy as np
import pytest

from tests.datasets.download.server import FileServer, dataset_files, serving, web, zip_of
from tests.datasets.download.test_unpack import files_in
from tests.files.handmade import nifti1
from tomoseg.datasets.download.sources import Archive
from tomoseg.datasets.layouts import find_dataset
from tomoseg.errors import DownloadError, InputError, OutputError
from tomoseg.workflows.download import RECORD, DownloadReport, Progress, download

FILES = dataset_files("s0011", "s0058", "s0223")
DATA = zip_of(FILES)


def archive_of(server, data=DATA):
    return Archive("scans", server.url, "scans.zip", len(data), hashlib.md5(data).hexdigest(), "CC BY 4.0", "someone")


def without_record(folder):
    return {name: data for name, data in files_in(folder).items() if name != RECORD}


def interrupted(*given):
    raise KeyboardInterrupt


class TestAll:
    def test_it_is_fetched_verified_and_unpacked(self, tmp_path):
        heard = []
        progress = Progress(lambda *told: heard.append(told), lambda *told: heard.append(told))
        with serving(FileServer(DATA, drops=[300, 50])) as server:
            report = download(archive_of(server), tmp_path / "out", web=web(), progress=progress)
        assert report == DownloadReport(3, 3, True)
        assert without_record(tmp_path / "out") == FILES
        record = json.loads((tmp_path / "out" / RECORD).read_text())
        assert record["cases"] == ["s0011", "s0058", "s0223"]
        assert (record["bytes"], record["licence"]) == (len(DATA), "CC BY 4.0")
        assert heard[-3:] == [("s0011", 1, 3), ("s0058", 2, 3), ("s0223", 3, 3)]
        assert heard[-4] == ("download", len(DATA), len(DATA))

    def test_the_same_command_does_nothing_again(self, tmp_path):
        with serving(FileServer(DATA)) as server:
            download(archive_of(server), tmp_path, web=web())
            asked = len(server.asked)
            assert download(archive_of(server), tmp_path, web=web()) == DownloadReport(3, 0, False)
            assert len(server.asked) == asked
            (tmp_path / "s0058").rename(tmp_path.parent / "elsewhere")
            assert download(archive_of(server), tmp_path, web=web()).new == 1
        assert without_record(tmp_path) == FILES
        assert server.asked[-1]["Range"].startswith("bytes=")

    def test_it_goes_on_after_every_interruption(self, tmp_path):
        def stop(name, done, total):
            raise KeyboardInterrupt

        with serving(FileServer(DATA, drops=[200, 0, 0])) as server:
            with pytest.raises(DownloadError, match="3 times in a row"):
                download(archive_of(server), tmp_path, web=web())
            assert (tmp_path / "scans.zip.part").stat().st_size == 200
            with pytest.raises(KeyboardInterrupt):
                download(archive_of(server), tmp_path, web=web(), progress=Progress(on_case=stop))
            there = ["meta.csv", "scans.zip", "scans.zip.part.json", *(n for n in FILES if "s0011" in n)]
            assert sorted(files_in(tmp_path)) == sorted(there)
            assert download(archive_of(server), tmp_path, web=web()) == DownloadReport(3, 2, True)
        assert server.spans[-1] == "bytes=200-"
        assert without_record(tmp_path) == FILES

    def test_the_archive_may_be_kept(self, tmp_path):
        with serving(FileServer(DATA)) as server:
            report = download(archive_of(server), tmp_path, keep_archive=True, web=web())
        assert report.archive == tmp_path / "scans.zip"
        assert report.archive.read_bytes() == DATA

    def test_an_archive_that_the_user_put_there_is_used_and_stays(self, tmp_path):
        (tmp_path / "scans.zip").write_bytes(DATA)
        with serving(FileServer(DATA)) as server:
            report = download(archive_of(server), tmp_path, web=web())
        assert server.asked == []
        assert report == DownloadReport(3, 3, True, tmp_path / "scans.zip")
        assert without_record(tmp_path) == FILES | {"scans.zip": DATA}

    def test_a_fetched_archive_that_a_killed_command_left_is_removed(self, tmp_path, monkeypatch):
        """Wherever that was killed after fetching it: before the record is written, or after."""
        for when in ("tomoseg.workflows.download._record", "tomoseg.workflows.download._forget_archive"):
            place = tmp_path / when
            with serving(FileServer(DATA)) as server:
                with monkeypatch.context() as killed:
                    killed.setattr(when, interrupted)
                    with pytest.raises(KeyboardInterrupt):
                        download(archive_of(server), place, web=web())
                assert (place / "scans.zip").read_bytes() == DATA
                assert download(archive_of(server), place, web=web()).archive is None
            assert without_record(place) == FILES

    def test_another_archive_in_the_same_folder(self, tmp_path):
        other = zip_of(dataset_files("x1"))
        with serving(FileServer(DATA)) as server:
            download(archive_of(server), tmp_path, web=web())
            server.content = other
            download(archive_of(server, other), tmp_path, web=web())
        assert (tmp_path / "x1" / "ct.nii.gz").exists()
        assert json.loads((tmp_path / RECORD).read_text())["cases"] == ["x1"]

    def test_a_wrong_sum_leaves_nothing(self, tmp_path):
        with serving(FileServer(DATA[::-1])) as server, pytest.raises(DownloadError, match="expected the MD5 sum"):
            download(archive_of(server), tmp_path / "out", web=web())
        assert files_in(tmp_path) == {}

    def test_a_hostile_archive_leaves_only_itself(self, tmp_path):
        data = zip_of(FILES | {"s0011/../../evil": b"x"})
        with serving(FileServer(data)) as server, pytest.raises(DownloadError, match="expected paths inside"):
            download(archive_of(server, data), tmp_path / "out", web=web())
        assert [name for name in files_in(tmp_path) if not name.endswith(".part.json")] == ["out/scans.zip"]

    def test_too_little_space_is_told_before_anything_is_asked(self, tmp_path):
        with serving(FileServer(DATA)) as server, pytest.raises(OutputError, match="GB of free space"):
            download(Archive("x", server.url, "x.zip", 10**17), tmp_path / "out", web=web())
        assert server.asked == []
        assert not (tmp_path / "out").exists()


class TestSome:
    def test_cases_without_the_rest(self, tmp_path):
        rest = {f"s9{n:03d}/ct.nii.gz": np.random.default_rng(n).bytes(2_000_000) for n in range(8)}
        data = zip_of(FILES | rest)
        with serving(FileServer(data, drops=[None, 100])) as server:
            report = download(archive_of(server, data), tmp_path, ["s0058", "s0011", "s0058"], web=web())
        assert report == DownloadReport(2, 2, False)
        assert sorted({name.split("/")[0] for name in files_in(tmp_path)}) == ["meta.csv", "s0011", "s0058"]
        assert {name: FILES[name] for name in files_in(tmp_path)} == files_in(tmp_path)
        assert len(server.asked) == 3

    def test_cases_that_are_there_are_not_asked_for(self, tmp_path):
        with serving(FileServer(DATA)) as server:
            download(archive_of(server), tmp_path, ["s0011"], web=web())
            asked = len(server.asked)
            assert download(archive_of(server), tmp_path, ["s0011"], web=web()) == DownloadReport(1, 0, False)
            assert len(server.asked) == asked
            assert download(archive_of(server), tmp_path, ["s0011", "s0223"], web=web()) == DownloadReport(2, 1, False)
            assert download(archive_of(server), tmp_path, web=web()) == DownloadReport(3, 1, True)
        assert without_record(tmp_path) == FILES

    def test_an_unknown_case(self, tmp_path):
        message = r"scans: expected one of 3 known names, got 's0012'; did you mean 's0011'\?"
        with serving(FileServer(DATA)) as server, pytest.raises(InputError, match=message):
            download(archive_of(server), tmp_path / "out", ["s0223", "s0012"], web=web())
        assert files_in(tmp_path) == {}

    @pytest.mark.parametrize("name", ["..", "../x", "a/b", "/etc", "", "."])
    def test_what_is_no_name(self, tmp_path, name):
        with serving(FileServer(DATA)) as server, pytest.raises(InputError, match="expected case names, got"):
            download(archive_of(server), tmp_path, [name], web=web())
        assert server.asked == []


def test_what_is_downloaded_is_a_dataset(tmp_path):
    scan = gzip.compress(nifti1(np.zeros((2, 1, 1), np.int16)))
    meta = (
        "\ufeffimage_id;age;gender;institute;study_type;split;manufacturer;scanner_model;kvp;pathology\n"
        "s0011;74;f;B;ct thorax;train;siemens;Sensation 16;120.0;no_pathology\n"
        "s0058;;m;A;ct pelvis;val;;;;\n"
        "s0223;50;f;A;ct abdomen;test;ge;;100.0;tumor\n"
    )
    files = {"meta.csv": meta.encode()}
    for name in ("s0011", "s0058", "s0223"):
        files |= {f"{name}/ct.nii.gz": scan, f"{name}/segmentations/liver.nii.gz": scan}
    data = zip_of(files)
    with serving(FileServer(data)) as server:
        download(archive_of(server, data), tmp_path, web=web())
    dataset = find_dataset(tmp_path)
    assert {case.name: case.split for case in dataset.cases} == {
        "s0011": "train",
        "s0058": "validation",
        "s0223": "test",
    }
    assert dataset.labels.names == ("liver",)
    assert dataset.warnings == ()
