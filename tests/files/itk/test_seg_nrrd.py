import nrrd
import numpy as np
import pytest
import SimpleITK

from tests.files.dicom.scans import LABELS, TURNED, label_map, overlapping, series
from tomoseg.files.itk.seg_nrrd import write_seg_nrrd
from tomoseg.volume import SourceGrid, Volume, check_same_grid

AFFINES = {
    "RAS": np.diag([1.0, 2, 3, 1]),
    "LPS, oblique": np.array([[-0.96, 0.56, 0, 5], [-0.28, -1.92, 0, 7], [0, 0, 3, 9], [0, 0, 0, 1]]),
    "from the head down": np.array([[-1.0, 0, 0, 5], [0, 2, 0, 7], [0, 0, -3, 9], [0, 0, 0, 1]]),
    "sagittal": np.array([[0, 0, 3.0, 5], [-1.0, 0, 0, 7], [0, -2.0, 0, 9], [0, 0, 0, 1]]),
}


def volume_of(affine):
    return Volume.from_array(np.zeros((6, 5, 19), np.int16), affine)


def read(path):
    """What pynrrd finds: masks by name in RAS+ order, the grid, the fields."""
    values, header = nrrd.read(str(path))
    if header["dimension"] == 3:
        values = values[None]
    directions = np.array([row for row in header["space directions"] if row is not None and np.isfinite(row).all()])
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = directions.T, header["space origin"]
    grid = SourceGrid(values.shape[1:], np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)
    masks = {}
    for number in range(sum(key.endswith("_ID") for key in header)):
        segment = f"Segment{number}_"
        mask = values[int(header[segment + "Layer"])] == int(header[segment + "LabelValue"])
        box = np.argwhere(mask)
        extent = np.stack([box.min(0), box.max(0)], axis=1).reshape(-1)
        assert header[segment + "Extent"] == " ".join(map(str, extent))
        masks[header[segment + "Name"]] = grid.to_canonical(mask)
    return masks, grid, header


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
@pytest.mark.parametrize("make", [label_map, overlapping])
def test_pynrrd_reads_the_masks_back(tmp_path, rng, affine, make):
    result = make(volume_of(affine), rng)
    write_seg_nrrd(result, tmp_path / "out" / "a.seg.nrrd")
    masks, grid, header = read(tmp_path / "out" / "a.seg.nrrd")
    check_same_grid(grid, result.grid, "written", "the scan's")
    assert list(masks) == ["spleen", "kidney_right", "a structure of my own"]
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, result.mask(name))
    assert header["dimension"] == (3 if make is label_map else 4)
    assert header["kinds"][-3:] == ["domain"] * 3


def test_axes_are_those_of_the_file(tmp_path, rng):
    result = label_map(volume_of(AFFINES["LPS, oblique"]), rng)
    write_seg_nrrd(result, tmp_path / "a.seg.nrrd")
    values, header = nrrd.read(str(tmp_path / "a.seg.nrrd"))
    np.testing.assert_array_equal(values, result.grid.from_canonical(result.values))
    assert header["space"] == "left-posterior-superior"
    np.testing.assert_allclose(header["space directions"][0], [0.96, 0.28, 0])
    np.testing.assert_allclose(header["space origin"], [-5, -7, 9])


def test_names_colours_and_codes(tmp_path, rng):
    write_seg_nrrd(label_map(volume_of(np.eye(4)), rng), tmp_path / "a.seg.nrrd")
    _, _, header = read(tmp_path / "a.seg.nrrd")
    colour = [float(part) for part in header["Segment2_Color"].split()]
    np.testing.assert_allclose(colour, np.array([10, 20, 30]) / 255, atol=1e-6)
    kidney = header["Segment1_Tags"].removeprefix("TerminologyEntry:").split("~")
    assert kidney[1:4] == ["SCT^123037004^Anatomical Structure", "SCT^64033007^Kidney", "SCT^24028007^Right"]
    assert len(kidney) == 7
    assert header["Segment1_LabelValue"] == str(LABELS["kidney_right"].id)


def test_simpleitk_reads_the_same_place(tmp_path, rng):
    result = label_map(series(tmp_path / "ct", [(0, 0, 2.5 * k) for k in range(4)], orientation=TURNED), rng)
    write_seg_nrrd(result, tmp_path / "a.seg.nrrd")
    image = SimpleITK.ReadImage(str(tmp_path / "a.seg.nrrd"))
    far = [n - 1 for n in image.GetSize()]
    expected = result.grid.affine @ [*far, 1]
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(far), expected[:3] * (-1, -1, 1), atol=1e-9)
    assert image.GetMetaData("Segment0_Name") == "spleen"


def test_nothing_found_is_a_file_without_segments(tmp_path):
    volume = volume_of(np.eye(4))
    result = label_map(volume, np.random.default_rng(0))
    result.values[:] = 0
    write_seg_nrrd(result, tmp_path / "a.seg.nrrd")
    masks, _, header = read(tmp_path / "a.seg.nrrd")
    assert (masks, header["sizes"].tolist()) == ({}, [6, 5, 19])
