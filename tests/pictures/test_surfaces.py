"""Surfaces to be looked at: where they lie, how many triangles they have, and that nothing thin vanishes."""

from collections import Counter

import numpy as np
import pytest

from tomoseg.masks import BoxedMask
from tomoseg.pictures.surfaces import LEAST_TRIANGLES, Shape, averaged, smooth_surface, surfaces_of

pytest.importorskip("skimage", reason="needs scikit-image")

SPACING_MM = (1.0, 1.0, 2.0)
AFFINE = np.diag([*SPACING_MM, 1.0])
AFFINE[:3, 3] = (10.0, 20.0, 30.0)


def ball(radius_mm=20.0, shape=(60, 60, 30)):
    middle = (np.array(shape) - 1) / 2
    squared = sum(
        ((axis - at) * edge) ** 2 for axis, at, edge in zip(np.indices(shape), middle, SPACING_MM, strict=True)
    )
    return BoxedMask.of(squared <= radius_mm**2)


def volume_mm3(mesh):
    """Of tetrahedra from the origin; positive where triangles are counter-clockwise from outside."""
    a, b, c = (mesh.points_mm.astype(float)[mesh.triangles[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6)


@pytest.mark.parametrize("block", [(1, 1, 1), (3, 3, 2), (6, 6, 3)])
def test_a_ball_stays_where_it_is_and_as_large_as_it_is(block):
    mask = ball()
    mesh = smooth_surface(Shape.of(mask, SPACING_MM), AFFINE, block)
    assert volume_mm3(mesh) == pytest.approx(2 * mask.voxels, rel=0.04)
    # the middle of 60 x 60 x 30 voxels lies at 29.5, 29.5 and 14.5 of them; LPS turns x and y round
    middle = (mesh.points_mm.min(axis=0) + mesh.points_mm.max(axis=0)) / 2
    assert middle == pytest.approx((-39.5, -49.5, 59.0), abs=0.5)
    edges = Counter(tuple(sorted(pair)) for t in mesh.triangles.tolist() for pair in (t[:2], t[1:], t[::2]))
    assert set(edges.values()) == {2}  # closed


def test_the_coarser_the_fewer():
    shape = Shape.of(ball(), SPACING_MM)
    fine, coarse = (len(smooth_surface(shape, AFFINE, block).triangles) for block in ((1, 1, 1), (4, 4, 2)))
    assert coarse < fine / 8


def test_all_together_have_no_more_triangles_than_asked_for():
    shapes = [Shape.of(ball(radius), SPACING_MM) for radius in (20.0, 10.0, 5.0)]
    for most in (8000, 2000, 600):
        meshes = surfaces_of(shapes, AFFINE, SPACING_MM, most)
        counts = [len(mesh.triangles) for mesh in meshes]
        assert sum(counts) <= most
        assert min(counts) > 20
        assert counts[0] > counts[2]
    assert surfaces_of([], AFFINE, SPACING_MM) == []
    many = surfaces_of(shapes, AFFINE, SPACING_MM, 1)
    assert sum(len(mesh.triangles) for mesh in many) <= 3 * LEAST_TRIANGLES


def test_what_is_thin_does_not_vanish():
    shape = (40, 40, 40)
    voxel, sheet, thread = (np.zeros(shape, bool) for _ in range(3))
    voxel[20, 20, 20] = True
    sheet[5:35, 5:35, 20] = True
    thread[20, 20, 5:35] = True
    for mask in (voxel, sheet, thread):
        mesh = smooth_surface(Shape.of(BoxedMask.of(mask), (1.0, 1.0, 1.0)), np.eye(4), (5, 5, 5))
        places = np.argwhere(mask) * (-1, -1, 1)
        assert len(mesh.triangles) >= 8
        assert (mesh.points_mm.min(axis=0) <= places.max(axis=0)).all()
        assert (mesh.points_mm.max(axis=0) >= places.min(axis=0)).all()


def test_a_mask_is_kept_whole():
    mask = BoxedMask.of(np.random.default_rng(0).random((5, 7, 3)) > 0.5)
    shape = Shape.of(mask, (1.0, 1.0, 1.0))
    assert np.array_equal(shape.inside(), mask.inside)
    assert shape.packed.nbytes == -(-5 * 7 * 3 // 8)


def test_blocks_that_reach_beyond_the_mask_are_part_empty():
    inside = np.ones((5, 2, 1), np.uint8)
    found = averaged(inside, (2, 2, 2))
    assert found.shape == (3 + 6, 1 + 6, 1 + 6)
    assert found[3:6, 3, 3].tolist() == [0.5, 0.5, 0.25]
    assert found.sum() == 1.25
