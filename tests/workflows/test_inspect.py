"""`tomoseg inspect` as a person and a program run it."""

import json

import numpy as np
import pytest

from tests.checks.bodies import body
from tests.files.dicom.series import BIRTH, NAME, PATIENT_ID, image, save
from tests.terminal.shown import rows_in
from tomoseg.cli import main
from tomoseg.files.nifti import write_nifti
from tomoseg.workflows.inspect import FORMAT, as_json, inspect

FIELDS = {
    "format", "tomoseg", "scan", "error", "series", "series_number", "shape", "spacing_mm", "extent_mm", "axes",
    "oblique_degrees", "values", "slices", "body", "contrast", "notices",
}  # fmt: skip


@pytest.fixture
def ct(tmp_path):
    volume = body("abdomen")
    write_nifti(tmp_path / "ct.nii.gz", volume.hu, volume.source)
    return tmp_path / "ct.nii.gz"


@pytest.fixture
def labels(tmp_path):
    volume = body("abdomen")
    write_nifti(tmp_path / "labels.nii.gz", (volume.hu > 0).astype(np.uint8), volume.source)
    return tmp_path / "labels.nii.gz"


def test_a_sound_scan(ct, capsys):
    assert main(["inspect", str(ct), "--strict"]) == 0
    shown = capsys.readouterr()
    assert "abdomen" in shown.out
    assert shown.out.endswith("Nothing looks wrong.\n")
    assert shown.err == ""


def test_a_warning_is_an_error_only_if_asked_for(labels, capsys):
    assert main(["inspect", str(labels)]) == 0
    assert main(["inspect", str(labels), "--strict"]) == 1
    shown = capsys.readouterr()
    assert shown.err.count("warning: Values run from 0 to 1 in uniform patches;") == 2
    assert shown.out.endswith("1 warning.\n")


def test_what_cannot_be_read(tmp_path, capsys):
    (tmp_path / "a.nii").write_bytes(b"nothing")
    assert main(["inspect", str(tmp_path / "a.nii")]) == 2
    assert "error: " in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "a.nii"), "--json"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert set(told) == FIELDS
    assert "expected a NIfTI file" in told["error"]
    assert (told["notices"], told["values"], told["shape"]) == ([], None, None)


def test_json(ct, tmp_path, capsys):
    assert main(["inspect", str(ct), "--json", "-o", str(tmp_path / "out" / "found.json")]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "out" / "found.json").read_text(encoding="utf-8"))
    assert set(told) == FIELDS
    assert (told["format"], told["error"], told["axes"], told["shape"]) == (FORMAT, None, "RAS", [80, 60, 12])
    assert (told["spacing_mm"], told["extent_mm"]) == ([6, 6, 6], [480, 360, 72])
    assert (told["series"], told["series_number"]) == ([], None)
    assert set(told["values"]) == {"lowest", "highest", "levels", "air_hu", "tissue_hu", "bone_share"}
    assert told["slices"] == {"blank_ends": 0, "blank": [], "repeated": []}
    assert told["body"]["parts"] == [{"name": "abdomen", "from_mm": 0, "to_mm": 72, "certainty": "likely"}]
    assert told["contrast"] == {"hint": "not seen", "bright_ml": 0, "bright_hu": None}
    assert told["notices"] == []


def test_notices_have_level_kind_and_message(labels):
    assert as_json(inspect(labels))["notices"] == [
        {
            "level": "warning",
            "kind": "label map",
            "message": "Values run from 0 to 1 in uniform patches; expected the HU of a scan. It is a mask or a label "
            "map: pass the scan itself.",
        }
    ]


def test_series_are_listed_and_nobody_is_named(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for number, count in ((1, 3), (2, 5)):
        slices = [
            image(rng.integers(-1000, 1000, (6, 5), np.int16), (0, 0, 5 * k), k, SeriesNumber=number)
            for k in range(count)
        ]
        save(slices, tmp_path / "scan" / str(number))
    found = inspect(tmp_path / "scan")
    assert found.series_number == 2
    assert [words.split(" (")[0] for words in found.series] == [
        "axial, 3 images of 5 x 6 at 1 mm",
        "axial, 5 images of 5 x 6 at 1 mm",
    ]
    assert [notice.kind for notice in found.warnings] == ["several series"]
    chosen = inspect(tmp_path / "scan", series=1)
    assert (chosen.series_number, chosen.shape) == (1, (5, 6, 3))
    assert "several series" not in {notice.kind for notice in chosen.notices}
    for path in (tmp_path / "scan" / "1").iterdir():
        path.rename(tmp_path / "scan" / "2" / f"other_{path.name}")
    main(["inspect", str(tmp_path / "scan")])
    main(["inspect", str(tmp_path / "scan"), "--json"])
    shown = "".join(capsys.readouterr())
    assert [row[0::2] for row in rows_in(shown)[:3]] == [("number", "inspected"), ("1", ""), ("2", "yes")]
    assert not any(secret in shown for secret in (NAME, PATIENT_ID, BIRTH))


def test_the_only_scan_of_a_folder(ct, tmp_path, labels):
    (tmp_path / "a" / "b").mkdir(parents=True)
    ct.rename(tmp_path / "a" / "b" / "x.nii.gz")
    assert inspect(tmp_path / "a").shape == (80, 60, 12)
    assert "got 2 in it; name one of them" in inspect(tmp_path).error
    (tmp_path / "c").mkdir()
    assert "got none; check the path" in inspect(tmp_path / "c").error


def test_a_folder_of_scans_is_a_table(ct, tmp_path, capsys):
    folder = tmp_path / "scans"
    (folder / "p").mkdir(parents=True)
    ct.rename(folder / "p" / "ct.nii.gz")
    (folder / "broken.nii").write_bytes(b"nothing")
    assert main(["inspect", str(folder)]) == 1
    shown = capsys.readouterr()
    assert [line for line in shown.out.splitlines() if "80 x 60 x 12" in line and "abdomen" in line and " p " in line]
    assert "failed: broken: " in shown.err
    (folder / "broken.nii").unlink()
    (folder / "dead.nii").symlink_to("/nowhere")
    assert main(["inspect", str(folder), "--json", "-o", str(tmp_path / "found.json")]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((tmp_path / "found.json").read_text(encoding="utf-8"))
    assert [(one["name"], one["shape"]) for one in told["scans"]] == [("p", [80, 60, 12])]
    assert told["left_out"] == ["dead.nii (a link to nothing)"]
