"""Values that are no HU are known when they are read: probabilities, doses, and scans that were normalised."""

import numpy as np
import pytest
import SimpleITK

from tomoseg.files.no_scan import map_among
from tomoseg.files.scan import read_scan

RADIUS = np.linalg.norm(np.mgrid[-8:8, -8:8, -3:3] / [[[[8]]], [[[8]]], [[[3]]]], axis=0)
BUMP = np.exp(-3 * RADIUS**2)
"""From 1 in the middle down to 0, in 16 x 16 x 6 voxels."""

PROBABILITY, DOSE = "probability map", "dose grid"


@pytest.mark.parametrize("suffix", ["nii.gz", "nrrd", "mha"])
@pytest.mark.parametrize(
    ("name", "values", "kinds"),
    [
        ("a", BUMP, [PROBABILITY]),
        ("a", 0.4 * BUMP, [PROBABILITY]),
        ("a", 2 * BUMP - 1, [PROBABILITY]),
        ("a", 73.2 * np.where(BUMP > 0.1, BUMP, 0), []),
        ("dose", 12.5 * BUMP, [DOSE]),
        ("patient_dose", 6500 * BUMP, [DOSE]),
        ("RTDOSE-3", np.rint(6500 * BUMP), [DOSE]),
        ("full_dose", np.rint(1000 * BUMP) - 1000, []),
        ("glucose", np.rint(1000 * BUMP), []),
        ("a", np.rint(80 * BUMP), []),
        ("a", 900.5 * BUMP, []),
        ("a", 1040 * BUMP - 1000, []),
        ("a", (BUMP > 0.5) * 1.0, []),
        ("a", (BUMP > 0.5) * 0.9996, []),
    ],
)
def test_what_values_are_of(tmp_path, suffix, name, values, kinds):
    path = tmp_path / f"{name}.{suffix}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values.astype(np.float32).T), str(path))
    notices = read_scan(path).warnings
    assert [notice.kind for notice in notices] == kinds
    assert all(f"{name}.{suffix}: values run from" in notice.message for notice in notices)
    assert (map_among(notices) is None) == (kinds == [])


@pytest.mark.parametrize(
    ("suffix", "key", "modality", "says"),
    [
        ("nrrd", "DICOM_0008_0060_Modality", "MR", "an MR"),
        ("nrrd", "modality", "RTDOSE", "a dose grid"),
        ("nrrd", "modality", "CT", None),
        ("mha", "Modality", "MET_MOD_MR", "an MR"),
        ("mha", "Modality", "MET_MOD_CT", None),
        ("mha", "Modality", "MET_MOD_UNKNOWN", None),
    ],
)
def test_a_header_that_names_the_modality(tmp_path, suffix, key, modality, says):
    from tomoseg.files.scan import look

    made = SimpleITK.GetImageFromArray(np.zeros((3, 4, 5), np.int16))
    path = tmp_path / f"a.{suffix}"
    SimpleITK.WriteImage(made, str(path))
    old, new = (b"\n\n", b"\n%s:=%s\n\n") if suffix == "nrrd" else (b"\nElementType", b"\n%s = %s\nElementType")
    path.write_bytes(path.read_bytes().replace(old, new % (key.encode(), modality.encode()), 1))
    assert look(path).says == says
    assert read_scan(path).shape == (5, 4, 3)
