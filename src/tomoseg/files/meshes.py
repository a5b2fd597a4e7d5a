"""Surface meshes of masks, as STL or PLY files.

Marching cubes at level 0.5: a surface runs midway between the centres of voxels inside and outside, and is closed also
where the mask touches the border of the scan. Triangles are counter-clockwise seen from outside. Points are in LPS+ mm,
as 3D Slicer expects, which the files state in their header (`SPACE=LPS`).

Source: Lewiner, T. et al. (2003). Journal of Graphics Tools 8(2), 1-15.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float32, Float64, Int32

from tomoseg.files.atomic import whole_file, whole_folder
from tomoseg.files.label_names import check_file_name
from tomoseg.files.target import Target
from tomoseg.masks import BoxedMask
from tomoseg.packages import require_installed
from tomoseg.segmentation import LabelMap, Segmentation, boxed_masks

MeshKind = Literal["stl", "ply"]

SPACE = "SPACE=LPS"
_STL_HEADER_BYTES = 80
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_FACE = np.dtype([("count", "u1"), ("points", "<i4", 3)])


@dataclass(frozen=True)
class Mesh:
    """A closed surface of triangles.

    Attributes:
        points_mm: `(p, 3)`, points in LPS+ mm.
        triangles: `(t, 3)`, indices of three points each, counter-clockwise seen from outside.
    """

    points_mm: Float32[np.ndarray, "p 3"]
    triangles: Int32[np.ndarray, "t 3"]


def mesh_of(mask: BoxedMask, affine: Float64[np.ndarray, "4 4"]) -> Mesh:
    """Return the surface of a mask that is not empty.

    Args:
        mask: The mask, in RAS+ order.
        affine: `(4, 4)`, maps its voxel indices to RAS+ mm.

    Raises:
        ConfigError: If scikit-image is not installed.
    """
    padded = np.pad(mask.inside, 1).astype(np.float32)
    first = np.subtract(mask.start, 1.0)
    return surface_at(padded, 0.5, affine, first, np.ones(3))


def surface_at(
    field: Float32[np.ndarray, "x y z"],
    level: float,
    affine: Float64[np.ndarray, "4 4"],
    first: Float64[np.ndarray, "3"],
    step: Float64[np.ndarray, "3"],
) -> Mesh:
    """Return the isosurface of a field, which is higher inside.

    Args:
        field: `(x, y, z)` in RAS+ order, below the level at its border, so that the surface is closed.
        level: The level, below the highest value.
        affine: `(4, 4)`, maps voxel indices to RAS+ mm.
        first: `(3,)`, position of the field's first value in voxels, possibly fractional.
        step: `(3,)`, distance of values in voxels along each axis.

    Raises:
        ConfigError: If scikit-image is not installed.
    """
    require_installed("skimage")
    from skimage.measure import marching_cubes

    points, triangles, _, _ = marching_cubes(field, level, gradient_direction="ascent", allow_degenerate=False)
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    places = points.astype(np.float64) * step + first
    points_mm = places @ to_lps[:3, :3].T + to_lps[:3, 3]
    return Mesh(points_mm.astype(np.float32), np.ascontiguousarray(triangles, np.int32))


def write_meshes(result: Segmentation | LabelMap, folder: Path, kind: MeshKind) -> list[str]:
    """Write a surface for each structure that was found, replacing all files in the folder.

    Args:
        result: The masks, or a label map.
        folder: The folder to write to.
        kind: `stl` (binary STL) or `ply` (binary PLY, with the structure's colour).

    Returns:
        The names of the files.

    Raises:
        ConfigError: If scikit-image is not installed.
        LabelError: If a name is not valid as a file name.
        OutputError: If they cannot be written.
    """
    for structure in result.labels:
        check_file_name(structure.name, str(folder))
    write = write_stl if kind == "stl" else write_ply
    written = []
    with whole_folder(folder, replace=True) as aside:
        for structure, mask in zip(result.labels, boxed_masks(result), strict=True):
            if mask.voxels:
                name = f"{structure.name}.{kind}"
                write(mesh_of(mask, result.grid.canonical_affine), aside / name, structure.name, structure.colour)
                written.append(name)
    return written


def write_stl_result(result: Segmentation | LabelMap, target: Target) -> list[Path]:
    """Write the format `stl` and return the paths, or the empty folder if nothing was found."""
    return [target.path / name for name in write_meshes(result, target.path, "stl")] or [target.path]


def write_ply_result(result: Segmentation | LabelMap, target: Target) -> list[Path]:
    """Write the format `ply` and return the paths, or the empty folder if nothing was found."""
    return [target.path / name for name in write_meshes(result, target.path, "ply")] or [target.path]


def write_stl(mesh: Mesh, path: Path, name: str, colour: tuple[int, int, int]) -> None:
    """Write a binary STL file, which cannot hold a colour.

    Raises:
        OutputError: If it cannot be written.
    """
    corners = mesh.points_mm[mesh.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    records = np.zeros(len(corners), _TRIANGLE)
    records["normal"], records["corners"] = normals, corners
    header = f"{SPACE} mm, {name}".encode("ascii", "replace")[:_STL_HEADER_BYTES].ljust(_STL_HEADER_BYTES)
    with whole_file(path) as aside:
        aside.write_bytes(header + np.uint32(len(records)).astype("<u4").tobytes() + records.tobytes())


def write_ply(mesh: Mesh, path: Path, name: str, colour: tuple[int, int, int]) -> None:
    """Write a binary PLY file, with every point in the structure's colour.

    Raises:
        OutputError: If it cannot be written.
    """
    vertex = np.dtype([("place", "<f4", 3), ("colour", "u1", 3)])
    points = np.zeros(len(mesh.points_mm), vertex)
    points["place"], points["colour"] = mesh.points_mm, colour
    faces = np.zeros(len(mesh.triangles), _FACE)
    faces["count"], faces["points"] = 3, mesh.triangles
    lines = [
        "ply", "format binary_little_endian 1.0", f"comment {SPACE}", "comment millimetres",
        f"comment {name.encode('ascii', 'replace').decode()}", f"element vertex {len(points)}",
        "property float x", "property float y", "property float z",
        "property uchar red", "property uchar green", "property uchar blue",
        f"element face {len(faces)}", "property list uchar int vertex_indices", "end_header", "",
    ]  # fmt: skip
    with whole_file(path) as aside:
        aside.write_bytes("\n".join(lines).encode() + points.tobytes() + faces.tobytes())
