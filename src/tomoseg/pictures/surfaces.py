"""Surfaces of masks to be looked at: smooth, and together of no more triangles than a page should hold.

A mask is averaged over blocks of voxels, the larger the more surface it has, blurred by less than a block, and
marching cubes follow the value above which there is as much volume as in the mask: a rib or a thin vessel does not
vanish, and steps from slice to slice do not show. Such a surface is to be seen, not to be measured.
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
"""Of all surfaces together: what any computer of the last ten years turns without a pause."""

LEAST_TRIANGLES = 200
"""A share of that which each surface has in any case, however many there are."""

_BLUR_BLOCKS = 0.7
"""Standard deviation."""
_RIM = 3
"""Blocks of nothing around a mask, so that its blurred edge lies within."""
_TRIANGLES_A_BLOCK_FACE = 2.2
"""That marching cubes make of a surface as large as one side of a block; measured on balls."""
_STAIRCASE = 1.5
"""Sides of voxels make so much more surface than what they stand for; exact for a ball."""
_HIGHEST_LEVEL, _SHARE_OF_PEAK = 0.5, 0.6


@dataclass(frozen=True)
class Shape:
    """A mask in an eighth of its memory, with what decides how finely it is drawn.

    Attributes:
        packed: Its box, eight voxels a byte.
        extent: The box's shape.
        start: The box's first voxel.
        voxels: Inside.
        area_mm2: About that of its surface.
        thickness_mm: Twice its volume by its area: a sheet's thickness, a tube's radius.
    """

    packed: UInt8[np.ndarray, " b"]
    extent: tuple[int, ...]
    start: tuple[int, int, int]
    voxels: int
    area_mm2: float
    thickness_mm: float

    @classmethod
    def of(cls, mask: BoxedMask, spacing_mm: Sequence[float]) -> Shape:
        """What there is of a mask that is not empty.

        Args:
            mask: In RAS+ order.
            spacing_mm: Voxel edges.

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
        """The mask in its box, 0 or 1."""
        return np.unpackbits(self.packed, count=int(np.prod(self.extent))).reshape(self.extent)


def surfaces_of(
    shapes: Sequence[Shape],
    affine: Float64[np.ndarray, "4 4"],
    spacing_mm: Sequence[float],
    most: int = MOST_TRIANGLES,
) -> list[Mesh]:
    """A surface of each mask, together of so many triangles at most.

    Args:
        shapes: Masks that are not empty, on one grid.
        affine: Its voxels to RAS+ mm.
        spacing_mm: Their edges.
        most: Triangles; more if there are so many masks that each would have fewer than `LEAST_TRIANGLES`.

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
    """Edges of blocks: triangles are shared out by the root of the area, and what is thin gets no thicker blocks."""
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
    """The surface of a mask averaged over blocks.

    Args:
        shape: A mask that is not empty.
        affine: Its voxels to RAS+ mm.
        block: Voxels along each axis.

    Raises:
        ConfigError: If scikit-image is not installed.
    """
    field = ndimage.gaussian_filter(averaged(shape.inside(), block), _BLUR_BLOCKS, mode="constant", truncate=3.0)
    size = np.array(block, float)
    first = shape.start - _RIM * size + (size - 1) / 2
    return surface_at(field, _level(field, shape.voxels / float(size.prod())), affine, first, size)


def averaged(inside: UInt8[np.ndarray, "x y z"], block: Iterable[int]) -> Float32[np.ndarray, "bx by bz"]:
    """The share of each block that is inside, with a rim of empty blocks around.

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
    """The value above which there is as much volume as so many blocks: at most a half, and below the peak."""
    flat = field.ravel()
    place = min(max(round(blocks), 1), flat.size)
    kept = float(np.partition(flat, flat.size - place)[flat.size - place])
    return min(_HIGHEST_LEVEL, kept, _SHARE_OF_PEAK * float(flat.max()))
