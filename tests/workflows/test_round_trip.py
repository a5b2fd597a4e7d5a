"""What `predict` writes, in any format, is what `evaluate` reads: on either side, with the same scores."""

import shutil

import numpy as np
import pytest

from tests.files.dicom.scans import PLACE
from tests.files.dicom.series import image, save
from tests.workflows.predicting import run
from tomoseg.datasets.mask_cases import OpenMasks, find_mask_cases
from tomoseg.files.nifti import write_nifti
from tomoseg.formats import FORMATS
from tomoseg.options import EvaluateOptions
from tomoseg.workflows.evaluate import evaluate

MASKS = [name for name, kind in FORMATS.items() if kind.layout != "folder"]
OVERLAPPING = [name for name in MASKS if name != "dicom-seg-labelmap"]
ENDINGS = sorted({e for kind in FORMATS.values() for e in (*kind.endings, "json")}, key=len, reverse=True)
WHOLE = [(ml, name) for ml in (True, False) for name in (MASKS if ml else OVERLAPPING)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("round trip")


@pytest.fixture(scope="module", params=["regular", "uneven"])
def scan(folder, request):
    """Of 18 x 16 mm, with slices 4 mm apart, or in the places that a person's mistakes leave."""
    rng = np.random.default_rng(0)
    places = range(7) if request.param == "regular" else (0, 1, 2, 3, 4.4, 5.4, 7)
    hu = rng.normal(0, 300, (7, 16, 18)).astype(np.int16)
    slices = [image(hu[k], (0, 0, 4.0 * place), k + 1, **PLACE) for k, place in enumerate(places)]
    return save(slices, folder / request.param)


def predicted(scan, model, ml, name):
    """Results in one format, of two cases, which are one scan."""
    at_once = scan.parent / f"{scan.name} {ml}"
    formats = MASKS if ml else OVERLAPPING
    for case in "ab":
        if not (at_once / case).exists():
            run(scan, at_once / case / ("s.nii.gz" if ml else ""), model, format=tuple(formats), ml=ml)
    out = scan.parent / f"{scan.name} {ml} {name}"
    for case in "ab":
        (out / case).mkdir(parents=True, exist_ok=True)
        for path in (at_once / case).iterdir():
            if ending(path) in (*FORMATS[name].endings, "json"):
                shutil.copy(path, out / case / path.name)
    return out


def ending(path):
    return next((e for e in ENDINGS if path.name.endswith(f".{e}")), None)


def reference(scan, model, ml):
    """Masks that differ a little from those predicted: a slice further up."""
    folder = scan.parent / f"{scan.name} reference {ml}"
    if not folder.exists():
        for case in find_mask_cases(predicted(scan, model, ml, "nifti")):
            opened = OpenMasks(case)
            for structure in case.annotated:
                mask = np.roll(opened.mask(structure).whole(), 1, axis=2)
                write_nifti(folder / case.name / f"{structure}.nii.gz", mask, opened.grid)
    return folder


def scores(ours, theirs):
    found = evaluate(ours, theirs, EvaluateOptions(surfaces=False))
    assert not found.failed, found.failed
    return {(case.case, one.structure): one.dice for case in found.scores for one in case.structures}


@pytest.mark.parametrize(("ml", "name"), WHOLE)
@pytest.mark.parametrize("scan", ["regular"], indirect=True)
def test_the_same_scores_from_every_format(scan, model, ml, name):
    theirs = reference(scan, model, ml)
    expected = scores(predicted(scan, model, ml, "nifti"), theirs)
    assert len(expected) == 6
    assert any(dice is not None and 0 < dice < 1 for dice in expected.values())
    ours = predicted(scan, model, ml, name)
    assert scores(ours, theirs) == expected
    assert scores(theirs, ours) == expected
    if name == "rtstruct":
        failed = evaluate(ours, ours, EvaluateOptions(surfaces=False)).failed
        assert "expected the scan beside a DICOM structure set" in failed["a"]
    else:
        assert set(scores(ours, ours).values()) <= {1.0, None}


@pytest.mark.parametrize("name", ["dicom-seg", "rtstruct"])
@pytest.mark.parametrize("scan", ["uneven"], indirect=True)
def test_slices_at_uneven_distances(scan, model, name):
    ours, theirs = predicted(scan, model, False, name), reference(scan, model, False)
    failed = evaluate(ours, theirs, EvaluateOptions(surfaces=False)).failed["a"]
    assert ("at even distances" if name == "dicom-seg" else "expected contours on the slices of") in failed
    for case in "ab":  # with the scan beside them they are put in their places
        for path in scan.iterdir():
            shutil.copy(path, ours / case / path.name)
    found, expected = scores(ours, theirs), scores(predicted(scan, model, False, "nifti"), theirs)
    assert found == pytest.approx(expected, abs=0.2)  # not the same: slices were predicted on even planes
    assert set(scores(ours, ours).values()) <= {1.0, None}
