"""Labels in every kind of file; what 3D Slicer writes is made by hand or with pynrrd."""

import nrrd
import numpy as np
import pytest
import SimpleITK

from tests.files.dicom.scans import label_map, overlapping
from tomoseg.errors import GridError, InputError, LabelError
from tomoseg.files.itk.seg_nrrd import write_seg_nrrd
from tomoseg.files.itk.write_metaimage import write_metaimage
from tomoseg.files.label_files import (
    label_stem,
    open_segments,
    read_geometry,
    read_label_map,
    read_mask,
    segment_values,
)
from tomoseg.files.nifti import write_nifti
from tomoseg.volume import SourceGrid, Volume, same_grid

OBLIQUE = np.array([[-0.96, 0.56, 0, 5], [-0.28, -1.92, 0, 7], [0, 0, -3, 9], [0, 0, 0, 1]])
GRID = SourceGrid((4, 5, 6), np.diag([2.0, 2.0, 3.0, 1.0]))
LAYERS = np.zeros((2, 4, 5, 6), np.uint8)
LAYERS[0, 1:3, 2, 3], LAYERS[0, 3], LAYERS[1, 2, 2, 3:5] = 1, 2, 1
SEGMENTS = {
    **{"Segment0_Name": "lung", "Segment0_LabelValue": "1", "Segment0_Layer": "0"},
    **{"Segment1_Name": "rib", "Segment1_LabelValue": "2", "Segment1_Layer": "0"},
    **{"Segment2_Name": "nodule", "Segment2_LabelValue": "1", "Segment2_Layer": "1"},
}
MASKS = {"lung": LAYERS[0] == 1, "rib": LAYERS[0] == 2, "nodule": LAYERS[1] == 1}


def write(path, layers=LAYERS, origin=(0.0, 0, 0), **changes):
    """With pynrrd, on a grid like `GRID` in RAS+, the layers first."""
    header = {"space": "right-anterior-superior", "space origin": origin, "encoding": "gzip", **SEGMENTS, **changes}
    nan = np.full((1, 3), np.nan)
    header.setdefault("space directions", np.vstack([nan, np.diag([2.0, 2, 3])]))
    nrrd.write(str(path), layers, header)
    return path


@pytest.mark.parametrize("make", [label_map, overlapping])
def test_our_own_segmentations_come_back(tmp_path, rng, make):
    result = make(Volume.from_array(np.zeros((6, 5, 19), np.int16), OBLIQUE), rng)
    write_seg_nrrd(result, tmp_path / "a.seg.nrrd")
    segments = open_segments(tmp_path / "a.seg.nrrd", result.grid)
    assert segments.names == ("spleen", "kidney_right", "a structure of my own")
    assert same_grid(read_geometry(tmp_path / "a.seg.nrrd"), result.grid)
    for name in segments.names:
        np.testing.assert_array_equal(segments.mask(name), result.mask(name))


@pytest.mark.parametrize("last", [False, True])
def test_layers_may_overlap_and_come_first_or_last(tmp_path, last):
    nan = np.full((1, 3), np.nan)
    rows = [np.diag([2.0, 2, 3]), nan] if last else [nan, np.diag([2.0, 2, 3])]
    layers = np.moveaxis(LAYERS, 0, 3) if last else LAYERS
    path = write(tmp_path / "a.seg.nrrd", layers, **{"space directions": np.vstack(rows)})
    assert segment_values(path) == {"lung": (), "rib": (2,), "nodule": ()}
    segments = open_segments(path, GRID)
    for name, mask in MASKS.items():
        np.testing.assert_array_equal(segments.mask(name), mask)


def test_one_layer_a_segment_of_former_versions(tmp_path):
    text = (
        "NRRD0004\ntype: unsigned char\ndimension: 4\nspace dimension: 4\nsizes: 4 5 6 2\nencoding: raw\n"
        "space directions: (2,0,0,0) (0,2,0,0) (0,0,3,0) (0,0,0,1)\nspace origin: (0,0,0,0)\n"
        "Segment0_Name:=bladder\nSegment1_Name:=rectum\n\n"
    )
    layers = np.minimum(LAYERS, 1)
    (tmp_path / "a.seg.nrrd").write_bytes(text.encode() + np.moveaxis(layers, 0, 3).tobytes(order="F"))
    segments = open_segments(tmp_path / "a.seg.nrrd", GRID)
    np.testing.assert_array_equal(segments.mask("bladder"), layers[0] == 1)
    np.testing.assert_array_equal(segments.mask("rectum"), layers[1] == 1)


def test_a_box_of_the_scan_is_put_back(tmp_path):
    path = write(tmp_path / "a.seg.nrrd", LAYERS[:, 1:, 2:4, 3:5], origin=(2.0, 4, 9))
    segments = open_segments(path, GRID)
    expected = np.zeros(GRID.shape, bool)
    expected[2, 2, 3:5] = True
    np.testing.assert_array_equal(segments.mask("nodule"), expected)
    with pytest.raises(GridError, match="the scan"):
        open_segments(write(tmp_path / "b.seg.nrrd", origin=(1.0, 0, 0)), GRID)
    with pytest.raises(GridError, match="the scan"):
        open_segments(write(tmp_path / "c.seg.nrrd", LAYERS[:, 1:], origin=(4.0, 0, 0)), GRID)


def test_voxels_of_no_segment_and_names_twice_are_refused(tmp_path):
    path = write(tmp_path / "a.seg.nrrd", Segment1_LabelValue="3")
    with pytest.raises(LabelError, match="expected only voxels of the 3 segments in its header, got the values 2 in"):
        open_segments(path).mask("lung")
    with pytest.raises(LabelError, match="expected each segment's name once, got lung twice"):
        segment_values(write(tmp_path / "b.seg.nrrd", Segment1_Name="lung"))
    with pytest.raises(InputError, match="expected segments in its 2 layers, got one in layer 5"):
        open_segments(write(tmp_path / "c.seg.nrrd", Segment1_Layer="5"))


def written(path, values):
    grid = SourceGrid(values.shape, OBLIQUE)
    canonical = grid.to_canonical(values)
    if path.suffix == ".mha":
        write_metaimage(path, canonical, grid)
    elif path.suffix == ".nrrd":
        write_metaimage(path.with_suffix(".mha"), canonical, grid)
        SimpleITK.WriteImage(SimpleITK.ReadImage(str(path.with_suffix(".mha"))), str(path))
    else:
        write_nifti(path.with_name("a.nii.gz"), canonical, grid)
        path.with_name("a.nii.gz").rename(path)
    return canonical, grid


@pytest.mark.parametrize("name", ["A.NII.GZ", "a.mha", "a.nrrd"])
def test_masks_and_label_maps_of_every_kind(tmp_path, rng, name):
    path = tmp_path / name
    assert label_stem(path).lower() == "a"
    for high, dtype in ((300, np.uint16), (2, np.uint8)):
        values, grid = written(path, rng.integers(0, high, (4, 5, 6)).astype(dtype))
        assert segment_values(path) is None
        assert same_grid(read_geometry(path), grid)
        np.testing.assert_array_equal(read_label_map(path, grid), values)
    np.testing.assert_array_equal(read_mask(path, grid), values == 1)
    with pytest.raises(GridError):
        read_mask(path, GRID)
    written(path, np.full((4, 5, 6), 7, np.uint8))
    with pytest.raises(InputError, match="expected only 0 and 1, got 7"):
        read_mask(path)


def test_fractions_are_no_labels(tmp_path):
    nrrd.write(
        str(tmp_path / "a.nrrd"),
        np.full((2, 2, 2), 0.5, np.float32),
        {"space": "right-anterior-superior", "space origin": (0.0, 0, 0), "space directions": np.eye(3)},
    )
    with pytest.raises(InputError, match=r"expected whole numbers from 0 to 65535, got 0\.5"):
        read_label_map(tmp_path / "a.nrrd")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123456789abcdef\nsize 1234567\n" + b" " * 60


def detached(folder, name):
    """A header whose voxels are to lie in `voxels.raw`."""
    if name.endswith(".nhdr"):
        text = (
            "NRRD0004\ntype: uchar\ndimension: 3\nspace: right-anterior-superior\nsizes: 4 5 6\nencoding: raw\n"
            "space directions: (2,0,0) (0,2,0) (0,0,3)\nspace origin: (0,0,0)\ndata file: voxels.raw\n"
        )
    else:
        text = "NDims = 3\nDimSize = 4 5 6\nElementSpacing = 2 2 3\nElementType = MET_UCHAR\n"
        text += "ElementDataFile = voxels.raw\n"
    (folder / name).write_text(text)
    return folder / name


@pytest.mark.parametrize("name", ["a.nhdr", "a.mhd"])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (LFS, "a git-lfs pointer, without the file's content; fetch it with git lfs pull"),
        (b"<!DOCTYPE html><p>Sign in" + b"." * 200, "a web page or XML, as a failed download leaves it"),
        (b"<p>", "a file that cannot hold them"),
        (b"\x89PNG\r\n", "a PNG picture"),
        (bytes(20), "zeros, as a placeholder or an unfinished download has them"),
    ],
)
def test_what_lies_in_the_place_of_voxels_is_called_by_name(tmp_path, name, content, what):
    path = detached(tmp_path, name)
    (tmp_path / "voxels.raw").write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: expected .*, got {what}"):
        read_mask(path)
    (tmp_path / "voxels.raw").write_bytes(bytes(120))  # as many voxels, all of them empty
    assert not read_mask(path).any()


@pytest.mark.parametrize("name", ["a.nhdr", "a.mhd"])
def test_voxels_that_are_not_there(tmp_path, name):
    path = detached(tmp_path, name)
    with pytest.raises(InputError, match=r"expected the data file that it names, got nothing of that name"):
        read_mask(path)
    (tmp_path / "voxels.raw").symlink_to(tmp_path / "gone")
    with pytest.raises(
        InputError, match=r"expected the data file that it names, got a link to a file that is not there"
    ):
        read_mask(path)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.seg.nrrd"])
def test_a_link_to_nothing_is_called_that(tmp_path, name):
    (tmp_path / name).symlink_to(tmp_path / "gone")
    with pytest.raises(
        InputError, match=r"expected a file, got a link to a file that is not there; bring that file back"
    ):
        read_geometry(tmp_path / name)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="expected a file, got nothing of that name"):
        read_geometry(tmp_path / name)
