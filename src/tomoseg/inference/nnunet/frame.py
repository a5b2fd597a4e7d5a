"""Axes and grid of an imported network in a scan.

A scan's axes are x, y and z in RAS+ order; the network's are those of the file in reverse order or, where training
reoriented its files, z, y and x, permuted by the plans' transpose. All work is done along x, y and z, so that a scan
streams from inferior to superior whatever the network's axes are; patches are transposed to these and back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int16

from tomoseg.errors import GridError
from tomoseg.grid import MOST_VOXELS, Placement, Triple
from tomoseg.nnunet import NnunetPlan
from tomoseg.volume import SourceGrid

ANISOTROPIC = 3.0
"""Ratio of a voxel's longest to shortest edge above which slices are interpolated separately."""

Edges = tuple[float, float, float]


@dataclass(frozen=True)
class Frame:
    """The network's axes in a scan.

    Attributes:
        along: Index of the scan's axis (x, y, z) of each of the network's three axes.
        backwards: Whether each of the network's axes is reversed.
    """

    along: Triple
    backwards: tuple[bool, bool, bool]

    @classmethod
    def of(cls, plan: NnunetPlan, source: SourceGrid) -> Frame:
        """Determine the network's axes in a scan.

        Args:
            plan: The network's plan.
            source: The scan's grid, with the axes of its file.

        Example:
            >>> from tomoseg.nnunet import Intensity
            >>> plan = {"spacing_mm": (1, 1, 1), "patch": (8, 8, 8), "intensity": Intensity(scheme="none")}
            >>> lps = SourceGrid((4, 4, 4), np.diag([-1.0, -1.0, 1.0, 1.0]))
            >>> Frame.of(NnunetPlan(decision="exclusive", **plan), lps)
            Frame(along=(2, 1, 0), backwards=(False, True, True))
        """
        axes = [(2, False), (1, False), (0, False)]
        if plan.axes == "file":
            axes = [(int(target), bool(direction < 0)) for target, direction in source.orientation[::-1]]
        (a, back_a), (b, back_b), (c, back_c) = (axes[number] for number in plan.transpose)
        return cls((a, b, c), (back_a, back_b, back_c))

    def of_scan(self, along_network: Edges) -> Edges:
        """Reorder values along the network's axes to x, y and z."""
        found = [0.0, 0.0, 0.0]
        for axis, value in zip(self.along, along_network, strict=True):
            found[axis] = value
        return (found[0], found[1], found[2])

    def to_network(self, block: Float32[np.ndarray, "x y z"]) -> Float32[np.ndarray, "a b c"]:
        """Return a view of a block along the network's axes."""
        return np.flip(block.transpose(self.along), tuple(n for n, back in enumerate(self.backwards) if back))

    def to_scan(self, logits: Float32[np.ndarray, "s a b c"]) -> Float32[np.ndarray, "s x y z"]:
        """Return a view of a patch's logits along x, y and z."""
        turned = np.flip(logits, tuple(1 + n for n, back in enumerate(self.backwards) if back))
        return turned.transpose(0, *(1 + self.along.index(axis) for axis in range(3)))


@dataclass(frozen=True)
class NetworkGrid:
    """The grid of an imported network in a scan.

    Attributes:
        placement: Its position; its box is that of the scan's nonzero voxels.
        separate: Axis along which resampling to the grid takes the nearest slice, if there is one.
        frame: The network's axes.
        patch: Patch size along x, y and z.
    """

    placement: Placement
    separate: int | None
    frame: Frame
    patch: Triple

    @property
    def padding(self) -> tuple[tuple[int, int], ...]:
        """Voxels of padding before and after the grid along x, y and z, to fill a patch."""
        found = []
        for axis, (edge, patch) in enumerate(zip(self.placement.shape, self.patch, strict=True)):
            missing = max(0, patch - edge)
            ends = (missing // 2, missing - missing // 2)
            found.append(ends[::-1] if self.frame.backwards[self.frame.along.index(axis)] else ends)
        return tuple(found)


def lay_grid(hu: Int16[np.ndarray, "x y z"], source: SourceGrid, plan: NnunetPlan) -> NetworkGrid:
    """Lay a network's grid over a scan.

    Args:
        hu: The scan in HU, in RAS+ order.
        source: The scan's grid.
        plan: The network's plan.

    Raises:
        GridError: If the grid would have more than `MOST_VOXELS`.
    """
    frame = Frame.of(plan, source)
    box = nonzero_box(hu)
    extent = _three([high - low for low, high in box])
    own = header_edges(source)
    between = own[frame.along[0]]  # a 2D network keeps the scan's slices
    edges = plan.spacing_mm if len(plan.spacing_mm) == 3 else (between, *plan.spacing_mm)
    wanted = frame.of_scan((edges[0], edges[1], edges[2]))
    shape = _shape(extent, own, wanted)
    separate, back = None, None
    if shape != extent:
        separate = separate_axis(own, wanted, plan.separate_scan)
        back = separate_axis(wanted, own, plan.separate_logits)
    placed = Placement(_three([low for low, _ in box]), extent, shape, _three_flags(back))
    patch = frame.of_scan((1, *plan.patch) if len(plan.patch) == 2 else plan.patch)  # type: ignore[arg-type]
    return NetworkGrid(placed, separate, frame, _three([int(edge) for edge in patch]))


def header_edges(source: SourceGrid) -> Edges:
    """Return the voxel spacing along x, y and z in mm, as the file's header states it.

    In an oblique scan it is the length of direction vectors, which differs in the last digits. It is rounded to seven
    digits and to the 32 bits of a NIfTI header: a grid or a margin may depend on whether an edge is 1.5 or less.

    Args:
        source: The scan's grid.

    Example:
        >>> slanted = np.array([[1.2, -0.9, 0, 0], [0.9, 1.2, 0, 0], [0, 0, 5, 0], [0, 0, 0, 1]], np.float32)
        >>> header_edges(SourceGrid((4, 4, 4), slanted.astype(float)))
        (1.5, 1.5, 5.0)
    """
    directions = source.canonical_affine[:3, :3]
    x, y, z = (
        float(np.float32(f"{edge:.7g}")) if np.count_nonzero(direction) > 1 else edge
        for edge, direction in zip(source.spacing_mm, directions.T, strict=True)
    )
    return (x, y, z)


def _shape(extent: Triple, own: Edges, wanted: Edges) -> Triple:
    """Return the shape of the grid; halves are rounded to even, as in nnU-Net.

    Raises:
        GridError: If it has more than `MOST_VOXELS`.
    """
    edges = [max(1, round(was / to * edge)) for was, to, edge in zip(own, wanted, extent, strict=True)]
    if math.prod(edges) > MOST_VOXELS:
        raise GridError(
            f"expected a grid of at most {MOST_VOXELS} voxels, got {tuple(edges)} for voxels of "
            f"{tuple(round(edge, 3) for edge in own)} mm; check the scan's unit"
        )
    return _three(edges)


def nonzero_box(hu: Int16[np.ndarray, "x y z"]) -> tuple[tuple[int, int], ...]:
    """Return first and one past the last nonzero voxel along each axis; the whole scan if all are 0.

    Example:
        >>> hu = np.zeros((3, 4, 5), np.int16)
        >>> hu[1, 1:3, 4] = -1000
        >>> nonzero_box(hu)
        ((1, 2), (1, 3), (4, 5))
    """
    found = []
    for axis in range(3):
        planes = np.moveaxis(hu, axis, 0)  # a view; `np.take` would copy
        first = next((index for index, plane in enumerate(planes) if plane.any()), None)
        if first is None:
            return tuple((0, edge) for edge in hu.shape)
        back = (index for index in reversed(range(len(planes))) if planes[index].any())
        found.append((first, next(back) + 1))
    return tuple(found)


def separate_axis(from_mm: Edges, to_mm: Edges, forced: bool | None) -> int | None:
    """Return the axis that is resampled separately: that of the longest edge of anisotropic voxels; None if none is.

    Args:
        from_mm: Spacing of the source.
        to_mm: Spacing of the target.
        forced: `force_separate_z` of the plans; None to decide by the spacing, that of the source first.

    Example:
        >>> separate_axis((0.8, 0.8, 5.0), (1.5, 1.5, 1.5), None), separate_axis((1.0, 1.0, 1.0), (1.5, 1.5, 1.5), None)
        (2, None)
    """
    if forced is False:
        return None
    looked_at = (from_mm,) if forced else (from_mm, to_mm)
    for edges in looked_at:
        if forced or max(edges) / min(edges) > ANISOTROPIC:
            longest = [axis for axis, edge in enumerate(edges) if max(edges) / edge == 1]
            return longest[0] if len(longest) == 1 else None
    return None


def first_voxels(grid: NetworkGrid, step: float) -> list[list[int]]:
    """Return the first voxel of each patch of the padded grid, along x, y and z.

    Args:
        grid: The network's grid.
        step: Step between patches as a fraction of their edge.
    """
    found = []
    for axis in range(3):
        length, patch = grid.placement.shape[axis] + sum(grid.padding[axis]), grid.patch[axis]
        count = math.ceil((length - patch) / (patch * step)) + 1 if patch > 1 else length
        apart = (length - patch) / max(1, count - 1)
        firsts = [round(apart * number) for number in range(count)]
        backwards = grid.frame.backwards[grid.frame.along.index(axis)]
        found.append([length - patch - first for first in firsts[::-1]] if backwards else firsts)
    return found


def _three(values: list[int]) -> Triple:
    return (values[0], values[1], values[2])


def _three_flags(axis: int | None) -> tuple[bool, bool, bool]:
    return (axis == 0, axis == 1, axis == 2)
