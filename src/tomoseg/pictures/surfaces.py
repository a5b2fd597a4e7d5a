"""Smooth surfaces of masks for display, with a limited number of triangles in all.

A mask is averaged over blocks of voxels, which are larger the larger its surface is, and blurred by less than a block.
Marching cubes follow the level that encloses the mask's volume, so that a rib or a thin vessel does not vanish and
steps between slices do not show. Such a surface is for display, not for measurement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt8, UInt32
from scipy import ndimage

from tomoseg.files.meshes import Mesh, surface_at
from tomoseg.masks import BoxedMask

MOST_TRIANGLES = 400_000
"""Largest number for all surfaces together; any computer of the last ten years rotates as many smoothly."""

LEAST_TRIANGLES = 200
"""Number of triangles that each surface may have, however many surfaces there are."""

_BLUR_BLOCKS = 0.7
"""Standard deviation of the blur in blocks."""
_RIM = 3
"""Number of empty blocks around a mask, so that its blurred edge lies within the array."""
_TRIANGLES_A_BLOCK_FACE = 2.2
"""Number of triangles that marching cubes make per area of a block's face, measured on balls."""
_STAIRCASE = 1.5
"""Ratio of the area of voxel faces to that of the surface they represent; exact for a ball."""
_HIGHEST_LEVEL, _SHARE_OF_PEAK = 0.5, 0.6


@dataclass(frozen=True)
class Shape:
    """A packed mask, with the measures that decide how finely it is drawn.

    Attributes:
        packed: `(b,)`: the bounding box of the mask, eight voxels per byte.
        extent: Shape of the box in voxels.
        start: Index of the first voxel of the box in the scan.
        voxels: Number of voxels in the mask.
        area_mm2: Approximate area of the surface.
        thickness_mm: Twice the volume divided by the area: the thickness of a sheet, or the radius of a tube.
    """

    packed: UInt8[np.ndarray, " b"]
    extent: tuple[int, ...]
    start: tuple[int, int, int]
    voxels: int
    area_mm2: float
    thickness_mm: float

    @classmethod
    def of(cls, mask: BoxedMask, spacing_mm: Sequence[float]) -> Shape:
        """Pack and measure a mask that is not empty.

        Args:
            mask: The mask in RAS+ order.
            spacing_mm: Voxel spacing along each axis.

        Example:
            >>> shape = Shape.of(BoxedMask.of(np.ones((2, 2, 1), bool)), (1.0, 1.0, 3.0))
            >>> shape.area_mm2 * 1.5, shape.thickness_mm  # the sides of a box of 2 x 2 x 3 mm
            (32.0, 1.125)
        """
        voxel_mm3 = float(np.prod(spacing_mm))
        padded = np.pad(mask.inside, 1)
        faces = [np.count_nonzero(np.diff(padded, axis=axis)) for axis in range(3)]
        sides_mm2 = sum(n * voxel_mm3 / edge for n, edge in zip(faces, spacing_mm, strict=True))
        area_mm2 = float(sides_mm2) / _STAIRCASE
        volume_mm3 = mask.voxels * voxel_mm3
        packed = np.packbits(mask.inside)
        thickness_mm = 2 * volume_mm3 / area_mm2
        return cls(packed, mask.inside.shape, mask.start, mask.voxels, area_mm2, thickness_mm)

    def inside(self) -> UInt8[np.ndarray, "x y z"]:
        """Return the mask in its bounding box, as 0 and 1."""
        return np.unpackbits(self.packed, count=int(np.prod(self.extent))).reshape(self.extent)


def surfaces_of(
    shapes: Sequence[Shape],
    affine: Float64[np.ndarray, "4 4"],
    spacing_mm: Sequence[float],
    most: int = MOST_TRIANGLES,
) -> list[Mesh]:
    """Make a surface of each mask, with a limited number of triangles in all.

    Args:
        shapes: Masks that are not empty, on one grid.
        affine: Voxel indices to RAS+ mm.
        spacing_mm: Voxel spacing along each axis.
        most: Largest number of triangles in all; at least `LEAST_TRIANGLES` per mask are allowed.

    Returns:
        The surfaces, in the order of the masks.

    Raises:
        ConfigError: If scikit-image is not installed.
    """
    most = max(most, LEAST_TRIANGLES * len(shapes))
    edges_mm = _edges_mm(shapes, most)
    coarser = 1.0
    while True:
        blocks = [_block(coarser * edge, spacing_mm) for edge in edges_mm]
        made = [smooth_surface(shape, affine, block) for shape, block in zip(shapes, blocks, strict=True)]
        total = sum(len(mesh.triangles) for mesh in made)
        if total <= most:
            return made
        coarser *= 1.05 * (total / most) ** 0.5


def _edges_mm(shapes: Sequence[Shape], most: int) -> list[float]:
    """Return edges of blocks: triangles are shared out by the root of area; no block is thicker than its mask."""
    roots = [shape.area_mm2**0.5 for shape in shapes]
    total = sum(roots)
    wanted = [most * root / total for root in roots]
    by_area = [
        (_TRIANGLES_A_BLOCK_FACE * shape.area_mm2 / share) ** 0.5 for shape, share in zip(shapes, wanted, strict=True)
    ]
    return [min(edge, shape.thickness_mm) for edge, shape in zip(by_area, shapes, strict=True)]


def _block(edge_mm: float, spacing_mm: Sequence[float]) -> tuple[int, int, int]:
    x, y, z = (max(1, round(edge_mm / spacing)) for spacing in spacing_mm)
    return (x, y, z)


def smooth_surface(shape: Shape, affine: Float64[np.ndarray, "4 4"], block: tuple[int, int, int]) -> Mesh:
    """Make the surface of a mask averaged over blocks.

    Args:
        shape: A mask that is not empty.
        affine: Voxel indices to RAS+ mm.
        block: Voxels of a block along each axis.

    Raises:
        ConfigError: If scikit-image is not installed.
    """
    field = ndimage.gaussian_filter(averaged(shape.inside(), block), _BLUR_BLOCKS, mode="constant", truncate=3.0)
    size = np.array(block, float)
    first = shape.start - _RIM * size + (size - 1) / 2
    return surface_at(field, _level(field, shape.voxels / float(size.prod())), affine, first, size)


def averaged(inside: UInt8[np.ndarray, "x y z"], block: Iterable[int]) -> Float32[np.ndarray, "bx by bz"]:
    """Return the fraction of each block that is inside the mask, with a rim of empty blocks around them.

    Example:
        >>> averaged(np.ones((3, 1, 1), np.uint8), (2, 1, 1))[:, 3, 3].tolist()
        [0.0, 0.0, 0.0, 1.0, 0.5, 0.0, 0.0, 0.0]
    """
    values: UInt8[np.ndarray, "x y z"] | UInt32[np.ndarray, "x y z"] = inside
    voxels = 1
    for axis, size in enumerate(block):
        rest = -values.shape[axis] % size
        padded = np.pad(values, [(0, rest if other == axis else 0) for other in range(3)])
        grouped = padded.reshape(*padded.shape[:axis], -1, size, *padded.shape[axis + 1 :])
        values = grouped.sum(axis=axis + 1, dtype=np.uint32)
        voxels *= size
    return np.pad(values.astype(np.float32) / np.float32(voxels), _RIM)


def _level(field: Float32[np.ndarray, "x y z"], blocks: float) -> float:
    """Return the level that encloses the volume of `blocks` blocks, at most 0.5 and below the peak."""
    flat = field.ravel()
    place = min(max(round(blocks), 1), flat.size)
    kept = float(np.partition(flat, flat.size - place)[flat.size - place])
    return min(_HIGHEST_LEVEL, kept, _SHARE_OF_PEAK * float(flat.max()))
