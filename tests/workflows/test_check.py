"""The dataset doctor as a command runs it, and on real patients."""

import json
import shutil

import numpy as np
import pytest

from tests.terminal.shown import rows_in
from tomoseg.cli import main
from tomoseg.errors import DatasetError
from tomoseg.files.nifti import write_nifti
from tomoseg.volume import SourceGrid
from tomoseg.workflows.check import check

GRID = SourceGrid((8, 8, 8), np.diag([2.0, 2.0, 2.0, 1.0]))


def write_case(folder, shift=0, grid=GRID):
    hu = np.full(GRID.shape, -1000, np.int16)
    hu[1:7, 1:7, :] = np.arange(8) * 20 + shift
    mask = np.zeros(GRID.shape, np.uint8)
    mask[2:4, 2:4, 2:4] = 1
    (folder / "segmentations").mkdir(parents=True)
    write_nifti(folder / "ct.nii.gz", hu, GRID)
    write_nifti(folder / "segmentations" / "liver.nii.gz", mask, grid)


def test_a_sound_dataset(tmp_path, capsys):
    write_case(tmp_path / "data" / "a")
    assert main(["check", str(tmp_path / "data"), "-o", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[-2] == "1 case, 1 mask: 0 errors, 0 warnings"
    assert "Voxel edges in mm: x 2, y 2, z 2" in told
    assert ("liver", "1", "0", "0.064", "0.064", "0.064") in rows_in(told)
    assert "Nothing looks wrong." in (tmp_path / "out" / "check.html").read_text(encoding="utf-8")


def test_errors_are_told_written_and_the_exit_status(tmp_path, capsys):
    write_case(tmp_path / "data" / "a")
    write_case(tmp_path / "data" / "b", 5, SourceGrid(GRID.shape, np.diag([2.0, 2.0, 3.0, 1.0])))
    write_case(tmp_path / "data" / "c", 9)
    ct = tmp_path / "data" / "c" / "ct.nii.gz"
    ct.write_bytes(ct.read_bytes()[:200])
    told = []
    report = check(tmp_path / "data", on_case=lambda name, done, total: told.append((name, done, total)))
    assert [(f.kind, f.case, f.structure) for f in report.findings] == [
        ("unreadable", "b", "liver"),
        ("unreadable", "c", None),
    ]
    assert told == [("a", 1, 3), ("b", 2, 3), ("c", 3, 3)]
    assert main(["check", str(tmp_path / "data"), "-o", str(tmp_path / "out")]) == 1
    assert "error: unreadable: b liver: " in capsys.readouterr().out
    written = json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))
    assert (written["errors"], written["flagged_masks"], written["cases"]) == (2, 1, 3)
    page = (tmp_path / "out" / "check.html").read_text(encoding="utf-8")
    assert "error: unreadable" in page
    assert page.count("<img") == 1  # of b's scan; its mask cannot be laid over it, and c has no scan
    assert "http" not in page


def test_what_the_dataset_holds_and_a_case_that_is_left_out(tmp_path, capsys):
    """Two structures, one case without the second and one without any mask, which is no error of what is there."""
    for name in ("a", "b", "c"):
        write_case(tmp_path / "data" / name, ord(name))
    b = tmp_path / "data" / "b" / "segmentations"
    shutil.copy(b / "liver.nii.gz", b / "spleen.nii.gz")
    shutil.rmtree(tmp_path / "data" / "c" / "segmentations")
    assert main(["check", str(tmp_path / "data"), "-o", str(tmp_path / "out")]) == 1
    told = capsys.readouterr()
    assert "Not annotated, so unknown there rather than absent: 1 mask in 1 case\n  a: spleen\n" in told.out
    assert "; 1 left out" in told.out
    assert "c: a scan without masks was left out" in told.err
    written = json.loads((tmp_path / "out" / "check.json").read_text(encoding="utf-8"))["holds"]
    assert written["lacking"] == {"a": ["spleen"]}
    assert written["structures"]["spleen"]["cases"] == 1
    assert written["spacing_mm"] == [[2.0, 2.0]] * 3
    page = (tmp_path / "out" / "check.html").read_text(encoding="utf-8")
    assert "a: spleen" in page


def test_what_is_no_dataset(tmp_path):
    with pytest.raises(DatasetError, match="expected a dataset, got none"):
        check(tmp_path)


def test_real_patients_with_two_mistakes(test_data, tmp_path):
    names = [path.name for path in sorted((test_data / "openkbp" / "validation").iterdir())[:12] if path.is_dir()]
    for name in names:
        shutil.copytree(test_data / "openkbp" / "validation" / name, tmp_path / name)
    folders = [tmp_path / name / "segmentations" for name in names]
    swapped = next(folder for folder in folders if (folder / "parotid_gland_left.nii.gz").exists())
    left, right = (swapped / f"parotid_gland_{side}.nii.gz" for side in ("left", "right"))
    left.rename(swapped / "aside")
    right.rename(left)
    (swapped / "aside").rename(right)
    report = check(tmp_path, tmp_path / "out")
    errors = {(f.case, f.kind) for f in report.findings if f.level == "error"}
    page = (tmp_path / "out" / "check.html").read_text(encoding="utf-8")
    assert page.count("<img") == sum(bool(finding.case) for finding in report.findings)
    assert errors == {(swapped.parent.name, "left and right swapped")}
