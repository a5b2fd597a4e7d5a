"""Which scans lie below a folder, what is left out, and what each is called."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from tests.checks.bodies import body
from tests.files.dicom.series import NAME, PATIENT_ID, image, save
from tests.workflows.predicting import make_model, run
from tomoseg.cli import main
from tomoseg.errors import InputError
from tomoseg.files.nifti import read_label_map, write_nifti
from tomoseg.files.scan import read_scan
from tomoseg.terminal.found import scans_in_words
from tomoseg.workflows.scan_names import names_of
from tomoseg.workflows.scans import find_scans

VOLUME = body("abdomen")
SLICES = VOLUME.shape[2]


def slices(folder, patient, numbers=range(SLICES), **tags):
    """Slices of a body in DICOM, of a patient with a study and a series of his own."""
    number = sum(patient.encode())
    own = {"PatientID": patient, "StudyInstanceUID": f"1.2.3.4.5.{number}", "SeriesInstanceUID": f"1.2.3.4.6.{number}"}
    made = [
        image(np.ascontiguousarray(VOLUME.hu[:, :, k].T), (0, 0, 6.0 * k), k + 1, pixel=(6, 6), **own | tags)
        for k in numbers
    ]
    return save(made, folder)


def labels(path):
    write_nifti(path, (VOLUME.hu > 0).astype(np.uint8), VOLUME.source)


def volume(path):
    if path.name.endswith(".nii.gz"):
        write_nifti(path, VOLUME.hu, VOLUME.source)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        made = SimpleITK.GetImageFromArray(VOLUME.hu.transpose(2, 1, 0))
        made.SetSpacing((6, 6, 6))
        SimpleITK.WriteImage(made, str(path))


def found(folder, **options):
    return find_scans(folder, folder.parent / "out", True, **options)


def names(folder, **options):
    return [scan.name for scan in found(folder, **options).scans]


def left_out(folder):
    return found(folder).reasons()


@pytest.fixture
def cohort(tmp_path):
    return tmp_path / "cohort"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("models") / "model", spacing_mm=24.0, slice_spacing_mm=24.0)


def test_patients_studies_and_volumes_of_all_kinds_as_deep_as_they_lie(cohort):
    slices(cohort / "p1" / "study" / "CT", "1")
    slices(cohort / "p2" / "1.3.6.1.4.1.14519.5" / "CT", "2")
    volume(cohort / "n.nii.gz")
    volume(cohort / "deep" / "er" / "m.mha")
    volume(cohort / "deep" / "r.nrrd")
    volume(cohort / "p3" / "ct.nii.gz")
    labels(cohort / "p3" / "segmentations" / "liver.nii.gz")
    (cohort / "notes.txt").write_text("no scan")
    assert names(cohort) == ["m", "n", "p1_study_CT", "p2_CT", "p3", "r"]
    assert scans_in_words(found(cohort)) == (
        "6 scans: 2 DICOM, 2 NIfTI, 1 NRRD, 1 MetaImage; no scans: 1 mask beside a ct.nii.gz"
    )


class TestDicom:
    def test_patients_in_one_folder_are_a_scan_each(self, cohort, model):
        slices(cohort / "dump", "1", range(8))
        for path in (cohort / "dump").iterdir():
            path.rename(path.with_name(f"a{path.name}"))
        slices(cohort / "dump", "2")
        assert names(cohort) == ["dump_1", "dump_2"]
        done = run(cohort, cohort.parent / "out", model, ml=True)
        shapes = [read_label_map(one.scan.output).shape[2] for one in done]
        assert sorted(shapes) == [8, SLICES]
        assert [one.error for one in done] == [None, None]

    def test_two_studies_of_a_patient_in_one_folder_are_two_scans(self, cohort):
        slices(cohort, "1", range(8), StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.3.1")
        for path in cohort.iterdir():
            path.rename(path.with_name(f"a{path.name}"))
        slices(cohort, "1")
        assert len(found(cohort).scans) == 2

    def test_a_study_for_each_image_is_made_up(self, cohort):
        made = slices(cohort, "1")
        for k in range(SLICES):
            slices(cohort / "aside", "1", [k], StudyInstanceUID=f"1.2.{k}")
            (cohort / "aside" / "000.dcm").rename(made / f"{k:03}.dcm")
        (cohort / "aside").rmdir()
        assert [scan.is_only for scan in found(cohort).scans] == [True]

    def test_a_series_that_is_cut_over_folders_is_one_scan(self, cohort):
        slices(cohort / "p" / "A", "1", range(7))
        slices(cohort / "p" / "B", "1", range(7, SLICES))
        volume(cohort / "n.nii.gz")
        assert names(cohort) == ["n", "p"]
        assert read_scan(found(cohort).scans[1].source()).shape == VOLUME.shape

    def test_patients_with_the_same_identifiers_stay_apart(self, cohort):
        for name in ("a", "b", "c"):
            slices(cohort / name, "1")
        assert names(cohort) == ["a", "b", "c"]

    def test_series_in_one_folder_are_one_scan_and_in_folders_of_their_own_several(self, cohort):
        for place in ("one/x", "two"):
            slices(cohort / place, "1")
            (cohort / place).rename(cohort / "aside")
            slices(cohort / place, "1", range(5), SeriesInstanceUID="1.9", SeriesNumber=9)
            if place == "two":
                (cohort / "aside").rename(cohort / place / "more")
            else:
                for path in (cohort / "aside").iterdir():
                    path.rename(cohort / place / f"a{path.name}")
                (cohort / "aside").rmdir()
        assert names(cohort / "one") == ["one"]
        read = read_scan(found(cohort / "one").scans[0].source())
        assert read.shape == VOLUME.shape
        assert "several series" in {notice.kind for notice in read.warnings}
        (lost,) = left_out(cohort / "one")
        assert lost.startswith("x (series 2 of 2, axial, 5 images of")
        assert lost.endswith("; --series 2 takes it)")
        assert found(cohort / "one", series=2).reasons() == []
        assert len(found(cohort / "two").scans) == 2
        assert names(cohort / "two", series=2) == ["two"]

    def test_what_is_no_ct_is_left_out_and_what_is_made_from_scans_is_counted(self, cohort):
        slices(cohort / "a", "1")
        slices(cohort / "mr", "2", range(4), Modality="MR")
        slices(cohort / "dose", "1", range(2), Modality="RTDOSE")
        slices(cohort / "scout", "1", range(1), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
        assert left_out(cohort) == ["mr (images of modality MR (4))"]
        assert found(cohort).others == {"dose grids": 2, "localizers": 1}

    def test_no_ct_at_all_is_said(self, cohort, model):
        slices(cohort / "dose", "1", range(2), Modality="RTDOSE")
        (done,) = run(cohort, cohort.parent / "out", model)
        assert "expected CT slices, got images of modality RTDOSE (2)" in done.error


class TestLost:
    def test_a_dead_link_among_slices_is_named_and_the_stack_is_not_whole(self, cohort, model, capsys):
        slices(cohort, "1")
        (cohort / "099.dcm").symlink_to("/nowhere/at/all")
        arguments = ["-i", str(cohort), "-o", str(cohort.parent / "out"), "-m", str(model)]
        assert main(["predict", *arguments]) == 1
        shown = capsys.readouterr()
        assert "1 scan: 1 DICOM; left out: 099.dcm (a link to nothing)" in shown.err
        assert "1 file cannot be read (099.dcm: a link to nothing); slices may be missing" in shown.err

    def test_the_same_where_the_folder_is_read_alone(self, cohort):
        slices(cohort, "1")
        (cohort / "099.dcm").symlink_to("/nowhere/at/all")
        (notice,) = read_scan(cohort).warnings
        assert (notice.kind, "099.dcm: a link to nothing" in notice.message) == ("unreadable files", True)

    def test_links_to_nothing_and_folders_that_cannot_be_listed(self, cohort, monkeypatch):
        volume(cohort / "a.nii.gz")
        (cohort / "b.nii.gz").symlink_to("/nowhere/at/all")
        (cohort / "p").mkdir()
        scandir = os.scandir

        def fail(path):
            if Path(path).name == "p":
                raise PermissionError(13, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", fail)
        assert left_out(cohort) == ["b.nii.gz (a link to nothing)", "p (permission denied)"]

    def test_a_slice_that_vanishes_before_it_is_opened(self, cohort, monkeypatch):
        slices(cohort, "1")
        opened = Path.open

        def fail(path, *arguments, **options):
            if path.name == "003.dcm":
                raise FileNotFoundError(2, "No such file or directory")
            return opened(path, *arguments, **options)

        monkeypatch.setattr(Path, "open", fail)
        assert left_out(cohort) == ["003.dcm (no such file or directory)"]

    @pytest.mark.parametrize(
        ("keep", "reason"),
        [(400, "a damaged DICOM file"), (0, "an empty file"), (100, "not DICOM, despite its name")],
    )
    def test_a_damaged_slice(self, cohort, keep, reason):
        slices(cohort, "1")
        (cohort / "notes.txt").touch()
        (cohort / "003.dcm").write_bytes((cohort / "003.dcm").read_bytes()[:keep])
        assert left_out(cohort) == [f"003.dcm ({reason})"]
        (one,) = found(cohort).scans
        assert "unreadable files" in {notice.kind for notice in read_scan(one.source()).warnings}

    def test_a_link_to_a_patient_elsewhere_is_followed(self, cohort):
        slices(cohort.parent / "elsewhere", "1")
        volume(cohort / "a.nii.gz")
        (cohort / "p").symlink_to(cohort.parent / "elsewhere")
        assert names(cohort) == ["a", "p"]


@pytest.mark.parametrize("count", [1, 2])
def test_an_output_that_is_a_link_to_itself(cohort, model, capsys, count):
    for number in range(count):
        volume(cohort / f"{number}.nii.gz")
    (cohort.parent / "loop").symlink_to(cohort.parent / "loop")
    assert main(["predict", "-i", str(cohort), "-o", str(cohort.parent / "loop"), "-m", str(model)]) == 2
    assert "loop: expected a folder to write into, got a broken link; choose another output" in capsys.readouterr().err


def packed(archive, *folders):
    """Folders in an archive, each under its own name."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(archive, "w") as made:
        for folder in folders:
            for path in sorted(folder.rglob("*.dcm")):
                made.write(path, path.relative_to(folder.parent))
    return archive


class TestArchives:
    @pytest.fixture
    def archive(self, tmp_path):
        """Two patients, the second with a second series and an MR."""
        made = [slices(tmp_path / "in" / "p1" / "CT", "1", range(8)), slices(tmp_path / "in" / "p2" / "CT", "2")]
        slices(tmp_path / "aside", "2", range(5), SeriesInstanceUID="1.9", SeriesNumber=9)
        for path in (tmp_path / "aside").iterdir():
            path.rename(made[1] / f"a{path.name}")
        slices(tmp_path / "in" / "p2" / "MR", "2", range(4), Modality="MR", SeriesInstanceUID="1.8")
        return packed(tmp_path / "cohort" / "all.zip", tmp_path / "in" / "p1", tmp_path / "in" / "p2")

    @pytest.mark.parametrize("place", ["file", "folder", "list"])
    def test_every_patient_of_an_archive_is_found(self, archive, place):
        (archive.parent.parent / "list.txt").write_text(f"{archive}\n")
        named = {"file": archive, "folder": archive.parent, "list": archive.parent.parent / "list.txt"}[place]
        seen = found(named)
        archives_name = "" if place == "list" else "all_"
        assert [scan.name for scan in seen.scans] == [f"{archives_name}p1_CT", f"{archives_name}p2_CT"]
        assert [read_scan(scan.source()).shape[2] for scan in seen.scans] == [8, SLICES]
        series, mr = sorted(seen.reasons())
        assert "p2/MR (images of modality MR (4))" in mr
        assert "p2/CT (series 2 of 2, axial, 5 images" in series

    def test_one_result_for_each(self, archive, model, capsys):
        out = archive.parent / "out"
        arguments = ["predict", "-i", str(archive), "-o", str(out), "-m", str(model), "--ml"]
        assert main(arguments) == 1  # for what is left out
        assert sorted(path.name for path in out.glob("*.nii.gz")) == ["all_p1_CT.nii.gz", "all_p2_CT.nii.gz"]
        assert read_label_map(out / "all_p2_CT.nii.gz").shape[2] == SLICES
        assert "2 scans: 2 in ZIP archives; left out: " in capsys.readouterr().err
        run(archive, out, model, ml=True)
        again = run(archive, out, model, ml=True)
        assert [one.skipped for one in again] == [True, True]

    def test_an_archive_is_no_single_scan_in_python(self, archive):
        with pytest.raises(
            InputError, match=r"all\.zip: expected one scan, got those of 2 patients; .* from 1: axial, 8"
        ):
            read_scan(archive)
        assert read_scan(archive, series=1).shape[2] == 8

    def test_an_archive_of_one_patient_is_one_scan(self, tmp_path):
        archive = packed(tmp_path / "a.zip", slices(tmp_path / "in", "1"))
        (scan,) = found(archive).scans
        assert (scan.name, scan.is_only, scan.found.members) == ("a", True, None)
        assert read_scan(scan.source()).shape == VOLUME.shape

    def test_what_is_not_read_in_an_archive_is_left_out(self, tmp_path):
        archive = packed(tmp_path / "a.zip", slices(tmp_path / "in", "1"))
        with zipfile.ZipFile(archive, "a") as made:
            made.writestr("more/ct.nii.gz", b"")
            made.writestr("in/005.dcm.txt", b"a note")
            made.writestr("in/a.dcm", (tmp_path / "in" / "003.dcm").read_bytes()[:400])
        damaged, inner = sorted(found(archive).reasons())
        assert damaged.endswith("in/a.dcm (a damaged DICOM file)")
        assert inner.endswith("more/ct.nii.gz (a volume or an archive inside an archive; unpack it)")

    def test_an_archive_of_volumes_alone(self, tmp_path, model):
        volume(tmp_path / "in" / "ct.nii.gz")
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
            made.write(tmp_path / "in" / "ct.nii.gz", "ct.nii.gz")
        (done,) = run(tmp_path / "a.zip", tmp_path / "out", model)
        assert "expected CT slices, got files that are not DICOM (1); unpack it if it holds volumes" in done.error

    def test_inspect_gives_a_table(self, archive, capsys):
        assert main(["inspect", str(archive)]) == 1
        told = capsys.readouterr()
        assert "all_p1_CT" in told.out
        assert "all_p2_CT" in told.out
        assert "left out" in told.out + told.err


class TestNoScans:
    def test_label_maps_are_left_out_unless_forced(self, cohort, model, capsys):
        volume(cohort / "a.nii.gz")
        labels(cohort / "b.nii.gz")
        assert left_out(cohort) == ["b.nii.gz (a label map)"]
        assert names(cohort, force=True) == ["a", "b"]
        arguments = ["-o", str(cohort.parent / "out"), "-m", str(model)]
        assert main(["predict", "-i", str(cohort / "b.nii.gz"), *arguments]) == 1
        assert (
            "b.nii.gz: expected a CT scan, got a label map; pass the scan itself, or --force" in capsys.readouterr().err
        )
        assert not (cohort.parent / "out").exists()
        assert main(["predict", "-i", str(cohort / "b.nii.gz"), *arguments, "--force"]) == 0

    def test_an_intent_says_that_it_is_a_label_map(self, cohort):
        for name, change in (("a.nii", b""), ("b.nii", (1002).to_bytes(2, "little"))):
            write_nifti(cohort / name, VOLUME.hu, VOLUME.source)
            data = bytearray((cohort / name).read_bytes())
            data[68 : 68 + len(change)] = change
            (cohort / name).write_bytes(data)
        assert left_out(cohort) == ["b.nii (a label map)"]

    def test_a_segmentation_of_3d_slicer_is_known_by_its_keys(self, cohort, model):
        volume(cohort / "a.nrrd")
        header, _, voxels = (cohort / "a.nrrd").read_bytes().partition(b"\n\n")
        (cohort / "b.nrrd").write_bytes(header + b"\nSegment0_ID:=Segment_1\n\n" + voxels)
        assert left_out(cohort) == ["b.nrrd (a segmentation of 3D Slicer)"]
        (done,) = run(cohort / "b.nrrd", cohort.parent / "out", model)
        assert "got a segmentation of 3D Slicer; pass the scan itself" in done.error

    def test_probabilities_doses_and_other_modalities(self, cohort, model):
        """Known by values, names and headers; never segmented unless forced."""
        volume(cohort / "a.nrrd")
        radius = np.linalg.norm(np.indices(VOLUME.shape) / np.array(VOLUME.shape)[:, None, None, None] - 0.5, axis=0)
        bump = np.exp(-8 * radius**2).astype(np.float32)
        for name, values in (("p.mha", bump), ("RTDOSE_1.mha", 70 * bump), ("dose.mha", np.rint(7000 * bump))):
            SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values.T), str(cohort / name))
        header, _, voxels = (cohort / "a.nrrd").read_bytes().partition(b"\n\n")
        (cohort / "m.nrrd").write_bytes(header + b"\nmodality:=MR\n\n" + voxels)
        told = {
            "RTDOSE_1.mha": "a dose grid",
            "dose.mha": "a dose grid",
            "m.nrrd": "an MR",
            "p.mha": "a probability map or a normalised scan",
        }
        assert names(cohort) == ["a"]
        assert left_out(cohort) == [f"{name} ({what})" for name, what in told.items()]
        for name, what in told.items():
            (done,) = run(cohort / name, cohort.parent / "out", model)
            assert f"{name}: expected a CT scan, got {what}; pass the scan itself, or --force" in done.error
        assert len(names(cohort, force=True)) == 4  # what a header says needs to be named itself

    def test_files_are_counted_and_not_their_frames(self, cohort, model):
        slices(cohort / "p", "1")
        run(cohort / "p", cohort / "results", model, format=("dicom-seg",), preview=True)
        told = scans_in_words(found(cohort))
        assert told.endswith("no scans: 1 DICOM segmentation")

    @pytest.mark.parametrize("ml", [False, True])
    def test_our_own_results_are_known_by_their_records(self, cohort, model, ml):
        volume(cohort / "a.nii.gz")
        run(cohort, cohort / "results", model, ml=ml, format=("nifti", "mha", "nrrd"), confidence=True)
        assert names(cohort) == ["a"]
        assert set(found(cohort).others) == {"results of tomoseg"}
        results = [path for path in (cohort / "results").rglob("*") if path.name.endswith((".nii.gz", ".mha", "nrrd"))]
        assert len(results) > 3
        for path in results:
            (done,) = run(path, cohort.parent / "again", model)
            assert "expected a CT scan, got a" in done.error, path

    def test_what_lies_beside_the_scan_of_a_case(self, cohort):
        for name in ("p/ct.nii.gz", "p/pet.nii.gz"):
            volume(cohort / name)
        labels(cohort / "p" / "labels.nii.gz")
        assert names(cohort) == ["p"]
        assert left_out(cohort) == ["p/pet.nii.gz (beside a ct.nii.gz, which is the scan of its case)"]

    def test_archives_that_are_not_read_and_pairs(self, cohort):
        volume(cohort / "a.nii.gz")
        for name in ("b.tar.gz", "c.hdr", "c.img"):
            (cohort / name).touch()
        assert [reason.split(" (")[0] for reason in left_out(cohort)] == ["b.tar.gz", "c.hdr"]

    def test_nothing_but_label_maps(self, cohort):
        labels(cohort / "b.nii.gz")
        with pytest.raises(InputError, match=r"found none; check the path; left out: b\.nii\.gz \(a label map\)"):
            found(cohort)


class TestNames:
    def at(self, *paths):
        return names_of([(Path("/c") / path, None) for path in paths], Path("/c"))

    def test_alike_names_get_their_folders_and_numbers_if_need_be(self):
        assert self.at("a/x.nii.gz", "b/X.mha", "b/y.nii") == ["a_x", "b_X", "y"]
        assert self.at("x.nii.gz", "x.mha") == ["x_1", "x_2"]
        assert self.at("x.nii.gz", "x.mha", "x_1.nii") == ["x_2", "x_3", "x_1"]

    def test_one_name_in_two_unicode_forms_is_alike(self):
        assert self.at("a/Schädel.nii", "b/Scha\u0308del.nii") == ["a_Schädel", "b_Schädel"]

    def test_identifiers_are_in_no_name(self):
        assert self.at("CT.1.2.840.113619.2.5.nii", "p/1.2.840.113619.2.9/ct.nii") == ["CT.UID", "p"]

    def test_long_names_are_cut_and_stay_different(self):
        long = self.at("a" * 200 + "1.nii", "a" * 200 + "2.nii")
        assert [len(name) for name in long] == [150, 150]
        assert len(set(long)) == 2

    def test_bytes_that_are_no_utf_8(self):
        name = os.fsdecode(b"p\xe9.nii")
        assert self.at(name) == ["p_"]


def test_nothing_of_the_patient_is_shown(cohort, model, capsys):
    slices(cohort / "a", PATIENT_ID)
    slices(cohort / "b", "2")
    (cohort / "b" / "CT.1.2.840.113619.2.5.77").symlink_to("/nowhere")
    slices(cohort / "mr", PATIENT_ID, range(3), Modality="MR", StudyInstanceUID="1.2.840.4711.5.6.7")
    assert main(["predict", "-i", str(cohort), "-o", str(cohort.parent / "out"), "-m", str(model)]) == 1
    shown = "".join(capsys.readouterr()) + (cohort.parent / "out" / "predictions.json").read_text()
    assert "b/CT.UID (a link to nothing)" in shown
    assert not any(secret in shown for secret in (NAME, PATIENT_ID, "113619", "1.2.3.4", "4711"))
