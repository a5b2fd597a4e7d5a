"""Masks as channels of one file, written by NiBabel, pynrrd and SimpleITK."""

import nibabel
import nrrd
import numpy as np
import pytest
import SimpleITK

from tomoseg.errors import InputError, LabelError
from tomoseg.files.channels import channel_names, count_channels
from tomoseg.files.label_files import open_segments, read_geometry, read_label_map
from tomoseg.files.nifti import write_nifti
from tomoseg.volume import SourceGrid, same_grid

AFFINE = np.array([[-0.96, 0.56, 0, 5], [-0.28, -1.92, 0, 7], [0, 0, -3, 9], [0, 0, 0, 1]])
GRID = SourceGrid((4, 5, 6), AFFINE)
NAMES = ("liver", "spleen", "tumour")


def nifti(path, channels, dtype=np.uint8):
    image = nibabel.Nifti1Image(np.moveaxis(channels, 0, 3).astype(dtype), AFFINE)
    nibabel.save(image, path)


def vector_nifti(path, channels):
    image = nibabel.Nifti1Image(np.moveaxis(channels, 0, 3)[:, :, :, None].astype(np.float32), AFFINE)
    nibabel.save(image, path)


def nrrd_of(path, channels, last=False):
    nan = np.full((1, 3), np.nan)
    steps = AFFINE[:3, :3].T
    header = {
        "space": "right-anterior-superior",
        "space origin": AFFINE[:3, 3],
        "space directions": np.vstack([steps, nan] if last else [nan, steps]),
    }
    nrrd.write(str(path), np.moveaxis(channels, 0, 3 if last else 0).astype(np.uint8), header)


def nrrd_last(path, channels):
    nrrd_of(path, channels, last=True)


def metaimage(path, channels, vector=False):
    """With four axes, or as a vector image; SimpleITK's arrays are (c, z, y, x), or (z, y, x, c)."""
    array = channels.transpose(3, 2, 1, 0) if vector else channels.transpose(0, 3, 2, 1)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(array.astype(np.uint8)), isVector=vector)
    lps = np.diag([-1.0, -1, 1]) @ AFFINE[:3]
    spacing = np.linalg.norm(lps[:, :3], axis=0)
    axes = 3 if vector else 4
    turns = np.eye(axes)
    turns[:3, :3] = lps[:, :3] / spacing
    image.SetSpacing([*spacing, *[1.0] * (axes - 3)])
    image.SetOrigin([*lps[:, 3], *[0.0] * (axes - 3)])
    image.SetDirection(turns.ravel().tolist())
    SimpleITK.WriteImage(image, str(path), True)


def metaimage_vector(path, channels):
    metaimage(path, channels, vector=True)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.nii.gz", nifti),
        ("a.nii", vector_nifti),
        ("a.nrrd", nrrd_of),
        ("a.nrrd", nrrd_last),
        ("a.mha", metaimage),
        ("a.mha", metaimage_vector),
    ],
)
def test_every_kind_keeps_overlaps(tmp_path, rng, name, write):
    channels = rng.random((3, 4, 5, 6)) < 0.4
    path = tmp_path / name
    write(path, channels)
    assert count_channels(path) == 3
    assert channel_names(path, NAMES) == NAMES
    assert same_grid(read_geometry(path), GRID)
    segments = open_segments(path, GRID, channels=NAMES)
    for number, structure in enumerate(NAMES):
        np.testing.assert_array_equal(segments.mask(structure), GRID.to_canonical(channels[number]))
    with pytest.raises(InputError, match=r"expected (3 axes|one number per voxel)"):
        read_label_map(path)


@pytest.mark.parametrize("write", [nifti, nrrd_of])
def test_a_first_channel_of_background_is_left_out(tmp_path, rng, write):
    path = tmp_path / ("a.nii.gz" if write is nifti else "a.nrrd")
    masks = rng.random((3, 4, 5, 6)) < 0.3
    write(path, np.concatenate([~masks.any(axis=0, keepdims=True), masks]))
    segments = open_segments(path, GRID, channels=channel_names(path, NAMES))
    np.testing.assert_array_equal(segments.mask("tumour"), GRID.to_canonical(masks[2]))
    write(path, np.concatenate([masks[:1], masks]))
    with pytest.raises(
        LabelError, match="expected the background as the first of 4 channels for 3 names, got one that"
    ):
        open_segments(path, channels=NAMES).mask("spleen")


def test_names_must_fit_and_are_numbers_where_there_are_none(tmp_path, rng):
    path = tmp_path / "a.nii.gz"
    nifti(path, rng.random((3, 4, 5, 6)) < 0.4)
    assert channel_names(path, ()) == ("structure_1", "structure_2", "structure_3")
    with pytest.raises(LabelError, match="expected as many channels as the 1 names, or one more with the background"):
        channel_names(path, NAMES[:1])
    write_nifti(path, np.zeros((4, 5, 6), np.uint8), GRID)
    assert channel_names(path, NAMES) == ()
    path.write_bytes(b"damaged")
    assert channel_names(path, NAMES) == ()


@pytest.mark.parametrize("write", [nifti, metaimage, nrrd_of])
def test_other_values_than_0_and_1_are_refused(tmp_path, rng, write):
    path = tmp_path / {nifti: "a.nii.gz", metaimage: "a.mha", nrrd_of: "a.nrrd"}[write]
    write(path, rng.integers(0, 4, (3, 4, 5, 6)))
    with pytest.raises(InputError, match="expected only 0 and 1"):
        open_segments(path, channels=NAMES).mask("liver")
