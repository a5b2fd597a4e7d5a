import json

import numpy as np
import pytest
import SimpleITK

from tests.files.itk_oracle import ORIENTATIONS, TO_RAS, assert_same_place, itk_image, turned
from tomoseg.errors import GridError, InputError, LabelError
from tomoseg.files.dicom.made_by import MadeBy
from tomoseg.files.itk.write_metaimage import write_metaimage, write_result
from tomoseg.files.scan import read_scan
from tomoseg.files.target import Origin, Target
from tomoseg.labels import LabelSet, Structure
from tomoseg.masks import pack
from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.volume import SourceGrid

SPACING_MM, ORIGIN = (0.7, 1.1, 2.5), (-100.3, 20.7, 5.1)
LABELS = LabelSet.total().subset(["spleen", "liver", "aorta"])


def grid_of(image):
    """The grid of an ITK image, worked out from what ITK says of it."""
    affine = np.eye(4)
    affine[:3, :3] = (np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()) * TO_RAS[:, None]
    affine[:3, 3] = np.array(image.GetOrigin()) * TO_RAS
    return SourceGrid(image.GetSize(), affine)


def read(path):
    """Voxels and geometry by SimpleITK alone."""
    image = SimpleITK.ReadImage(str(path))
    return SimpleITK.GetArrayFromImage(image).T, image


def assert_same_geometry(found, expected):
    assert found.GetSize() == expected.GetSize()
    for what in ("GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(found, what)(), getattr(expected, what)(), rtol=0, atol=1e-13)


def target(path, grid):
    return Target(path, Origin(grid, "scan"), MadeBy("0"))


@pytest.mark.parametrize("directions", ORIENTATIONS)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_itk_reads_every_orientation_bit_for_bit(tmp_path, rng, directions, kind):
    for name, oblique in (("straight", np.eye(3)), ("oblique", turned(17, -23, 31))):
        stored = rng.integers(0, np.iinfo(kind).max + 1, (3, 4, 5)).astype(kind)
        expected = itk_image(stored, oblique @ directions, SPACING_MM, ORIGIN)
        grid = grid_of(expected)
        write_metaimage(tmp_path / f"{name}.mha", grid.to_canonical(stored), grid)
        values, found = read(tmp_path / f"{name}.mha")
        assert values.dtype == kind
        np.testing.assert_array_equal(values, stored)
        assert_same_geometry(found, expected)


def test_affines_that_are_decimal_come_back_exactly(tmp_path, rng):
    affine = np.diag([0.9765625, 0.123456789012345, 3.0, 1.0])
    affine[:3, 3] = 1e-7, -123.45678901234567, 1 / 3
    write_metaimage(tmp_path / "a.mha", np.zeros((2, 3, 4), np.uint8), SourceGrid((2, 3, 4), affine))
    _, found = read(tmp_path / "a.mha")
    assert found.GetSpacing() == tuple(np.diag(affine)[:3])
    assert found.GetOrigin() == (-1e-7, 123.45678901234567, 1 / 3)
    assert found.GetDirection() == (-1, 0, 0, 0, -1, 0, 0, 0, 1)


@pytest.mark.parametrize("directions", ORIENTATIONS[::7])
def test_masks_are_a_file_each_and_a_label_map_is_one(tmp_path, rng, directions):
    image = itk_image(np.zeros((4, 5, 6), np.uint8), directions, SPACING_MM, ORIGIN)
    grid = grid_of(image)
    masks = rng.random((3, *grid.canonical_shape)) < 0.3
    masks[1] = False
    result = Segmentation(LABELS, grid)
    for k in range(masks.shape[3]):
        result.append(pack(masks[..., k]))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "else.txt").write_text("stays")
    paths = write_result(result, target(tmp_path / "out", grid))
    assert [path.name for path in paths] == ["spleen.mha", "liver.mha", "aorta.mha"]
    assert (tmp_path / "out" / "else.txt").is_file()
    for path, mask in zip(paths, masks, strict=True):
        values, found = read(path)
        np.testing.assert_array_equal(values, grid.from_canonical(mask))
        assert_same_geometry(found, image)

    values = rng.choice(np.array([0, 1, 5, 52], np.uint8), grid.canonical_shape)
    path, names = write_result(LabelMap(values, LABELS, grid), target(tmp_path / "s0.mha", grid))
    np.testing.assert_array_equal(read(path)[0], grid.from_canonical(values))
    assert json.loads(names.read_text()) == {str(s.id): s.name for s in LABELS}
    assert names == tmp_path / "s0.labels.json"
    assert_same_place(read_scan(path), read(path)[1])


def test_slabs_are_one_stream(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("tomoseg.files.itk.write_metaimage._SLAB_BYTES", 50)
    stored = rng.integers(0, 256, (4, 5, 7)).astype(np.uint8)
    write_metaimage(tmp_path / "a.mha", stored, SourceGrid((4, 5, 7), np.eye(4)))
    np.testing.assert_array_equal(read(tmp_path / "a.mha")[0], stored)
    header, _, data = (tmp_path / "a.mha").read_bytes().partition(b"LOCAL\n")
    assert f"CompressedDataSize = {len(data):016}".encode() in header


def test_what_does_not_fit_is_refused(tmp_path):
    grid = SourceGrid((2, 3, 4), np.eye(4))
    with pytest.raises(InputError, match=r"a\.mha: expected uint8 or uint16, got float32; convert the array"):
        write_metaimage(tmp_path / "a.mha", np.zeros((2, 3, 4), np.float32), grid)
    with pytest.raises(GridError, match=r"expected an array on the scan's grid \(2, 3, 4\)"):
        write_metaimage(tmp_path / "a.mha", np.zeros((2, 3, 5), np.uint8), grid)
    climbing = Segmentation(LabelSet((Structure(1, "../a"),)), grid)
    with pytest.raises(LabelError, match=r"\.\./a"):
        write_result(climbing, target(tmp_path / "out", grid))
    assert list(tmp_path.iterdir()) == []
