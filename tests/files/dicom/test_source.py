"""Odd attributes of a scan are left empty in results, with a notice, and never end a scan."""

import numpy as np
import pydicom
import pytest

from tests.files.dicom.scans import LABELS, label_map, series
from tomoseg.files.dicom.headers import without_pydicom_warnings
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.dicom.segmentation import write_seg
from tomoseg.files.dicom.source import source_series
from tomoseg.files.dicom.structures import write_rtstruct


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientID", ["4711", "4712"]),
        ("StudyDate", ["20240131", "20240201"]),
        ("StudyDate", "31.1.2024"),
        ("PatientSex", "W"),
        ("PatientAge", "forty"),
        ("AccessionNumber", "9" * 17),
        ("StudyDescription", "a\nb"),
    ],
)
def test_odd_attributes_are_left_empty(tmp_path, rng, keyword, value):
    with without_pydicom_warnings():
        volume = series(tmp_path / "in", **{keyword: value})
    source = source_series(volume.source, "ct")
    (notice,) = source.notices
    assert notice.kind == "headers"
    assert f"the scan's {keyword} have invalid values; they are left" in notice.message
    assert str(value) not in notice.message
    result = label_map(volume, rng)
    assert len(LABELS) == 4
    write_seg(result, source, tmp_path / "a.dcm", MadeBy("a" * 64))
    write_rtstruct(result, source, tmp_path / "b.dcm", MadeBy("a" * 64))
    for name in ("a.dcm", "b.dcm"):
        assert not pydicom.dcmread(tmp_path / name).get(keyword)
    assert np.any(result.values)
