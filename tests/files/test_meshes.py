import struct

import numpy as np
import pytest

from tests.files.dicom.scans import LABELS, overlapping
from tomoseg.errors import ConfigError
from tomoseg.files import meshes
from tomoseg.files.meshes import mesh_of, write_meshes, write_ply, write_stl
from tomoseg.masks import BoxedMask
from tomoseg.volume import Volume

TURNED = np.array([[0.96, -0.56, 0, 5], [0.28, 1.92, 0, 7], [0, 0, 3, 9], [0, 0, 0, 1]])
VOXEL_ML = 6.0  # 1 x 2 x 3 mm


def volume_of(mesh):
    """By the divergence theorem; positive if triangles are seen counter-clockwise from outside."""
    corners = mesh.points_mm[mesh.triangles].astype(float)
    return np.einsum("ij,ij->i", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])).sum() / 6


def assert_closed(mesh):
    """Every edge is run through once in either direction."""
    ways = [tuple(way) for a, b in ((0, 1), (1, 2), (2, 0)) for way in mesh.triangles[:, [a, b]].tolist()]
    assert len(set(ways)) == len(ways)
    assert {(b, a) for a, b in ways} == set(ways)


def test_a_ball_is_closed_and_as_large_as_its_voxels():
    x, y, z = np.mgrid[:40, :40, :40]
    inside = np.linalg.norm([x - 20, y - 20, z - 20], axis=0) <= 15
    mesh = mesh_of(BoxedMask.of(inside), TURNED)
    assert_closed(mesh)
    assert volume_of(mesh) == pytest.approx(inside.sum() * VOXEL_ML, rel=0.01)
    centre = TURNED @ [20, 20, 20, 1]
    np.testing.assert_allclose(mesh.points_mm.mean(axis=0), centre[:3] * (-1, -1, 1), atol=0.05)


def test_one_voxel_is_an_octahedron_around_its_centre():
    mask = np.zeros((4, 5, 6), bool)
    mask[3, 2, 0] = True  # at the border of the scan
    mesh = mesh_of(BoxedMask.of(mask), TURNED)
    assert_closed(mesh)
    assert volume_of(mesh) == pytest.approx(VOXEL_ML / 6, rel=1e-5)  # two pyramids on half a square
    steps = [step for axis in range(3) for step in (TURNED[:3, axis] / 2, -TURNED[:3, axis] / 2)]
    expected = [((TURNED @ [3, 2, 0, 1])[:3] + step) * (-1, -1, 1) for step in steps]
    np.testing.assert_allclose(np.sort(mesh.points_mm, 0), np.sort(expected, 0), atol=1e-5)


def test_noise_is_closed(rng):
    mesh = mesh_of(BoxedMask.of(rng.random((7, 8, 9)) < 0.5), np.eye(4))
    assert volume_of(mesh) > 0
    edges = np.sort(np.concatenate([mesh.triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert set(counts % 2) == {0}


def ball():
    return mesh_of(BoxedMask.of(np.ones((2, 3, 4), bool)), TURNED)


def test_stl_by_its_definition(tmp_path):
    mesh = ball()
    write_stl(mesh, tmp_path / "a.stl", "liver", (1, 2, 3))
    data = (tmp_path / "a.stl").read_bytes()
    assert data[:80].rstrip() == b"SPACE=LPS mm, liver"
    (count,) = struct.unpack("<I", data[80:84])
    assert (count, len(data)) == (len(mesh.triangles), 84 + 50 * count)
    numbers = np.array([struct.unpack_from("<12f", data, 84 + 50 * number) for number in range(count)])
    np.testing.assert_array_equal(numbers[:, 3:].reshape(-1, 3, 3), mesh.points_mm[mesh.triangles])
    outward = numbers[:, 3:6] - mesh.points_mm.mean(axis=0)
    assert (np.einsum("ij,ij->i", numbers[:, :3], outward) > 0).all()


def test_ply_by_its_definition(tmp_path):
    mesh = ball()
    write_ply(mesh, tmp_path / "a.ply", "liver", (1, 2, 3))
    head, body = (tmp_path / "a.ply").read_bytes().split(b"end_header\n")
    points, faces = len(mesh.points_mm), len(mesh.triangles)
    assert head.splitlines()[:3] == [b"ply", b"format binary_little_endian 1.0", b"comment SPACE=LPS"]
    assert f"element vertex {points}\n".encode() in head
    assert f"element face {faces}\n".encode() in head
    assert len(body) == points * 15 + faces * 13
    assert struct.unpack_from("<3f3B", body, 15) == (*mesh.points_mm[1].tolist(), 1, 2, 3)
    assert struct.unpack_from("<B3i", body, points * 15) == (3, *mesh.triangles[0].tolist())


def test_a_file_for_each_structure_that_was_found(tmp_path, rng):
    volume = Volume.from_array(np.zeros((4, 5, 6), np.int16), TURNED)
    (tmp_path / "stl").mkdir()
    (tmp_path / "stl" / "liver.stl").write_bytes(b"of a former result")
    names = write_meshes(overlapping(volume, rng), tmp_path / "stl", "stl")
    assert names == ["spleen.stl", "kidney_right.stl", "a structure of my own.stl"]
    assert sorted(path.name for path in (tmp_path / "stl").iterdir()) == sorted(names)
    assert LABELS.names[2] == "liver"


def test_without_scikit_image(monkeypatch):
    monkeypatch.setattr("tomoseg.packages.is_installed", lambda module: module != "skimage")
    with pytest.raises(ConfigError, match=r"expected scikit-image, found none; .*tomoseg\[meshes\]"):
        meshes.mesh_of(BoxedMask.of(np.ones((1, 1, 1), bool)), np.eye(4))
