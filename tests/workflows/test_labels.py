"""What a raw dataset holds, by names and headers."""

from tests.datasets.scan_kinds import write_liver, write_scan
from tomoseg.workflows.labels import structures_of


def test_voxel_edges_and_extents_of_scans_of_every_kind_come_from_headers(tmp_path):
    """7 x 6 x 5 voxels of 2 x 2.5 x 4 mm; the voxels of a scan that has none are not missed."""
    for name, kind in (("a", ".nii"), ("b", "dicom"), ("c", ".mhd"), ("d", ".nrrd"), ("e", ".zip")):
        write_scan(tmp_path / name / "ct", kind)
        write_liver(tmp_path / name / "segmentations" / "liver.nii.gz")
    (tmp_path / "c" / "ct.raw").write_bytes(b"")
    found = structures_of(tmp_path)
    assert found.warnings == ()
    assert found.holdings is not None
    assert found.holdings.spacing_mm == ((2.0, 2.0), (2.5, 2.5), (4.0, 4.0))
    assert found.holdings.extent_mm == ((14.0, 14.0), (15.0, 15.0), (20.0, 20.0))


def test_a_header_that_cannot_be_read_is_told_with_the_name_of_the_case(tmp_path):
    write_liver(tmp_path / "a" / "segmentations" / "liver.nii.gz")
    (tmp_path / "a" / "ct.nii").write_bytes(b"none")
    found = structures_of(tmp_path)
    assert found.holdings is not None
    assert found.holdings.spacing_mm is None
    assert found.warnings[0].startswith(f"a: {tmp_path}/a/ct.nii: expected")
