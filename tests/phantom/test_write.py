"""Phantoms on disk."""

import numpy as np
import pytest

from tomoseg.errors import InputError
from tomoseg.files.asides import aside_of
from tomoseg.files.nifti import read_ct, read_mask
from tomoseg.labels import LabelSet
from tomoseg.masks import structure_mask
from tomoseg.phantom import make_phantom, make_phantom_dataset, write_phantom

COARSE = (15.0, 15.0, 15.0)


def test_written_case_reads_back(tmp_path):
    phantom = make_phantom(1, spacing_mm=COARSE, field_of_view="thorax")
    write_phantom(phantom, tmp_path / "case")
    ct = read_ct(tmp_path / "case" / "ct.nii.gz")
    assert np.array_equal(ct.hu, phantom.hu)
    assert np.allclose(ct.affine, phantom.affine, atol=1e-4)
    files = {f.name.removesuffix(".nii.gz"): f for f in (tmp_path / "case" / "segmentations").iterdir()}
    assert set(files) == set(LabelSet.total().names)
    for name in ("heart", "brain", "vertebrae_T8"):
        expected = structure_mask(phantom.packed, LabelSet.total().channel(name))
        assert np.array_equal(read_mask(files[name]), expected)
    assert not read_mask(files["brain"]).any()  # outside the view: absent, not unknown


def test_dataset_is_whole_disjoint_and_resumable(tmp_path):
    counts = {"train": 2, "test": 1}
    seen = []
    cases = make_phantom_dataset(tmp_path, counts, 0, (30.0, 30.0, 30.0), workers=1, on_done=seen.append)
    assert [str(c.relative_to(tmp_path)) for c in cases] == [
        "train/train_000",
        "train/train_001",
        "test/test_000",
    ]
    assert sorted(seen) == sorted(cases)
    scans = [(case / "ct.nii.gz").read_bytes() for case in cases]
    assert len(set(scans)) == 3

    # Interrupted: one case gone, another half written aside.
    for file in sorted(cases[1].rglob("*"), reverse=True):
        file.rmdir() if file.is_dir() else file.unlink()
    cases[1].rmdir()
    half = aside_of(cases[1])
    half.mkdir()
    (half / "ct.nii.gz").write_bytes(b"half")
    stamp = cases[0].stat().st_mtime_ns
    make_phantom_dataset(tmp_path, counts, 0, (30.0, 30.0, 30.0), workers=1)
    assert cases[0].stat().st_mtime_ns == stamp
    assert not half.exists()
    assert [(case / "ct.nii.gz").read_bytes() for case in cases] == scans


def test_interrupted_it_does_not_go_on_with_the_cases_that_are_left(tmp_path, monkeypatch):
    futures = []

    def interrupted(begun):
        futures.extend(begun)
        raise KeyboardInterrupt

    monkeypatch.setattr("tomoseg.phantom.write.as_completed", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_phantom_dataset(tmp_path, {"train": 9}, 0, (30.0, 30.0, 30.0), workers=1)
    assert futures[-1].cancelled()
    assert not (tmp_path / "train" / "train_008").exists()


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="expected 1 worker or more, got 0"):
        make_phantom_dataset(tmp_path, {"train": 1}, 0, workers=0)
    with pytest.raises(InputError, match="cases in 'train', got -1"):
        make_phantom_dataset(tmp_path, {"train": -1}, 0)
