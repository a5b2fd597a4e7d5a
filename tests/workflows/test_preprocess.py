import gzip
import json
import os

import numpy as np
import pytest

from tests.files.handmade import nifti1
from tests.workflows.datasets import AFFINE, GRID, SHAPE, scan, touch, write_masks_case
from tomoseg.config import GridConfig, PreprocessConfig
from tomoseg.errors import DatasetError, InputError, LabelError, OutputError
from tomoseg.files.nifti import read_ct, read_mask, write_nifti
from tomoseg.masks import unpack
from tomoseg.notices import Notice
from tomoseg.preprocessed.format import CASE_RECORD, CASES, CT, INDEX, MASKS, NATIVE
from tomoseg.preprocessed.read import Preprocessed, range_of
from tomoseg.volume import SourceGrid, as_axial
from tomoseg.workflows import preprocess as workflow
from tomoseg.workflows.planned_grid import planned_grid
from tomoseg.workflows.preprocess import preprocess

NATIVE_GRID = GridConfig(mode="native", crop="none")
CONFIG = PreprocessConfig(grid=NATIVE_GRID, workers=1, validation_share=0.3)
HALF = PreprocessConfig(grid=GridConfig(mode="size", size=(3, 3), crop="none"), workers=1, validation_share=0.3)


@pytest.fixture
def dataset(tmp_path):
    """Three cases; the third has no mask of the spleen: unknown there, not absent."""
    for seed, structures in enumerate([("liver", "spleen"), ("liver", "spleen"), ("liver",)]):
        write_masks_case(tmp_path / "data" / f"s{seed}", structures, seed)
    return tmp_path / "data"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def written(out):
    """When each case's record was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in (out / CASES).glob(f"*/{CASE_RECORD}")}


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class TestWhole:
    def test_what_comes_out(self, dataset, out):
        told, found = [], []
        report = preprocess(dataset, out, CONFIG, found.append, told.append)
        data = Preprocessed(out)
        assert [len(one.cases) for one in found] == [3]
        assert [(done.name, done.error, done.reused) for done in told] == [(f"s{n}", None, False) for n in range(3)]
        assert report.layout == "case folders"
        assert data.labels == report.labels
        assert data.labels.names == ("spleen", "liver")
        assert {case.name: case.split for case in data.cases} == report.splits
        assert sorted(report.splits.values()) == ["train", "train", "validation"]
        for seed, case in enumerate(data.cases):
            np.testing.assert_array_equal(case.ct(), scan(seed))
            liver = unpack(case.masks(), 2)[data.labels.channel("liver")]
            assert np.argwhere(liver).min(axis=0).tolist() == [0, 1, 1]
            assert liver.sum() == 2 * 3 * 2
        assert [case.record.annotated for case in data.cases] == [(0, 1), (0, 1), (1,)]
        assert report.ceilings == {"spleen": 1.0, "liver": 1.0}
        assert report.failed == {}

    def test_a_damaged_case_is_made_again(self, dataset, out):
        preprocess(dataset, out, CONFIG)
        good = (out / CASES / "s1" / CT).read_bytes()
        (out / CASES / "s0" / MASKS).unlink()
        (out / CASES / "s1" / CT).write_bytes(good[: len(good) // 2])
        told = []
        preprocess(dataset, out, CONFIG, on_case=told.append)
        assert {done.name: done.reused for done in told} == {"s0": False, "s1": False, "s2": True}
        assert (out / CASES / "s1" / CT).read_bytes() == good

    def test_what_is_half_made_again_cannot_be_opened(self, dataset, out):
        preprocess(dataset, out, CONFIG)
        preprocess(dataset, out, CONFIG)
        Preprocessed(out)  # nothing was made again
        touch(dataset / "s0" / "ct.nii.gz", 5)

        def stop(done):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            preprocess(dataset, out, CONFIG, on_case=stop)
        with pytest.raises(DatasetError, match=r"found none; run `tomoseg preprocess` to its end"):
            Preprocessed(out)
        preprocess(dataset, out, CONFIG)
        Preprocessed(out)

    def test_validation_cases_alone_keep_their_own_masks(self, dataset, out):
        report = preprocess(dataset, out, HALF)
        kept = {name for name in report.splits if (out / CASES / name / NATIVE).exists()}
        assert kept == {name for name, split in report.splits.items() if split == "validation"}
        assert len(kept) == 1

    def test_some_structures(self, dataset, out):
        config = CONFIG.model_copy(update={"structures": ("spleen",)})
        report = preprocess(dataset, out, config)
        assert report.labels.names == ("spleen",)
        assert [case.record.annotated for case in Preprocessed(out).cases] == [(0,), (0,), ()]

    def test_a_mask_left_out_is_unknown_and_others_stay(self, dataset, out):
        preprocess(dataset, out, CONFIG)
        preprocess(dataset, out, CONFIG.model_copy(update={"leave_out": ("s0/spleen", "s1/liver")}))
        cases = Preprocessed(out).cases
        assert [case.record.annotated for case in cases] == [(1,), (0,), (1,)]
        assert not unpack(cases[0].masks(), 2)[0].any()

    @pytest.mark.parametrize(
        ("mask", "message"),
        [
            ("s2/spleen", r"got 's2/spleen'; s2 has liver"),
            ("s9/liver", r"got 's9/liver'; there is no such case"),
            ("liver", r"expected CASE/STRUCTURE .* got 'liver'; there is no such case"),
        ],
    )
    def test_only_masks_that_are_there_can_be_left_out(self, dataset, out, mask, message):
        with pytest.raises(DatasetError, match=message):
            preprocess(dataset, out, CONFIG.model_copy(update={"leave_out": (mask,)}))
        assert not out.exists()

    def test_an_empty_mask_is_absent_and_has_no_ceiling(self, dataset, out):
        write_nifti(dataset / "s2" / "segmentations" / "spleen.nii.gz", np.zeros(SHAPE, bool), GRID)
        report = preprocess(dataset, out, CONFIG)
        record = {record.name: record for record in report.records}["s2"]
        assert record.annotated == (0, 1)
        assert record.voxels == {0: 0, 1: 12}
        assert record.ceiling == {1: 1.0}

    def test_a_structure_that_never_occurs_has_no_ceiling(self, tmp_path, out):
        write_masks_case(tmp_path / "data" / "a")
        write_nifti(tmp_path / "data" / "a" / "segmentations" / "colon.nii.gz", np.zeros(SHAPE, bool), GRID)
        assert preprocess(tmp_path / "data", out, CONFIG).ceilings == {"liver": 1.0, "colon": None}

    def test_ceilings_are_means_over_cases(self, dataset, out):
        report = preprocess(dataset, out, HALF)
        spleens = [record.ceiling[0] for record in report.records if 0 in record.ceiling]
        assert len(spleens) == 2
        assert report.ceilings["spleen"] == pytest.approx(sum(spleens) / 2)

    def test_two_processes_do_the_same(self, dataset, out, tmp_path):
        one = preprocess(dataset, out, CONFIG)
        two = preprocess(dataset, tmp_path / "other", CONFIG.model_copy(update={"workers": 2}))
        assert (two.records, two.splits, two.failed) == (one.records, one.splits, {})
        for left, right in zip(Preprocessed(out).cases, Preprocessed(tmp_path / "other").cases, strict=True):
            np.testing.assert_array_equal(left.ct(), right.ct())
            np.testing.assert_array_equal(left.masks(), right.masks())

    def test_warnings_name_their_case(self, dataset, out):
        write_nifti(dataset / "s1" / "ct.nii.gz", np.zeros(SHAPE, np.int16), GRID)
        (dataset / "docs").mkdir()
        write_nifti(dataset / "s9" / "ct.nii.gz", scan(), GRID)
        warnings = preprocess(dataset, out, CONFIG).warnings
        assert any("s9: a scan without masks was left out" in str(text) for text in warnings)
        assert [notice.kind for notice in warnings if isinstance(notice, Notice)] == ["one value"]
        assert any(str(text).startswith("s1: Every voxel is 0 HU") for text in warnings)
        assert len(warnings) == 2

    def test_one_warning_of_several_scans_is_told_once_without_their_paths(self, dataset, out):
        for name in ("s0", "s1"):  # bytes after the last voxel
            path = dataset / name / "ct.nii.gz"
            path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"more"))
        told = [str(text) for text in preprocess(dataset, out, CONFIG).warnings]
        assert [text for text in told if "bytes follow" in text] == [
            "s0, s1: bytes follow the last voxel and were ignored. Check the size in the header."
        ]


class TestAgain:
    def test_nothing_is_done_twice(self, dataset, out):
        first = preprocess(dataset, out, CONFIG)
        before = written(out)
        told = []
        second = preprocess(dataset, out, CONFIG, on_case=told.append)
        assert [done.reused for done in told] == [True] * 3
        assert written(out) == before
        assert second == first

    def test_a_changed_mask_alone_is_done_again(self, dataset, out):
        preprocess(dataset, out, CONFIG)
        before = written(out)
        path = dataset / "s1" / "segmentations" / "spleen.nii.gz"
        write_nifti(path, np.ones(SHAPE, bool), GRID)
        touch(path, 5)
        report = preprocess(dataset, out, CONFIG)
        assert {name for name, when in written(out).items() if when != before[name]} == {"s1"}
        assert report.records[1].voxels[0] == 120

    @pytest.mark.parametrize("name", ["segmentations/spleen.nii.gz", "ct.nii.gz"])
    def test_other_voxels_in_a_file_of_the_same_size_and_time_are_seen(self, dataset, out, name):
        path = dataset / "s1" / name
        read, kind = (read_mask, bool) if "spleen" in name else (lambda path: read_ct(path).hu, np.int16)
        voxels = read(path)
        uncompressed = path.with_name(path.name.removesuffix(".gz"))  # its size does not depend on what is in it
        path.unlink()
        write_nifti(uncompressed, voxels, GRID)
        first = preprocess(dataset, out, CONFIG)
        state = uncompressed.stat()
        write_nifti(uncompressed, np.ascontiguousarray(voxels[::-1]).astype(kind), GRID)
        os.utime(uncompressed, ns=(state.st_atime_ns, state.st_mtime_ns))
        assert (uncompressed.stat().st_size, uncompressed.stat().st_mtime_ns) == (state.st_size, state.st_mtime_ns)
        told = []
        second = preprocess(dataset, out, CONFIG, on_case=told.append)
        assert {done.name: done.reused for done in told} == {"s0": True, "s1": False, "s2": True}
        assert second.records[1].voxels == first.records[1].voxels
        assert second.records[1].contents != first.records[1].contents
        case = Preprocessed(out).cases[1]
        found = unpack(case.masks(), 2)[0] if kind is bool else case.ct()
        np.testing.assert_array_equal(found, voxels[::-1])

    @pytest.mark.parametrize("change", ["new structure", "new settings", "another split"])
    def test_what_else_is_done_again(self, dataset, out, change):
        preprocess(dataset, out, HALF)
        (out / INDEX).unlink()
        config, changed = HALF, {"s0", "s1", "s2"}
        if change == "new structure":
            write_nifti(dataset / "s0" / "segmentations" / "colon.nii.gz", np.zeros(SHAPE, bool), GRID)
        elif change == "new settings":
            config = HALF.model_copy(update={"grid": GridConfig(mode="size", size=(3, 2), crop="none")})
        else:
            changed = {case.name for case in (out / CASES).iterdir() if not (case / NATIVE).exists()}
            config = HALF.model_copy(update={"validation_share": 0.9})  # at most two of three
        told = []
        preprocess(dataset, out, config, on_case=told.append)
        redone = {done.name for done in told if not done.reused}
        assert redone <= changed
        assert len(redone) == (1 if change == "another split" else 3)

    def test_other_names_of_a_label_maps_values_are_noticed(self, tmp_path, out):
        case = tmp_path / "data" / "a"
        write_nifti(case / "ct.nii.gz", scan(), GRID)
        values = np.zeros(SHAPE, np.uint8)
        values[0], values[1:3] = 1, 2
        write_nifti(case / "labels.nii.gz", values, GRID)
        names = tmp_path / "data" / "labels.json"
        names.write_text(json.dumps({"1": "liver", "2": "spleen"}))
        first = preprocess(tmp_path / "data", out, CONFIG)
        assert first.records[0].voxels == {first.labels.channel("liver"): 20, first.labels.channel("spleen"): 40}
        names.write_text(json.dumps({"1": "spleen", "2": "liver"}))
        second = preprocess(tmp_path / "data", out, CONFIG)
        assert second.records[0].voxels == {first.labels.channel("liver"): 40, first.labels.channel("spleen"): 20}

    def test_a_new_case_is_added_and_a_removed_one_left_out(self, dataset, out):
        preprocess(dataset, out, CONFIG)
        write_masks_case(dataset / "s3", ("liver", "spleen"), 3)
        (dataset / "s0").rename(dataset / ".s0")
        told = []
        preprocess(dataset, out, CONFIG, on_case=told.append)
        assert [(done.name, done.reused) for done in told] == [("s1", True), ("s2", True), ("s3", False)]
        assert [case.name for case in Preprocessed(out).cases] == ["s1", "s2", "s3"]

    @pytest.mark.parametrize("key", ["difficulty", "parts", "contents", "tissue_hu"])
    def test_a_case_from_before_something_was_kept_is_written_anew(self, dataset, out, key):
        first = preprocess(dataset, out, CONFIG)
        path = out / CASES / "s1" / CASE_RECORD
        content = json.loads(path.read_text())
        del content[key]
        path.write_text(json.dumps(content))
        told = []
        assert preprocess(dataset, out, CONFIG, on_case=told.append).records == first.records
        assert [(done.name, done.reused) for done in told] == [("s0", True), ("s1", False), ("s2", True)]

    def test_left_overs_of_a_killed_run_go(self, dataset, out):
        (out / CASES / ".s0.0123456789ab.part").mkdir(parents=True)
        (out / CASES / ".s0.0123456789ab.part" / "ct.b2nd").write_bytes(b"half")
        preprocess(dataset, out, CONFIG)
        assert sorted(path.name for path in (out / CASES).iterdir()) == ["s0", "s1", "s2"]

    def test_an_interrupted_run_goes_on(self, dataset, out, monkeypatch):
        original = workflow.write_case

        def stop_at_the_second(case, folder, config, **options):
            if case.name == "s1":
                (folder / "ct.b2nd").write_bytes(b"half")
                raise KeyboardInterrupt
            return original(case, folder, config, **options)

        monkeypatch.setattr(workflow, "write_case", stop_at_the_second)
        with pytest.raises(KeyboardInterrupt):
            preprocess(dataset, out, CONFIG)
        assert {name.split("/")[1] for name in files_in(out)} == {"s0"}
        assert not (out / INDEX).exists()
        monkeypatch.undo()
        told = []
        preprocess(dataset, out, CONFIG, on_case=told.append)
        assert [done.reused for done in told] == [True, False, False]

    def test_a_failed_second_try_leaves_the_first_whole(self, dataset, out, monkeypatch):
        first = preprocess(dataset, out, CONFIG)
        touch(dataset / "s1" / "ct.nii.gz", 5)

        def fail(case, folder, config, **options):
            (folder / "ct.b2nd").write_bytes(b"half")
            raise OutputError("expected to write it, got: No space left on device; free some space")

        monkeypatch.setattr(workflow, "write_case", fail)
        report = preprocess(dataset, out, CONFIG)
        assert report.failed == {"s1": "expected to write it, got: No space left on device; free some space"}
        assert [record.name for record in report.records] == ["s0", "s2"]
        assert sorted(path.name for path in (out / CASES).iterdir()) == ["s0", "s1", "s2"]
        assert json.loads((out / CASES / "s1" / CASE_RECORD).read_text())["fingerprint"] == first.records[1].fingerprint


def write_raw(path, voxels=None, **header):
    voxels = scan() if voxels is None else voxels
    path.write_bytes(nifti1(voxels, sform=tuple(map(tuple, AFFINE[:3])), **header))


def bad_ct(case, kind):
    """Put something else in the place of a case's scan."""
    path = case / "ct.nii.gz"
    content = path.read_bytes()
    nan = scan().astype(np.float32)
    nan[1, 2, 3] = np.nan
    sform = AFFINE[:3].copy()
    make = {
        "missing": path.unlink,
        "cut": lambda: path.write_bytes(content[: len(content) // 2]),
        "text": lambda: path.write_text("a spreadsheet, perhaps"),
        "empty": lambda: path.write_bytes(b""),
        "4D": lambda: write_raw(path, np.zeros((*SHAPE, 2), np.int16)),
        "2D": lambda: write_raw(path, np.zeros(SHAPE[:2], np.int16)),
        "NaN": lambda: write_raw(path, nan),
        "no affine": lambda: path.write_bytes(nifti1(scan(), sform=((np.nan, 0, 0, 0), *sform[1:]))),
        "no spacing": lambda: path.write_bytes(nifti1(scan(), sform=((0, 0, 0, 0), *sform[1:]))),
        "no orientation": lambda: path.write_bytes(nifti1(scan(), sform_code=0)),
        "other grid": lambda: write_nifti(path, scan(shape=(6, 5, 3)), SourceGrid((6, 5, 3), AFFINE)),
        "shifted": lambda: write_nifti(path, scan(), SourceGrid(SHAPE, AFFINE + np.eye(4)[:, [3, 3, 3, 0]])),
    }
    make[kind]()


CT_PROBLEMS = {
    "cut": r"ct\.nii\.gz: expected .*(whole gzip file|it is cut short)",
    "text": r"ct\.nii\.gz: expected a NIfTI file",
    "empty": r"ct\.nii\.gz: expected a file with content, got an empty one",
    "4D": r"ct\.nii\.gz: expected 3 axes, got \(6, 5, 4, 2\); pass one volume",
    "2D": r"ct\.nii\.gz: expected 3 axes, got \(6, 5\); pass one volume",
    "NaN": r"ct\.nii\.gz: expected finite HU, got NaN or infinity",
    "no affine": r"ct\.nii\.gz: expected (a finite affine|lengths below)",
    "no spacing": r"ct\.nii\.gz: expected a positive spacing, got \[0\.0, 3\.0, 5\.0\] mm",
    "no orientation": r"ct\.nii\.gz: expected an orientation, got sform_code and qform_code 0",
    "other grid": r"expected the grid of .*ct\.nii\.gz, got 6 x 5 x 4 voxels, not 6 x 5 x 3: ",
    "shifted": r"expected the grid of .*ct\.nii\.gz, got its first voxel moved by ",
}


class TestBadInput:
    @pytest.mark.parametrize("kind", CT_PROBLEMS)
    def test_a_bad_scan_is_reported_and_left_out(self, dataset, out, kind):
        bad_ct(dataset / "s1", kind)
        report = preprocess(dataset, out, CONFIG)
        assert list(report.failed) == ["s1"]
        with pytest.raises(AssertionError, match=CT_PROBLEMS[kind]):
            raise AssertionError(report.failed["s1"])
        assert [case.name for case in Preprocessed(out).cases] == ["s0", "s2"]
        assert sorted(path.name for path in (out / CASES).iterdir()) == ["s0", "s2"]

    def test_a_scan_that_is_missing_is_told(self, dataset, out):
        bad_ct(dataset / "s1", "missing")
        report = preprocess(dataset, out, CONFIG)
        assert [record.name for record in report.records] == ["s0", "s2"]
        assert any("s1: a folder without a scan was left out; add ct.nii.gz" in text for text in report.warnings)

    @pytest.mark.parametrize(
        ("values", "message"),
        [(np.full(SHAPE, 2, np.uint8), "only 0 and 1, got 2"), (np.full(SHAPE, 0.5, np.float32), "0 and 1, got 0.5")],
    )
    def test_a_mask_of_other_values(self, dataset, out, values, message):
        write_nifti(dataset / "s1" / "segmentations" / "liver.nii.gz", values, GRID)
        failed = preprocess(dataset, out, CONFIG).failed
        assert list(failed) == ["s1"]
        assert message in failed["s1"]
        assert not (out / CASES / "s1").exists()

    def test_a_label_map_with_a_value_without_a_name(self, tmp_path, out):
        for name, highest in (("a", 1), ("b", 3)):
            write_nifti(tmp_path / "data" / name / "ct.nii.gz", scan(), GRID)
            write_nifti(tmp_path / "data" / name / "labels.nii.gz", np.full(SHAPE, highest, np.uint8), GRID)
        (tmp_path / "data" / "labels.json").write_text('{"1": "liver"}')
        report = preprocess(tmp_path / "data", out, CONFIG)
        assert list(report.failed) == ["b"]
        assert "expected a name for every value, got none for 3; name them in labels.json" in report.failed["b"]

    def test_one_bad_case_of_one(self, tmp_path, out):
        write_masks_case(tmp_path / "data" / "a")
        bad_ct(tmp_path / "data" / "a", "NaN")
        with pytest.raises(
            DatasetError, match=r"expected at least one usable case, got none; first: .*ct.nii.gz: expe"
        ):
            preprocess(tmp_path / "data", out, CONFIG)
        assert files_in(out) == []

    def test_an_unknown_structure(self, dataset, out):
        with pytest.raises(LabelError, match="got 'spleeen'; did you mean 'spleen'"):
            preprocess(dataset, out, CONFIG.model_copy(update={"structures": ("spleeen",)}))
        assert not out.exists()

    def test_a_name_that_comes_twice(self, tmp_path, out):
        write_nifti(tmp_path / "data" / "a" / "ct.nii.gz", scan(), GRID)
        write_nifti(tmp_path / "data" / "a" / "labels.nii.gz", np.ones(SHAPE, np.uint8), GRID)
        (tmp_path / "data" / "labels.json").write_text('{"1": "liver", "2": "liver"}')
        with pytest.raises(LabelError, match="expected each name once, got twice: liver"):
            preprocess(tmp_path / "data", out, CONFIG)

    def test_an_empty_dataset(self, tmp_path, out):
        (tmp_path / "data").mkdir()
        with pytest.raises(DatasetError, match="expected a dataset, got none; looked for"):
            preprocess(tmp_path / "data", out, CONFIG)
        with pytest.raises(DatasetError, match="expected a dataset folder, got no such folder"):
            preprocess(tmp_path / "none", out, CONFIG)

    def test_shares_that_leave_nothing_to_train_on(self, dataset, out):
        with pytest.raises(InputError, match="expected shares of 0 or more that add up to less than 1"):
            preprocess(dataset, out, CONFIG.model_copy(update={"validation_share": 0.6, "test_share": 0.5}))

    def test_an_output_of_another_grid(self, dataset, out):
        preprocess(dataset, out, CONFIG)
        before = written(out)
        with pytest.raises(
            DatasetError, match=r"in this folder, got another grid; choose another output folder or dele"
        ):
            preprocess(dataset, out, HALF)
        with pytest.raises(DatasetError, match="in this folder, got other structures; choose another"):
            preprocess(dataset, out, CONFIG.model_copy(update={"structures": ("liver",)}))
        assert written(out) == before

    @pytest.mark.parametrize("holding", ["model.json", "best/model.json", "views.json"])
    def test_an_output_that_is_a_model_or_a_run(self, dataset, out, holding):
        (out / holding).parent.mkdir(parents=True)
        (out / holding).write_text("{}")
        for begin in (preprocess, planned_grid):
            with pytest.raises(OutputError, match="expected a folder for the preprocessed dataset, got a model or a r"):
                begin(dataset, out, PreprocessConfig())
        assert files_in(out) == [holding]

    def test_an_output_that_is_the_dataset(self, dataset):
        before = files_in(dataset)
        for begin in (preprocess, planned_grid):
            with pytest.raises(OutputError, match="got the dataset itself; choose another output folder"):
                begin(dataset, dataset / ".." / dataset.name, PreprocessConfig())
        assert files_in(dataset) == before

    def test_other_files_in_the_output_are_left_alone(self, dataset, out):
        out.mkdir()
        (out / "notes.txt").write_text("mine")
        preprocess(dataset, out, CONFIG)
        assert (out / "notes.txt").read_text() == "mine"

    def test_an_output_that_is_a_file(self, dataset, out):
        out.write_text("a file")
        with pytest.raises(OutputError, match="expected a folder to write into, got a file"):
            preprocess(dataset, out, CONFIG)
        assert out.read_text() == "a file"

    def test_a_case_that_ends_its_workers_is_left_out(self, dataset, out, monkeypatch):
        def run_cases(work, cases, who, *, folders):
            assert who.on == "processes:2"
            assert folders.writes == out
            for number, case in enumerate(cases):
                yield number, work.lost(case, "it ended them") if number == 0 else work.one(case)

        monkeypatch.setattr(workflow, "run_cases", run_cases)
        report = preprocess(dataset, out, CONFIG.model_copy(update={"workers": 2}))
        assert report.failed == {"s0": "it ended them"}
        assert sorted(report.splits) == ["s1", "s2"]


class TestRealData:
    def test_the_torso(self, test_data, out):
        report = preprocess(test_data / "torso", out, CONFIG)
        assert report.failed == {}
        assert report.layout == "flat"
        assert len(report.labels) == 117
        torso = {record.name: record for record in report.records}["ct"]
        assert sum(voxels > 0 for voxels in torso.voxels.values()) == 61
        assert set(torso.ceiling.values()) == {1.0}
        assert torso.placement.is_whole((122, 101, 112))
        case = next(case for case in Preprocessed(out).cases if case.name == "ct")
        spleen = unpack(case.masks(), 117)[0]
        assert spleen.sum() == torso.voxels[0] > 1000
        assert np.flatnonzero(spleen.any(axis=(0, 1))).tolist() == torso.slices_of(0).tolist()


class TestViews:
    @pytest.mark.parametrize("view", ["coronal", "sagittal"])
    def test_the_same_voxels_in_another_order(self, view, dataset, tmp_path):
        grid = GridConfig(spacing_mm=6.0, slice_spacing_mm=5.0, crop="none")
        for name in ("axial", view):
            config = PreprocessConfig(grid=grid.model_copy(update={"view": name}), workers=1, validation_share=0.3)
            preprocess(dataset, tmp_path / name, config)
        axial, turned = Preprocessed(tmp_path / "axial"), Preprocessed(tmp_path / view)
        assert {case.name: case.split for case in axial.cases} == {case.name: case.split for case in turned.cases}
        assert range_of(axial.cases).spacing_mm == range_of(turned.cases).spacing_mm
        for one, other in zip(axial.cases, turned.cases, strict=True):
            assert one.shape == (3, 2, 4)
            assert np.abs(one.ct() - as_axial(other.ct(), view)).max() <= 1  # sums in another order
            assert np.array_equal(one.masks(), as_axial(other.masks(), view))
            assert one.record.voxels == other.record.voxels
            if one.split == "validation":
                native = np.stack([other.native_masks_slice(k) for k in range(other.record.source.shape[2])], -1)
                expected = np.stack([one.native_masks_slice(k) for k in range(4)], -1)
                assert np.array_equal(as_axial(native, view), expected)

    def test_a_dataset_of_another_view_is_another_grid(self, dataset, out):
        preprocess(dataset, out, CONFIG)
        coronal = CONFIG.model_copy(update={"grid": NATIVE_GRID.model_copy(update={"view": "coronal"})})
        with pytest.raises(DatasetError, match="got another grid"):
            preprocess(dataset, out, coronal)
