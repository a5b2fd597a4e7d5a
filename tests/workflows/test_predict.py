import csv
import json
import os
import shutil
import time
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path
from typing import ClassVar

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
import torch

from tests.files.dicom.scans import series
from tests.files.dicom.series import NAME, PATIENT_ID, image, save
from tests.files.handmade import nifti1
from tests.workflows.datasets import AFFINE, GRID, SHAPE, scan
from tests.workflows.predicting import LABELS, ON_CPU, expected_masks, make_model, names_in, run
from tomoseg.cli import main
from tomoseg.errors import ConfigError, InputError, LabelError, ModelError, OutputError
from tomoseg.files import results
from tomoseg.files.nifti import read_ct, read_label_map, read_mask, write_nifti
from tomoseg.files.results import label_map_files
from tomoseg.files.scan import read_scan
from tomoseg.inference.predictor import Predictor
from tomoseg.inference.segment import segment
from tomoseg.limits import OF_MEMORY
from tomoseg.models.folder import load_model, save_model, sha256
from tomoseg.options import ALL_MASKS, Compute, PredictOptions, Request
from tomoseg.volume import SourceGrid
from tomoseg.workflows import predict as workflow
from tomoseg.workflows.predict import predict
from tomoseg.workflows.prediction_record import manifest_path
from tomoseg.workflows.scans import Scan, find_scans

ORIENTATIONS = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def around(stem):
    """A label map and its tables, sorted."""
    return sorted(label_map_files(Path(f"{stem}.nii.gz")))


def wait_until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("waited in vain")


class TestOneScan:
    def test_masks(self, ct, model, tmp_path):
        (done,) = run(ct, tmp_path / "out", model)
        assert (done.error, done.warnings) == (None, ())
        assert replace(done.scan, found=None) == Scan("s0", ct, tmp_path / "out", is_only=True)
        assert names_in(tmp_path / "out") == ["aorta.nii.gz", "liver.nii.gz", "spleen.nii.gz"]
        expected = expected_masks(ct, model)
        assert any(mask.any() and not mask.all() for mask in expected.values())
        for name, mask in expected.items():
            np.testing.assert_array_equal(read_mask(tmp_path / "out" / f"{name}.nii.gz", GRID), mask)

    @pytest.mark.parametrize("output", ["out/map.nii.gz", "out/map.nii", "out"])
    def test_a_label_map(self, ct, model, tmp_path, output):
        (done,) = run(ct, tmp_path / output, model, ml=True)
        written = tmp_path / ("out/s0.nii.gz" if output == "out" else output)
        assert (done.error, done.scan.output) == (None, written)
        assert names_in(tmp_path / "out") == sorted(label_map_files(written))
        values = read_label_map(written, GRID)
        expected = segment(read_ct(ct), load_model(model), Request(ml=True), compute=ON_CPU).result.values
        np.testing.assert_array_equal(values, expected)
        assert set(np.unique(values)) <= {0, *LABELS.ids}
        assert len(np.unique(values)) > 1

    def test_some_structures(self, ct, model, tmp_path):
        run(ct, tmp_path / "out", model, roi_subset=("aorta",))
        assert names_in(tmp_path / "out") == ["aorta.nii.gz"]
        found = read_mask(tmp_path / "out" / "aorta.nii.gz")
        np.testing.assert_array_equal(found, expected_masks(ct, model)["aorta"])

    @pytest.mark.parametrize(
        ("label_map", "names"),
        [(False, ["aorta.nii.gz", "preview.png"]), (True, [*around("s0"), "s0_preview.png"])],
    )
    def test_a_preview(self, ct, model, tmp_path, label_map, names):
        run(ct, tmp_path / "out", model, ml=label_map, preview=True, roi_subset=("aorta",))
        assert names_in(tmp_path / "out") == names
        picture = next((tmp_path / "out").glob("*preview.png"))
        assert picture.read_bytes().startswith(b"\x89PNG")

    @pytest.mark.parametrize(
        ("label_map", "names"),
        [(False, ["aorta.nii.gz", "page_3d.html"]), (True, [*around("s0"), "s0_page_3d.html"])],
    )
    def test_a_page_in_3d(self, ct, model, tmp_path, label_map, names):
        pytest.importorskip("skimage", reason="needs scikit-image")
        (done,) = run(ct, tmp_path / "out", model, ml=label_map, page_3d=True, lang="fr", roi_subset=("aorta",))
        assert names_in(tmp_path / "out") == sorted(names)
        assert "page" in done.record["seconds"]
        text = next((tmp_path / "out").glob("*page_3d.html")).read_text(encoding="utf-8")
        assert '<html lang="fr">' in text
        (again,) = run(ct, tmp_path / "out", model, ml=label_map, roi_subset=("aorta",))
        assert again.skipped  # a result with a page serves who asks for none

    def test_a_page_without_what_makes_it_is_refused_before_anything_is_read(self, tmp_path, monkeypatch):
        monkeypatch.setattr("tomoseg.packages.is_installed", lambda module: module != "skimage")
        with pytest.raises(ConfigError, match="expected scikit-image, found none"):
            predict(tmp_path / "none", tmp_path / "out", tmp_path / "none", PredictOptions(page_3d=True))

    def test_the_batch_does_not_matter(self, ct, model, tmp_path):
        for size in (1, 3):
            compute = Compute(engine="torch", device="cpu", precision="fp32", batch_size=size)
            predict(ct, tmp_path / str(size), model, PredictOptions(ml=True), compute)
        one, three = (read_label_map(tmp_path / size / "s0.nii.gz") for size in ("1", "3"))
        assert (one != three).mean() < 0.02  # sums in another order may turn a voxel at an edge

    def test_progress(self, ct, model, tmp_path):
        told = []
        predict(ct, tmp_path / "out", model, ALL_MASKS, ON_CPU, lambda *slices: told.append(slices))
        assert [(done, total) for _, done, total in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
        assert {scan_.name for scan_, _, _ in told} == {"s0"}


class TestDicom:
    def test_a_series_is_segmented_as_the_same_scan_in_nifti(self, ct, model, tmp_path):
        volume = read_ct(ct)
        x, y, z = volume.affine[:3, 3]
        slices = volume.hu[::-1, ::-1].transpose(2, 1, 0)  # rows to the back, columns to the left
        edges = volume.spacing_mm
        start = (-(x + edges[0] * (volume.shape[0] - 1)), -(y + edges[1] * (volume.shape[1] - 1)))
        images = [image(stored, (*start, z + edges[2] * k), k, (edges[1], edges[0])) for k, stored in enumerate(slices)]
        save(images, tmp_path / "series")
        (done,) = run(tmp_path / "series", tmp_path / "out", model)
        assert (done.error, done.scan.name) == (None, "series")
        for name, mask in expected_masks(ct, model).items():
            np.testing.assert_array_equal(read_mask(tmp_path / "out" / f"{name}.nii.gz"), mask)
        (again,) = run(tmp_path / "series", tmp_path / "out", model)
        assert again.skipped
        (tmp_path / "series" / "003.dcm").touch()
        (changed,) = run(tmp_path / "series", tmp_path / "out", model)
        assert not changed.skipped
        (other,) = run(tmp_path / "series", tmp_path / "out", model, series=2)
        assert "expected a series from 1 to 1, got 2" in other.error
        told = (tmp_path / "out" / "prediction.json").read_text()
        assert not any(secret in told for secret in (NAME, PATIENT_ID, images[0].SOPInstanceUID))


class TestManyScans:
    @pytest.fixture
    def folder(self, tmp_path):
        """A scan as a file, one as a folder, a broken one, and what is no scan."""
        folder = tmp_path / "scans"
        write_nifti(folder / "b.nii", scan(1), GRID)
        write_nifti(folder / "c" / "ct.nii.gz", scan(2), GRID)
        write_nifti(folder / ".d.nii.gz", scan(3), GRID)
        (folder / "a.nii.gz").write_bytes(b"broken")
        (folder / "notes.txt").write_text("")
        (folder / "empty").mkdir()
        return folder

    def test_one_that_fails_stops_no_other(self, folder, model, tmp_path):
        told = []
        done = predict(folder, tmp_path / "out", model, compute=ON_CPU, on_scan=told.append)
        assert told == done
        assert [(result.scan.name, result.error is None) for result in done] == [("a", False), ("b", True), ("c", True)]
        assert "a.nii.gz: expected a NIfTI file" in done[0].error
        masks = [f"{name}.nii.gz" for name in ("aorta", "liver", "spleen")]
        assert names_in(tmp_path / "out") == [f"{case}/{mask}" for case in "bc" for mask in masks]
        for case, path in (("b", folder / "b.nii"), ("c", folder / "c" / "ct.nii.gz")):
            found = read_mask(tmp_path / "out" / case / "liver.nii.gz")
            np.testing.assert_array_equal(found, expected_masks(path, model)["liver"])

    @pytest.mark.parametrize("max_memory", [None, "64GB"])
    def test_the_next_scan_is_read_meanwhile_unless_memory_is_limited(
        self, ct, model, tmp_path, monkeypatch, max_memory
    ):
        names = ["a", "b", "c"]
        for name in names:
            shutil.copy(ct, tmp_path / f"{name}.nii.gz")
        read, at_first_slice = [], {}

        def read_and_say_so(source, *options):
            read.append(source.path.name[0])
            return read_scan(source, *options)

        def on_slice(scan, done, total):
            if done == 1:
                if max_memory is None:
                    wait_until(lambda: scan.name == "c" or read[-1] > scan.name)
                time.sleep(0.05)
                at_first_slice[scan.name] = "".join(read)

        monkeypatch.setattr(workflow, "read_scan", read_and_say_so)
        compute = Compute(device="cpu", max_memory=max_memory)
        found = predict(tmp_path / "[abc].nii.gz", tmp_path / "out", model, PredictOptions(), compute, on_slice)
        assert [done.error for done in found] == [None] * 3
        assert at_first_slice == (
            {"a": "a", "b": "ab", "c": "abc"} if max_memory else {"a": "ab", "b": "abc", "c": "abc"}
        )

    @pytest.mark.parametrize("ml", [True, False])
    def test_what_a_killed_command_left_goes_and_files_of_the_users_stay(self, folder, model, tmp_path, ml):
        out, left = tmp_path / "out", ".liver.nii.gz.0123456789ab.part"
        for place in (out, out / "b"):
            place.mkdir()
            (place / left).write_text("half")
            (place / ".mine.part").write_text("mine")
        predict(folder, out, model, PredictOptions(ml=ml), ON_CPU)
        assert not (out / left).exists()
        assert ml or not (out / "b" / left).exists()
        assert [(place / ".mine.part").read_text() for place in (out, out / "b")] == ["mine", "mine"]

    def test_label_maps(self, folder, model, tmp_path):
        run(folder, tmp_path / "out", model, ml=True)
        assert names_in(tmp_path / "out") == around("b") + around("c")

    def test_a_lack_of_memory_stops_no_other(self, folder, model, tmp_path, monkeypatch):
        errors = iter([MemoryError(), MemoryError("CUDA out of memory")])

        def fail(*args, **options):
            raise next(errors)

        with monkeypatch.context() as patch:
            patch.setattr(workflow, "segment", fail)
            done = run(folder, tmp_path / "out", model)
        assert done[1].error == OF_MEMORY
        assert done[2].error == OF_MEMORY
        assert [result.error is None for result in run(folder, tmp_path / "out", model)] == [False, True, True]

    def test_warnings_come_with_their_scan(self, tmp_path, model):
        write_nifti(tmp_path / "scans" / "flat.nii.gz", np.zeros(SHAPE, np.int16), GRID)
        write_nifti(tmp_path / "scans" / "good.nii.gz", scan(), GRID)
        flat, good = run(tmp_path / "scans", tmp_path / "out", model)
        assert flat.warnings[0].message.startswith("Every voxel is 0 HU")
        assert (flat.error, good.error, good.warnings) == (None, None, ())

    def test_strict_takes_warnings_for_errors(self, tmp_path, model, monkeypatch):
        write_nifti(tmp_path / "scans" / "flat.nii.gz", np.zeros(SHAPE, np.int16), GRID)
        write_nifti(tmp_path / "scans" / "good.nii.gz", scan(), GRID)
        flat, good = run(tmp_path / "scans", tmp_path / "out", model)
        assert (flat.error, good.error) == (None, None)
        segmented = []
        monkeypatch.setattr(workflow, "segment", lambda *a, **options: segmented.append(1) or segment(*a, **options))
        before = (tmp_path / "out/flat/prediction.json").read_bytes()
        flat, good = run(tmp_path / "scans", tmp_path / "out", model, strict=True)
        assert len(segmented) == 1  # not what was refused
        assert (tmp_path / "out/flat/prediction.json").read_bytes() == before
        assert (
            "flat.nii.gz: expected a scan without warnings, as --strict requires, got: one value; predict" in flat.error
        )
        assert flat.warnings[0].message.startswith("Every voxel is 0 HU")
        assert (good.error, good.skipped) == (None, False)
        assert run(tmp_path / "scans", tmp_path / "out", model, strict=True)[1].skipped
        assert run(tmp_path / "scans", tmp_path / "out", model)[1].skipped

    def test_two_of_one_name(self, tmp_path, model):
        write_nifti(tmp_path / "a.nii.gz", scan(), GRID)
        write_nifti(tmp_path / "a" / "ct.nii.gz", scan(), GRID)
        done = run(tmp_path, tmp_path / "out", model)
        assert [(one.scan.name, one.error) for one in done] == [("a_1", None), ("a_2", None)]


class TestWhichScans:
    @pytest.fixture
    def scans(self, tmp_path):
        folder = tmp_path / "scans"
        folder.mkdir()
        for name in ("a.nii.gz", "b.nii", "d/ct.nii.gz", "d/e.nii.gz", "notes.txt"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).touch()
        return folder

    def found(self, scans, **options):
        return [(s.name, s.output.name) for s in find_scans(scans, Path("out"), **{"label_map": False} | options).scans]

    def test_folders_of_folders(self, tmp_path):
        for name in ("one/two/a.nii.gz", "one/b.mha", "one/notes.txt"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        assert self.found(tmp_path) == [("a", "a"), ("b", "b")]
        for name in ("train/p1/ct.nii.gz", "train/p1/segmentations/liver.nii.gz"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        assert self.found(tmp_path) == [("a", "a"), ("b", "b"), ("p1", "p1")]

    def test_results_of_before_are_no_scans(self, tmp_path):
        for name in ("one/a.nii.gz", "out/a/liver.nii.gz"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        assert [s.name for s in find_scans(tmp_path, tmp_path / "out", label_map=False).scans] == ["a"]
        assert len(find_scans(tmp_path / "one", tmp_path / "one", label_map=False).scans) == 1

    def test_dicom_with_results_below_it_is_one_scan(self, tmp_path):
        series(tmp_path / "ct")
        (tmp_path / "ct" / "masks").mkdir()
        (tmp_path / "ct" / "masks" / "liver.nii.gz").touch()
        (one,) = find_scans(tmp_path / "ct", tmp_path / "ct" / "masks", label_map=False).scans
        assert (one.path, one.output) == (tmp_path / "ct", tmp_path / "ct" / "masks")

    def test_a_part_of_one_scan(self, scans):
        with pytest.raises(InputError, match=r"expected a folder of scans for a part of them, got one scan"):
            self.found(scans / "a.nii.gz", part="2/2")

    def test_a_scan_of_a_case_folder_is_named_by_it(self, scans):
        (one,) = find_scans(scans / "d" / "ct.nii.gz", Path("out"), label_map=True).scans
        assert (one.name, one.output) == ("d", Path("out/d.nii.gz"))

    def test_a_list_that_is_not_utf_8(self, scans):
        (scans / "list.txt").write_bytes("\ufeffa.nii.gz\n".encode())
        assert self.found(scans / "list.txt") == [("a", "a")]
        (scans / "list.txt").write_bytes("b\xe9.nii\n".encode("latin-1"))
        with pytest.raises(InputError, match=r"list\.txt: expected a list in UTF-8, got: .*; save it as UTF-8"):
            self.found(scans / "list.txt")

    def test_a_folder(self, scans):
        assert self.found(scans) == [("a", "a"), ("b", "b"), ("d", "d")]
        assert self.found(scans, label_map=True) == [("a", "a.nii.gz"), ("b", "b.nii.gz"), ("d", "d.nii.gz")]

    def test_a_pattern(self, scans):
        assert self.found(scans / "*.nii*") == [("a", "a"), ("b", "b")]
        assert self.found(scans / "**" / "*.nii.gz") == [("a", "a"), ("d", "d"), ("e", "e")]

    def test_a_list(self, scans):
        (scans / "list.txt").write_text(f"d/ct.nii.gz\n\n  b.nii \n{scans / 'a.nii.gz'}\n")
        assert self.found(scans / "list.txt") == [("a", "a"), ("b", "b"), ("d", "d")]

    def test_a_folder_of_dicom_is_one_scan_and_a_pattern_of_them_many(self, scans):
        for name in ("x/1/a.dcm", "x/2/b.dcm", "y/c"):
            (scans / name).parent.mkdir(parents=True, exist_ok=True)
            (scans / name).write_bytes(bytes(128) + b"DICM")
        assert self.found(scans / "x") == [("x", "out")]
        assert self.found(scans / "y" / "c", label_map=True) == [("c", "c.nii.gz")]
        assert self.found(scans / "[xy]") == [("x", "x"), ("y", "y")]
        assert self.found(scans) == [("a", "a"), ("b", "b"), ("d", "d")]  # files of volumes go first

    @pytest.mark.parametrize("name", ["e.nrrd", "e.nhdr", "e.mha", "e.MHD", "e.zip"])
    def test_volumes_of_other_kinds_are_scans(self, scans, name):
        (scans / name).touch()
        assert ("e", "e") in self.found(scans)

    def test_what_a_list_names_and_is_not_there_fails_alone(self, ct, model, tmp_path):
        (tmp_path / "list.txt").write_text("gone.nii\ns0.nii.gz\n")
        gone, there = run(tmp_path / "list.txt", tmp_path / "out", model)
        assert "gone.nii: expected a file, got nothing of that name" in gone.error
        assert (there.error, names_in(tmp_path / "out")[0]) == (None, "s0/aorta.nii.gz")

    def test_parts_are_every_scan_once(self, scans):
        parts = [self.found(scans, part=f"{number}/2") for number in (1, 2)]
        assert parts == [[("a", "a"), ("d", "d")], [("b", "b")]]
        assert self.found(scans, part="4/4") == []

    @pytest.mark.parametrize("part", ["0/2", "3/2", "2", "1/0", "a/b", "1/2/3"])
    def test_no_part(self, scans, part):
        with pytest.raises(InputError, match=f"expected a part such as 2/8, from 1/8 to 8/8, got {part}"):
            self.found(scans, part=part)

    def test_nothing_fits(self, scans):
        (scans / "empty.txt").write_text("\n")
        with pytest.raises(InputError, match=r"expected scans that fit this pattern, found none"):
            self.found(scans / "*.mha")
        with pytest.raises(InputError, match=r"empty\.txt: expected one path a line, found none"):
            self.found(scans / "empty.txt")


class TestRecord:
    def test_it_says_what_was_done(self, ct, model, tmp_path):
        (done,) = run(ct, tmp_path / "out", model, roi_subset=("aorta",), preview=True)
        record = json.loads((tmp_path / "out" / "prediction.json").read_text())
        assert record == json.loads(json.dumps(done.record))
        assert record["input"]["path"] == str(ct)
        assert record["input"]["bytes"] == ct.stat().st_size
        assert record["files"] == ["aorta.nii.gz", "preview.png"]
        assert record["structures"] == ["aorta"]
        assert record["model_sha256"] == sha256(model / "weights.safetensors")
        assert record["engine"] == {"name": "openvino", "device": "cpu", "precision": "fp32"}
        assert list(record["seconds"]) == [
            *("read", "grid", "prepare", "network", "decisions", "segment", "write", "preview")
        ]
        assert all(seconds >= 0 for seconds in record["seconds"].values())
        assert 2**26 < record["peak_memory_bytes"] < 2**36
        assert record["warnings"] == []

    def test_a_label_map_has_one_beside_it(self, ct, model, tmp_path):
        run(ct, tmp_path / "map.nii.gz", model, ml=True)
        assert json.loads((tmp_path / "map.prediction.json").read_text())["files"] == label_map_files(
            tmp_path / "map.nii.gz"
        )

    def test_what_is_done_is_not_done_again(self, ct, model, tmp_path):
        def again(**options):
            (done,) = run(ct, tmp_path / "out", model, **options)
            assert done.error is None
            return not done.skipped

        assert again()
        assert not again()
        assert again(roi_subset=("aorta", "liver"))
        assert not again(roi_subset=("aorta", "liver"))
        assert again(roi_subset=("aorta", "liver"), preview=True)
        (tmp_path / "out" / "liver.nii.gz").unlink()
        assert again(roi_subset=("aorta", "liver"), preview=True)
        write_nifti(ct, scan(7), GRID)
        assert again(roi_subset=("aorta", "liver"), preview=True)
        (tmp_path / "out" / "prediction.json").write_text("{broken")
        assert again(roi_subset=("aorta", "liver"), preview=True)
        assert not again(roi_subset=("aorta", "liver"), preview=True)

    def test_another_scan_of_the_same_size_and_time_is_done_again(self, ct, model, tmp_path):
        run(ct, tmp_path / "out", model)
        state, content = ct.stat(), bytearray(ct.read_bytes())
        content[9] ^= 1  # the operating system in the gzip header
        ct.write_bytes(content)
        os.utime(ct, ns=(state.st_atime_ns, state.st_mtime_ns))
        (done,) = run(ct, tmp_path / "out", model)
        assert (done.error, done.skipped) == (None, False)

    def test_another_model_does_it_again(self, ct, model, tmp_path):
        run(ct, tmp_path / "out", model)
        other = make_model(tmp_path / "other", spacing_mm=5.0)
        weights = load_model(other)
        with torch.no_grad():
            weights.network.head.bias += 1
        save_model(weights, other)
        (done,) = run(ct, tmp_path / "out", other)
        assert not done.skipped

    @pytest.mark.parametrize("ml", [False, True])
    def test_statistics(self, ct, model, tmp_path, ml):
        run(ct, tmp_path / ("map.nii.gz" if ml else "out"), model, ml=ml, statistics=True)
        path = tmp_path / ("map.statistics.json" if ml else "out/statistics.json")
        found = json.loads(path.read_text())
        assert list(found) == list(LABELS.names)
        mask = segment(read_ct(ct), load_model(model), Request(ml=ml), compute=ON_CPU).mask("liver")
        assert mask.any()
        assert found["liver"]["volume_ml"] == pytest.approx(mask.sum() * 3 * 3 * 5 / 1000)
        assert found["liver"]["mean_hu"] == pytest.approx(read_ct(ct).hu[mask].mean())

    def test_statistics_of_many_are_one_table(self, ct, model, tmp_path):
        shutil.copy(ct, tmp_path / "b.nii.gz")
        write_nifti(
            tmp_path / "c.nii.gz",
            np.full((8, 8, 4), -1000, np.int16),
            SourceGrid((8, 8, 4), np.diag([3.0, 3.0, 5.0, 1.0])),
        )
        (tmp_path / "a.nii.gz").write_bytes(b"broken")
        for _ in range(2):
            run(tmp_path / "[abc].nii.gz", tmp_path / "out", model, statistics=True)
            with (tmp_path / "out" / "statistics.csv").open(newline="", encoding="utf-8") as stream:
                lines = list(csv.DictReader(stream))
            assert [(line["scan"], line["structure"]) for line in lines] == [(s, n) for s in "bc" for n in LABELS.names]
            for line in lines:
                entry = json.loads((tmp_path / "out" / line["scan"] / "statistics.json").read_text())[line["structure"]]
                x, y, z = entry.pop("centroid_mm") or ("", "", "")
                places = {"centroid_mm_x": x, "centroid_mm_y": y, "centroid_mm_z": z}
                expected = {key: "" if value is None else str(value) for key, value in (entry | places).items()}
                assert line == {"scan": line["scan"], "structure": line["structure"]} | expected

    def test_tables_of_scans_whose_names_are_no_utf8(self, ct, model, tmp_path):
        try:
            shutil.copy(ct, tmp_path / "a\udce9.nii.gz")
        except OSError:
            pytest.skip("this disk takes no such names")
        shutil.copy(ct, tmp_path / "b.nii.gz")
        done = run(tmp_path / "[ab]*.nii.gz", tmp_path / "out", model, statistics=True, triage=True, preview=True)
        assert [one.error for one in done] == [None, None]
        for table in ("statistics.csv", "triage.csv"):
            with (tmp_path / "out" / table).open(newline="", encoding="utf-8") as stream:
                assert {line["scan"] for line in csv.DictReader(stream)} == {"a_", "b"}

    def test_confidence(self, ct, model, tmp_path):
        (masks,) = run(ct, tmp_path / "out", model, confidence=True)
        (one,) = run(ct, tmp_path / "map.nii.gz", model, confidence=True, ml=True)
        names = load_model(model).record.labels.names
        assert masks.record["files"] == [*(f"{n}.nii.gz" for n in names), *(f"confidence/{n}.nii.gz" for n in names)]
        assert one.record["files"] == [*label_map_files(Path("map.nii.gz")), "map.confidence.nii.gz"]
        highest = read_label_map(tmp_path / "map.confidence.nii.gz")
        each = [read_label_map(tmp_path / "out" / "confidence" / f"{name}.nii.gz") for name in names]
        assert np.array_equal(highest, np.max(each, axis=0))
        for name, found in zip(names, each, strict=True):
            mask = read_mask(tmp_path / "out" / f"{name}.nii.gz")
            assert 0 < mask.mean() < 1
            assert found[mask].min() >= 127
            assert found[~mask].max() <= 128
        assert run(ct, tmp_path / "out", model, confidence=True)[0].skipped

    def test_a_threshold_makes_masks_smaller(self, ct, model, tmp_path):
        volumes = []
        for texts in ((), ("0.9",), ("0.9", "liver=0.5")):
            assert not run(ct, tmp_path / "out", model, threshold=texts)[0].skipped
            volumes.append([read_mask(tmp_path / "out" / f"{name}.nii.gz").sum() for name in ("aorta", "liver")])
        (aorta, liver), (smaller_aorta, smaller_liver), last = volumes
        assert smaller_aorta < aorta
        assert smaller_liver < liver
        assert last == [smaller_aorta, liver]

    def test_too_little_memory_fails_alone(self, ct, model, tmp_path):
        (done,) = predict(ct, tmp_path / "out", model, PredictOptions(), Compute(device="cpu", max_memory="1MB"))
        assert "expected a scan that fits into 0.00 GB" in done.error
        assert not (tmp_path / "out").exists()

    def test_many_have_a_manifest_too(self, ct, model, tmp_path):
        scans, out = tmp_path / "scans", tmp_path / "out"
        scans.mkdir()
        shutil.copy(ct, scans / "b.nii.gz")
        (scans / "a.nii.gz").write_bytes(b"broken")
        run(scans, out, model, ml=True)
        manifest = json.loads((out / "predictions.json").read_text())
        assert manifest["engine"]["device"] == "cpu"
        assert manifest["model_sha256"] == load_model(model).sha256
        failed, done = manifest["scans"]
        assert (failed["name"], failed["state"], failed["files"]) == ("a", "failed", None)
        assert "expected a NIfTI file" in failed["error"]
        assert (done["name"], done["state"], done["error"]) == ("b", "done", None)
        assert done["input"] == str(scans / "b.nii.gz")
        assert done["output"] == str(out / "b.nii.gz")
        assert done["files"] == label_map_files(Path("b.nii.gz"))
        assert {"read", "grid", "prepare", "network", "decisions", "write"} <= set(done["seconds"])
        assert done["peak_memory_bytes"] > 0
        run(scans, out, model, ml=True)
        again = json.loads((out / "predictions.json").read_text())["scans"]
        assert [scan["state"] for scan in again] == ["failed", "done before"]

    def test_parts_have_a_manifest_each(self, ct, model, tmp_path):
        for name in "abc":
            shutil.copy(ct, tmp_path / f"{name}.nii.gz")
        for part in ("1/2", "2/2"):
            run(tmp_path / "[abc].nii.gz", tmp_path / "out", model, ml=True, part=part)
        found = {
            name: [s["name"] for s in json.loads((tmp_path / "out" / name).read_text())["scans"]]
            for name in ("predictions_1_of_2.json", "predictions_2_of_2.json")
        }
        assert found == {"predictions_1_of_2.json": ["a", "c"], "predictions_2_of_2.json": ["b"]}

    def test_an_interrupted_command_tells_what_is_done(self, ct, model, tmp_path):
        for name in "ab":
            shutil.copy(ct, tmp_path / f"{name}.nii.gz")

        def stop(done):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            predict(tmp_path / "[ab].nii.gz", tmp_path / "out", model, compute=ON_CPU, on_scan=stop)
        assert [s["name"] for s in json.loads(manifest_path(tmp_path / "out").read_text())["scans"]] == ["a"]

    def test_a_place_that_cannot_be_written_is_told_before_the_scan_is_read(self, ct, model, tmp_path, monkeypatch):
        monkeypatch.setattr(workflow, "read_scan", None)
        monkeypatch.setattr(workflow, "load_model", None)
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="expected a folder to write into, got the file"):
            run(ct, tmp_path / "file" / "out", model)
        (tmp_path / "out" / "prediction.json").mkdir(parents=True)
        with pytest.raises(OutputError, match=r"prediction\.json: expected a file to write, got a folder"):
            run(ct, tmp_path / "out", model)

    def test_of_one_scan_of_many_the_others_are_done(self, ct, model, tmp_path):
        for name in "ab":
            shutil.copyfile(ct, tmp_path / f"{name}.nii.gz")
        (tmp_path / "out" / "a" / "liver.nii.gz").mkdir(parents=True)
        a, b = run(tmp_path / "[ab].nii.gz", tmp_path / "out", model)
        assert f"{tmp_path / 'out' / 'a' / 'liver.nii.gz'}: expected a file to write, got a folder" in a.error
        assert [path.name for path in (tmp_path / "out" / "a").iterdir()] == ["liver.nii.gz"]
        assert b.error is None

    def test_a_scan_that_fails_has_none(self, ct, model, tmp_path, monkeypatch):
        def fail(*args):
            raise OutputError("the disk is full")

        run(ct, tmp_path / "out", model)
        monkeypatch.setattr(results, "write_masks", fail)
        (done,) = run(ct, tmp_path / "out", model, roi_subset=("aorta",))
        assert (done.error, done.record) == ("the disk is full", None)
        assert not (tmp_path / "out" / "prediction.json").exists()


class TestRefused:
    def test_no_scan(self, tmp_path, model):
        with pytest.raises(InputError, match="none: expected a scan or a folder of scans, found nothing there"):
            run(tmp_path / "none", tmp_path / "out", model)
        (tmp_path / "empty").mkdir()
        with pytest.raises(
            InputError,
            match=r"expected DICOM, NIfTI, NRRD or MetaImage files, or folders with a ct\.nii\.gz each, found none",
        ):
            run(tmp_path / "empty", tmp_path / "out", model)

    def test_no_model(self, ct, tmp_path):
        with pytest.raises(ModelError, match=r"expected a model folder with model\.json"):
            run(ct, tmp_path / "out", tmp_path)

    def test_an_unknown_structure(self, ct, model, tmp_path):
        with pytest.raises(LabelError, match="got 'aort'; did you mean 'aorta'"):
            run(ct, tmp_path / "out", model, roi_subset=("aort",))

    def test_an_unknown_device(self, ct, model, tmp_path):
        with pytest.raises(ConfigError, match="expected a device of this machine, got 'abacus'"):
            predict(ct, tmp_path / "out", model, compute=Compute(device="abacus"))

    def test_a_batch_of_nothing(self):
        with pytest.raises(ConfigError, match="batch_size: expected a value greater than or equal to 1, got 0"):
            Compute(batch_size=0)

    @pytest.mark.parametrize("output", ["masks.nii.gz", "there.txt"])
    def test_a_file_for_masks(self, ct, model, tmp_path, output):
        (tmp_path / "there.txt").write_text("")
        with pytest.raises(OutputError, match="expected a folder for one mask per structure, got a file; add --ml"):
            run(ct, tmp_path / output, model)

    @pytest.mark.parametrize("label_map", [False, True])
    def test_a_file_for_many(self, ct, model, tmp_path, label_map):
        with pytest.raises(OutputError, match="expected a folder for the results of 1 scans, got a file"):
            run(ct.parent, tmp_path / "out.nii.gz", model, ml=label_map)

    @pytest.mark.parametrize("output", ["s0.nii.gz", ".", "../{}/s0.nii.gz"])
    @pytest.mark.parametrize("many", [False, True])
    def test_a_scan_is_never_overwritten(self, ct, model, output, many):
        folder, before = ct.parent, ct.read_bytes()
        output = folder / ("." if many else output.format(folder.name))
        with pytest.raises(
            OutputError,
            match=r"s0\.nii\.gz: expected an output other than the scan itself, got the same path; choose another",
        ):
            run(folder if many else ct, output, model, ml=True)
        assert ct.read_bytes() == before

    @pytest.mark.parametrize(
        ("voxels", "header", "message"),
        [
            (np.full(SHAPE, np.nan, np.float32), {}, "expected finite HU, got NaN or infinity"),
            (np.zeros((*SHAPE, 2), np.int16), {}, "expected 3 axes, got (6, 5, 4, 2)"),
            (np.zeros(SHAPE, np.int16), {"sform_code": 0}, "expected an orientation, got sform_code and qform_code 0"),
        ],
    )
    def test_bad_scans_have_one_line(self, tmp_path, model, voxels, header, message):
        (tmp_path / "bad.nii").write_bytes(nifti1(voxels, **header))
        (done,) = run(tmp_path / "bad.nii", tmp_path / "out", model)
        assert message in done.error
        assert "\n" not in done.error
        assert not (tmp_path / "out").exists()

    def test_nothing_half_written(self, ct, model, tmp_path, monkeypatch):
        def fail(segmentation, folder):
            original(segmentation, folder)
            raise OutputError("the disk is full")

        original = results.write_masks
        run(ct, tmp_path / "out", model)
        (tmp_path / "out" / "prediction.json").unlink()
        before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        monkeypatch.setattr(results, "write_masks", fail)
        (done,) = run(ct, tmp_path / "out", model)
        assert done.error == "the disk is full"
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def reoriented(array, affine, order, signs):
    """The same scan with file axis `i` along patient axis `order[i]`, in the direction `signs[i]`."""
    ornt = np.array([[axis, sign] for axis, sign in zip(order, signs, strict=True)])
    return nib.orientations.apply_orientation(array, _inverse(ornt)), affine @ nib.orientations.inv_ornt_aff(
        _inverse(ornt), array.shape
    )


def _inverse(ornt):
    return nib.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), ornt)


def geometry(path):
    """The bytes of a header that say where voxels lie: shape, pixdim, units, qform and sform."""
    header = nib.load(path).header
    fields = ("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d")
    fields += ("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z")
    return header["dim"][1:4].tobytes(), *(header[field].tobytes() for field in fields)


@pytest.fixture(scope="module")
def predictor(model):
    return Predictor(load_model(model), ON_CPU)


class TestOrientations:
    def check(self, predictor, hu, affine, folder, **options):
        """Predict one scan in 48 axis orders; compare voxels in RAS+ order, and headers to the last bit."""
        results, batch = set(), workflow._Batch.of(predictor, PredictOptions(**options))
        for number, (order, signs) in enumerate(ORIENTATIONS):
            array, turned = reoriented(hu, affine, order, signs)
            codes = (
                "LR"[signs[i] > 0] if order[i] == 0 else ("PA", "IS")[order[i] - 1][signs[i] > 0] for i in range(3)
            )
            assert nib.aff2axcodes(turned) == tuple(codes)
            path = folder / f"{number}.nii"
            nib.save(nib.Nifti1Image(array, turned), path)
            output = folder / (f"{number}_map.nii.gz" if batch.options.ml else str(number))
            (done,) = batch.all([Scan("s", path, output)], lambda *_: None)
            assert done.error is None
            names = batch.of_all["structures"]
            written = [output] if batch.options.ml else [output / f"{name}.nii.gz" for name in names]
            assert [geometry(file) for file in written] == [geometry(path)] * len(written)
            canonical = [nib.as_closest_canonical(nib.load(file)) for file in written]
            values = np.stack([np.asarray(image.dataobj) for image in canonical])
            results.add(values.tobytes())
        assert len(results) == 1
        return values

    def test_all_48(self, predictor, tmp_path):
        hu = scan()
        hu[1:4, 2:4, :2] = 300
        affine = AFFINE.copy()
        affine[:3, 3] = (-10.5, 20.25, 7)
        masks = self.check(predictor, hu, affine, tmp_path, roi_subset=("aorta",))
        assert masks.shape == (1, *SHAPE)
        assert 0 < masks.mean() < 1
        assert not np.array_equal(masks, masks[:, ::-1])

    def test_all_48_of_a_real_scan(self, predictor, tmp_path, test_data):
        volume = read_ct(test_data / "torso" / "ct.nii.gz")
        crop = np.ascontiguousarray(volume.hu[40:60, 30:48, 50:57])
        values = self.check(predictor, crop, volume.affine, tmp_path, ml=True)
        assert len(np.unique(values)) > 1

    def test_a_tilted_scan_keeps_its_affine(self, predictor, tmp_path):
        turn = np.array([[0.96, -0.28, 0], [0.28, 0.96, 0], [0, 0, 1.0]])
        affine = np.eye(4)
        affine[:3, :3] = turn * (2.9, 3.1, 5)
        write_nifti(tmp_path / "t.nii", scan(), SourceGrid(SHAPE, affine))
        tilted = Scan("t", tmp_path / "t.nii", tmp_path / "t")
        (done,) = workflow._Batch.of(predictor, ALL_MASKS).all([tilted], lambda *_: None)
        assert done.error is None
        assert geometry(tmp_path / "t" / "liver.nii.gz") == geometry(tmp_path / "t.nii")


def test_a_scan_called_ct_is_named_by_its_folder(tmp_path):
    for name in ("patient_7/ct.nii.gz", "other.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    for name, expected in (("patient_7/ct.nii.gz", "patient_7"), ("other.nii.gz", "other")):
        (scan_,) = find_scans(tmp_path / name, tmp_path / "out", label_map=False).scans
        assert scan_.name == expected


class TestUnforeseen:
    """Whatever is raised, wherever, is the end of one scan."""

    STAGES: ClassVar = {
        "reading": (workflow, "read_scan", lambda args: args[0].path.name == "b.nii.gz"),
        "looking": (workflow, "preflight", None),
        "segmenting": (workflow, "segment", None),
        "writing": (workflow, "write_result", lambda args: args[2].name == "b"),
        "drawing": (workflow, "write_preview", lambda args: args[2].name == "b"),
        "statistics": (workflow, "write_statistics", lambda args: args[1].name == "b"),
        "recording": (workflow, "write_record", lambda args: args[0].name == "b"),
    }

    @pytest.fixture
    def folder(self, ct, tmp_path):
        (tmp_path / "scans").mkdir()
        for seed, name in enumerate("abc"):
            write_nifti(tmp_path / "scans" / f"{name}.nii.gz", scan(seed), GRID)
        return tmp_path / "scans"

    @pytest.mark.parametrize("ml", [False, True])
    @pytest.mark.parametrize("stage", STAGES)
    def test_it_ends_one_scan_and_the_next_run_tries_it_again(
        self, folder, model, tmp_path, monkeypatch, capsys, stage, ml
    ):
        where, name, is_b = self.STAGES[stage]
        errors = {
            "reading": KeyError("rows"),
            "segmenting": RuntimeError("the engine broke"),
            "looking": ZeroDivisionError(),
        }
        error = errors.get(stage, ValueError("it broke"))
        original, b = getattr(where, name), read_ct(folder / "b.nii.gz").hu

        def breaks(*args, **options):
            if is_b(args) if is_b is not None else np.array_equal(args[0].hu, b):
                raise error
            return original(*args, **options)

        out = tmp_path / "out"
        flags = ["--statistics", "--device", "cpu", "--precision", "fp32"]
        more = [*(["--ml"] if ml else []), *(["--preview"] if stage == "drawing" else [])]
        command = ["predict", "-i", str(folder), "-o", str(out), "-m", str(model), *flags, *more]
        with monkeypatch.context() as patch:
            patch.setattr(where, name, breaks)
            assert main(command) == 1
        said = " ".join("".join(capsys.readouterr()).split())
        assert type(error).__name__ in said
        manifest = {one["name"]: one for one in json.loads((out / "predictions.json").read_text())["scans"]}
        assert {key: one["state"] for key, one in manifest.items()} == {"a": "done", "b": "failed", "c": "done"}
        own = json.loads((out / ("b.prediction.json" if ml else "b/prediction.json")).read_text())
        for told in (manifest["b"], own):
            assert told["traceback"].startswith("Traceback (most recent call last)")
            assert "in breaks" in told["traceback"]
            assert type(error).__name__ in told["error"]
        assert "expected no internal error, got" in manifest["b"]["error"]
        assert main(command) == 0
        manifest = {one["name"]: one for one in json.loads((out / "predictions.json").read_text())["scans"]}
        states = {key: one["state"] for key, one in manifest.items()}
        assert states == {"a": "done before", "b": "done", "c": "done before"}
        assert "traceback" not in manifest["b"]

    def test_an_interruption_is_no_error_of_a_scan(self, folder, model, tmp_path, monkeypatch):
        def interrupted(*args, **options):
            raise KeyboardInterrupt

        monkeypatch.setattr(workflow, "segment", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(folder, tmp_path / "out", model)

    def test_where_it_cannot_be_written_down_the_others_are_done_too(self, folder, model, tmp_path, monkeypatch):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "b").write_text("a file in the way")
        monkeypatch.setattr(workflow, "check_places", lambda scan, *_: 1 / (scan.name != "b"))
        a, b, c = run(folder, tmp_path / "out", model)
        assert (a.error, c.error) == (None, None)
        assert (
            b.error == "expected no internal error, got ZeroDivisionError: division by zero; please report it with the "
            "traceback"
        )
        assert "ZeroDivisionError" in b.traceback


@pytest.mark.parametrize("name", ["a.mhd", "a.nhdr"])
def test_other_voxels_beside_the_same_header_are_segmented_anew(ct, model, tmp_path, name):
    volume = SimpleITK.ReadImage(str(ct))
    SimpleITK.WriteImage(volume, str(tmp_path / name))
    for skipped in (False, True):
        assert [done.skipped for done in run(tmp_path / name, tmp_path / "out", model)] == [skipped]
    header = (tmp_path / name).stat().st_mtime_ns
    (tmp_path / "a.raw").write_bytes((tmp_path / "a.raw").read_bytes()[::-1])
    assert (tmp_path / name).stat().st_mtime_ns == header
    assert [done.skipped for done in run(tmp_path / name, tmp_path / "out", model)] == [False]
