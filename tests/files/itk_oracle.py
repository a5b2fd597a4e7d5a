"""SimpleITK as an independent reader and writer: what it says where a voxel lies."""

import itertools

import numpy as np
import SimpleITK

ORIENTATIONS = [
    np.eye(3)[list(axes)].T * signs
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]
"""Columns: where each file axis runs, in LPS; all 48 of them, mirrored ones too."""

TO_RAS = np.array([-1.0, -1.0, 1.0])


def turned(degrees_x, degrees_y, degrees_z):
    """A rotation about x, then y, then z."""
    matrix = np.eye(3)
    for (one, other), degrees in zip(((1, 2), (2, 0), (0, 1)), (degrees_x, degrees_y, degrees_z), strict=True):
        turn = np.eye(3)
        cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        turn[one, one], turn[one, other], turn[other, one], turn[other, other] = cosine, -sine, sine, cosine
        matrix = turn @ matrix
    return matrix


def itk_image(stored, directions, spacing_mm, origin):
    """An image of `(i, j, k)` voxels whose axes run along the columns of `directions`, in LPS."""
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(stored.T))
    image.SetSpacing([float(x) for x in spacing_mm])
    image.SetOrigin([float(x) for x in origin])
    image.SetDirection(np.asarray(directions, float).ravel().tolist())
    return image


def assert_same_place(volume, image, within_voxels=1e-3, hu=True):
    """Every voxel that ITK has is in the volume, at the same place in the patient and with the same value."""
    values = SimpleITK.GetArrayFromImage(image).T
    steps = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    points = steps @ np.indices(values.shape).reshape(3, -1) + np.array(image.GetOrigin())[:, None]
    ras = np.concatenate([points * TO_RAS[:, None], np.ones((1, points.shape[1]))])
    places = (np.linalg.inv(volume.affine) @ ras)[:3]
    index = np.rint(places).astype(int)
    assert volume.hu.size == values.size
    assert np.abs(places - index).max() <= within_voxels
    assert (index >= 0).all()
    if hu:
        np.testing.assert_array_equal(volume.hu[tuple(index)], values.ravel())
