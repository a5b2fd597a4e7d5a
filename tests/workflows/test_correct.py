import csv
import errno
import itertools
import json
import os
import threading

import nibabel
import numpy as np
import pytest

from tests.example_files import body, write_example_files
from tests.files.dicom.series import image, save
from tomoseg.config import GridConfig, PreprocessConfig
from tomoseg.datasets.corrections import latest
from tomoseg.errors import DatasetError, GridError, InputError, OutputError
from tomoseg.files.cohort import find_cohort
from tomoseg.files.nifti import write_nifti
from tomoseg.files.no_scan import known_as
from tomoseg.files.scan import look, read_scan
from tomoseg.labels import LabelSet
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.volume import SourceGrid
from tomoseg.workflows import correct
from tomoseg.workflows.correct import read_reviews, save_correction, save_review
from tomoseg.workflows.preprocess import preprocess
from tomoseg.workflows.view import find_views, open_scene

LIVER = LabelSet.total()["liver"]


def _orientations():
    """All 48: every order of the axes, and every choice of directions."""
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            yield order, signs


@pytest.mark.parametrize(("order", "signs"), list(_orientations()))
def test_a_correction_comes_back_on_its_own_voxels_in_every_orientation(tmp_path, rng, order, signs):
    affine = np.eye(4)
    affine[:3, :3] = np.diag(np.multiply((2.0, 3.0, 4.0), signs))[:, order]
    affine[:3, 3] = (10, -20, 30)
    shape = (4, 5, 6)
    hu = rng.integers(-1000, 1000, shape).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(hu, affine), tmp_path / "ct.nii.gz")
    (case,) = find_views(tmp_path / "ct.nii.gz").cases
    scene = open_scene(case)
    drawn = scene.hu > 300  # on the voxels that the page was sent
    made = save_correction(tmp_path / "corrections" / "ct", LIVER, drawn, scene.grid, "me")
    written = nibabel.load(made.mask)
    np.testing.assert_array_equal(np.asarray(written.dataobj), hu > 300)
    np.testing.assert_array_equal(written.affine, affine)


def test_versions_are_never_written_over_and_say_who_and_when(tmp_path):
    grid = SourceGrid((4, 4, 4), np.eye(4))
    one, other = np.zeros((2, 4, 4, 4), bool)
    other[1] = True
    folder = tmp_path / "corrections" / "case"
    first = save_correction(folder, LIVER, one, grid, "Ana")
    before = first.mask.read_bytes()
    second = save_correction(folder, LIVER, other, grid, "Bé", ["nrrd", "dicom-seg"])
    assert (first.version, second.version) == (1, 2)
    assert first.mask.read_bytes() == before
    assert sorted(path.name for path in second.mask.parent.iterdir()) == [
        "correction.json",
        "liver.nii.gz",
        "segmentation.seg.dcm",
        "segmentation.seg.nrrd",
    ]
    record = json.loads((second.mask.parent / "correction.json").read_text(encoding="utf-8"))
    assert (record["who"], record["voxels"], record["version"]) == ("Bé", 16, 2)
    assert latest(folder)["liver"].mask == second.mask
    (folder / ".0003.part").mkdir()  # of a save that was cut
    (folder / "0003").mkdir()
    assert save_correction(folder, LIVER, one, grid, "Ana").version == 4


def test_versions_that_are_saved_at_the_same_time_get_numbers_of_their_own(tmp_path, monkeypatch):
    """Another process, which knows nothing of this one, saves a version while this one writes the same number."""
    grid, spleen = SourceGrid((4, 4, 4), np.eye(4)), LabelSet.total()["spleen"]
    write, made = correct.write_masks, []

    def saves_another_first(*given):
        monkeypatch.setattr(correct, "write_masks", write)
        made.append(save_correction(tmp_path, spleen, np.ones((4, 4, 4), bool), grid, "Bé"))
        write(*given)

    monkeypatch.setattr(correct, "write_masks", saves_another_first)
    made.append(save_correction(tmp_path, LIVER, np.ones((4, 4, 4), bool), grid, "Ana"))
    assert sorted(one.version for one in made) == [1, 2]
    assert {name: (one.version, one.who) for name, one in latest(tmp_path).items()} == {
        one.structure: (one.version, one.who) for one in made
    }
    assert all(sorted(path.name for path in one.mask.parent.iterdir())[0] == "correction.json" for one in made)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0001", "0002"]


def test_a_version_that_cannot_be_written_leaves_its_number_free(tmp_path, monkeypatch):
    def full(*given):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    grid = SourceGrid((4, 4, 4), np.eye(4))
    with monkeypatch.context() as patched:
        patched.setattr(correct, "write_masks", full)
        with pytest.raises(OutputError, match="No space left on device"):
            save_correction(tmp_path, LIVER, np.ones((4, 4, 4), bool), grid, "Ana")
    assert list(tmp_path.iterdir()) == []
    assert save_correction(tmp_path, LIVER, np.ones((4, 4, 4), bool), grid, "Ana").version == 1


def test_a_verdict_saved_at_the_same_time_is_not_lost(tmp_path, monkeypatch):
    """Of two processes the second waits until the first has written."""
    pytest.importorskip("fcntl")
    rows, others = correct._rows, []

    def read(path):
        found = rows(path)
        if not others:
            others.append(threading.Thread(target=save_review, args=(tmp_path, "b", "right", "you")))
            others[0].start()
        return found

    monkeypatch.setattr(correct, "_rows", read)
    save_review(tmp_path, "a", "right", "me")
    others[0].join()
    assert read_reviews(tmp_path) == {"a": "right", "b": "right"}


def test_a_correction_in_dicom_is_not_said_to_be_automatic(tmp_path):
    from pydicom import dcmread

    grid = SourceGrid((4, 4, 4), np.eye(4))
    made = save_correction(tmp_path / "case", LIVER, np.ones((4, 4, 4), bool), grid, "Zoe Q", ["dicom-seg"])
    written = dcmread(made.mask.parent / "segmentation.seg.dcm")
    assert written.SegmentSequence[0].SegmentAlgorithmType == "SEMIAUTOMATIC"
    assert "Zoe" not in str(written)


def test_other_voxels_are_refused(tmp_path):
    grid = SourceGrid((4, 4, 4), np.eye(4))
    with pytest.raises(GridError, match=r"expected a mask on the scan's voxels \(4, 4, 4\), got \(4, 4, 5\)"):
        save_correction(tmp_path / "case", LIVER, np.ones((4, 4, 5), bool), grid, "")
    assert not (tmp_path / "case").exists()


def test_verdicts_are_kept_changed_and_taken_back(tmp_path):
    save_review(tmp_path, "a, b", "right", "me")
    save_review(tmp_path, "c", "needs work", "me")
    save_review(tmp_path, "a, b", "needs work", "you")
    assert read_reviews(tmp_path) == {"a, b": "needs work", "c": "needs work"}
    save_review(tmp_path, "c", None, "me")
    with (tmp_path / "reviews.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["case"], row["who"]) == ("a, b", "you")
    (tmp_path / "reviews.csv").write_text("name\nx\n")
    with pytest.raises(InputError, match="expected the columns case, verdict, who, when"):
        read_reviews(tmp_path)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    write_example_files(folder)
    return folder / "DATASET"


def _preprocessed(dataset, output, corrections=None):
    settings = PreprocessConfig(grid=GridConfig(spacing_mm=8.0), workers=1)
    return preprocess(dataset, output, settings, corrections=corrections)


def test_preprocess_takes_the_last_version_of_each_structure(dataset, tmp_path):
    grid = SourceGrid((48, 40, 12), np.diag([8.0, 8.0, 10.0, 1.0]))
    corrected = np.zeros(grid.shape, bool)
    corrected[20:30, 10:20, 4:8] = True
    folder = tmp_path / "corrections" / "case2"
    save_correction(folder, LIVER, ~corrected, grid, "me")
    save_correction(folder, LIVER, corrected, grid, "me")
    save_correction(tmp_path / "corrections" / "stranger", LIVER, corrected, grid, "me")
    save_correction(folder, LabelSet.total()["heart"], corrected, grid, "me")
    report = _preprocessed(dataset, tmp_path / "out", tmp_path / "corrections")
    assert len(report.left_out) == 2
    assert "these corrections belong to no case of" in report.left_out[0] + report.left_out[1]
    assert "this correction belongs to no structure of the" in report.left_out[0] + report.left_out[1]
    voxels = _voxels(tmp_path / "out", "case2")
    assert voxels["liver"] == corrected.sum()
    assert voxels["spleen"] == body(2)[1]["spleen"].sum()
    again = _preprocessed(dataset, tmp_path / "out")  # without them the case is made anew
    assert again.left_out == ()
    assert _voxels(tmp_path / "out", "case2")["liver"] == body(2)[1]["liver"].sum()


def _voxels(folder, name):
    data = Preprocessed(folder)
    (case,) = (case for case in data.split("validation") if case.name == name)
    masks = np.unpackbits(case.masks(), axis=0, count=2, bitorder="little")
    return dict(zip(data.labels.names, masks.sum(axis=(1, 2, 3)).tolist(), strict=True))


def test_a_correction_of_another_grid_fails_its_case_alone(dataset, tmp_path):
    save_correction(
        tmp_path / "corrections" / "case0", LIVER, np.ones((4, 4, 4), bool), SourceGrid((4, 4, 4), np.eye(4)), ""
    )
    report = _preprocessed(dataset, tmp_path / "out", tmp_path / "corrections")
    assert list(report.failed) == ["case0"]
    assert "expected the grid of" in report.failed["case0"]


@pytest.mark.parametrize("made", ["nothing", "empty", "damaged", "no mask"])
def test_corrections_that_are_none(dataset, tmp_path, made):
    folder = tmp_path / "corrections"
    version = folder / "case0" / "0001"
    if made != "nothing":
        version.mkdir(parents=True)
    if made == "damaged":
        (version / "correction.json").write_text("{")
    if made == "no mask":
        (version / "correction.json").write_text('{"structure": "liver", "who": "", "when": ""}')
    words = {
        "nothing": "expected a folder of corrections, got",
        "empty": "expected CASE/0001/STRUCTURE.nii.gz, got none",
        "damaged": "expected a record of the correction, got: Expecting",
        "no mask": "expected the mask of a correction, got",
    }
    with pytest.raises(DatasetError, match=words[made]):
        _preprocessed(dataset, tmp_path / "out", folder)


def test_the_viewer_shows_the_last_version(dataset, tmp_path):
    ct = dataset / "train" / "case0" / "ct.nii.gz"
    views = find_views(ct, [ct.parent / "segmentations"])
    assert views.beside == ct.parent / "corrections"
    (case,) = views.cases
    assert case.name == "case0"
    before = open_scene(case, corrections=tmp_path)
    mask = np.zeros(before.hu.shape, bool)
    mask[3:9, 3:9, 3:9] = True
    save_correction(tmp_path / "case0", LIVER, mask, before.grid, "me")
    after = open_scene(case, corrections=tmp_path)
    found = {entry.structure.name: (n, entry.version) for n, entry in enumerate(after.entries)}
    number, version = found["liver"]
    np.testing.assert_array_equal(after.cells.mask(number), mask)
    assert version == 1
    assert found["spleen"][1] is None


def test_corrections_within_a_dataset_are_neither_its_cases_nor_scans(tmp_path):
    write_example_files(tmp_path)
    dataset = tmp_path / "DATASET"
    grid = SourceGrid((48, 40, 12), np.diag([8.0, 8.0, 10.0, 1.0]))
    inside = np.zeros(grid.shape, bool)
    inside[3:9, 3:9, 3:9] = True
    for folder in (dataset / "corrections", dataset / "train" / "case0" / "corrections"):
        save_correction(folder / "case0", LIVER, inside, grid, "me", ["nrrd", "dicom-seg"])
    report = _preprocessed(dataset, tmp_path / "out", dataset / "corrections")
    assert [record.name for record in report.records] == [f"case{n}" for n in range(4)]
    assert report.left_out == ()
    cohort = find_cohort(dataset)
    assert (len(cohort.scans), cohort.left_out, cohort.others["results of tomoseg"]) == (4, (), 6)
    (mask,) = (dataset / "corrections").rglob("liver.nii.gz")
    assert known_as(look(mask)) == "a result of tomoseg"


def test_what_is_drawn_on_a_tilted_series_comes_back_on_its_own_slices_and_is_learned(tmp_path):
    """A bright block, drawn as it is seen. Each slice is moved by a whole pixel, so that nothing is interpolated."""
    from pydicom import dcmread

    stored = np.full((9, 24, 20), -1000, np.int16)  # slices, rows, columns
    for k in range(9):
        stored[k, 3 : 21 - k, 3:17] = 40
        stored[k, 14 - k : 18 - k, 6:11] = 900 if 2 <= k < 7 else 40
    places = [(5.0, -7.0 + 1.5 * k, 3.0 * k) for k in range(9)]
    ct = tmp_path / "dataset" / "case" / "ct"
    save([image(one, place, k, (1.5, 1.0)) for k, (one, place) in enumerate(zip(stored, places, strict=True))], ct)
    scan = read_scan(ct)
    assert not scan.source.slices.are_planes
    (case,) = find_views(ct).cases
    scene = open_scene(case)
    drawn = scene.hu > 500  # on the voxels that the page was sent
    assert drawn.sum() == (stored > 500).sum() == 100
    folder = tmp_path / "corrections" / "case"
    made = save_correction(folder, LIVER, drawn, scene.grid, "me", ["dicom-seg"])

    written = nibabel.load(made.mask)
    assert written.shape == scan.source.shape
    np.testing.assert_allclose(written.affine, scan.source.affine, atol=1e-5)
    segmentation = dcmread(made.mask.with_name("segmentation.seg.dcm"))
    frames = dict.fromkeys(range(9), 0)
    for frame, pixels in zip(segmentation.PerFrameFunctionalGroupsSequence, segmentation.pixel_array, strict=True):
        k = places.index(tuple(map(float, frame.PlanePositionSequence[0].ImagePositionPatient)))
        np.testing.assert_array_equal(pixels > 0, stored[k] > 500)
        frames[k] = int(pixels.sum())
    assert list(frames.values()) == [0, 0, 20, 20, 20, 20, 20, 0, 0]

    write_nifti(ct.parent / "segmentations" / "liver.nii.gz", np.zeros(scan.shape, bool), scan.source)
    settings = PreprocessConfig(grid=GridConfig(mode="native", crop="none"), validation_share=0, workers=1)
    report = preprocess(tmp_path / "dataset", tmp_path / "out", settings, corrections=folder.parent)
    assert (report.failed, report.left_out) == ({}, ())
    (learned,) = Preprocessed(tmp_path / "out").cases
    np.testing.assert_array_equal(np.unpackbits(learned.masks(), axis=0, count=1, bitorder="little")[0] > 0, drawn)
