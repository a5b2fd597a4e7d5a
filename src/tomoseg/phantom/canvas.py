"""The canvas of a scan: shapes are painted one over another, with partial volume at their edges."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from tomoseg.kernels import kernel
from tomoseg.labels import LabelSet
from tomoseg.phantom.frame import Frame
from tomoseg.phantom.shapes import Block, Shape
from tomoseg.phantom.tissues import CORTEX_MM, CORTICAL_HU, TISSUE_NUMBER, TissueTable

BLOCK_VOXELS = 1_500_000
"""Voxels above which a box is painted a few slices at a time, to bound the memory."""

KEEP = "keep"
"""Label that changes the grey values and leaves the masks as they are."""

NUMBERS: dict[str, int] = {name: channel + 1 for channel, name in enumerate(LabelSet.total().names)}
_RIGID = ("air", "lung", "lung_vessel", "bone", "cord", "cartilage")

Box = tuple[slice, slice, slice]


@dataclass
class Canvas:
    """Grey values, tissue and structure of every voxel.

    Attributes:
        frame: Position of the body in the scanner.
        axes: Scanner mm of the voxels along x, y and z.
        tissues: HU of the tissues in this scan.
        hu: Grey values before texture and noise.
        tissue: Tissue number.
        label: Channel + 1 of the structure on top, or 0.
        overlays: Masks that lie over `label`, as box, mask and channel + 1.
    """

    frame: Frame
    axes: tuple[Float[np.ndarray, "x"], Float[np.ndarray, "y"], Float[np.ndarray, "z"]]
    tissues: TissueTable
    hu: Float32[np.ndarray, "x y z"] = field(init=False)
    tissue: UInt8[np.ndarray, "x y z"] = field(init=False)
    label: UInt8[np.ndarray, "x y z"] = field(init=False)
    overlays: list[tuple[Box, Bool[np.ndarray, "a b c"], int]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        shape = tuple(axis.size for axis in self.axes)
        self.hu = np.full(shape, self.tissues.hu("air"), np.float32)
        self.tissue = np.zeros(shape, np.uint8)
        self.label = np.zeros(shape, np.uint8)

    @property
    def edge_mm(self) -> float:
        """Width over which an edge goes from one tissue to the other: a voxel in plane."""
        return float(self.axes[0][1] - self.axes[0][0])

    def paint(
        self,
        shape: Shape,
        tissue: str,
        label: str | None = None,
        *,
        halo: float = 0.0,
        over: tuple[str, ...] = (),
        shared: str | None = None,
    ) -> None:
        """Paint a shape.

        Args:
            shape: The shape.
            tissue: Its tissue; bone gets a cortical shell.
            label: Its structure; None clears masks there, `KEEP` leaves them.
            halo: Width of a plane of fat around it in mm, cut out of soft tissue only.
            over: Paint only where these tissues are now; if empty, everywhere.
            shared: A structure that keeps its voxels there, so that both overlap.
        """
        for box, block in self.blocks(shape, halo):
            distance = shape.distance(block)
            if over:
                distance[~_members(over)[self.tissue[box]]] = 1e3
            if shared is not None:
                self.overlay(box, (distance < 0) & (self.label[box] == NUMBERS[shared]), shared)
            if halo > 0:
                self._fat_around(box, distance, halo)
            self.fill(box, distance, tissue, label)

    def fill(self, box: Box, distance: Float32[np.ndarray, "a b c"], tissue: str, label: str | None) -> None:
        """Paint where a distance is negative, softly at its edge."""
        cortex = CORTICAL_HU if tissue == "bone" else self.tissues.hu(tissue)
        number = -1 if label == KEEP else 0 if label is None else NUMBERS[label]
        _fill(
            (self.hu[box], self.tissue[box], self.label[box]),
            distance,
            np.float32(self.edge_mm),
            (np.float32(self.tissues.hu(tissue)), np.float32(cortex), np.float32(CORTEX_MM)),
            (TISSUE_NUMBER[tissue], number),
        )

    def mark(self, shape: Shape, label: str, of: str) -> None:
        """Give a structure the part of a shape that now belongs to `of`, so that both overlap; grey values stay."""
        for box, block in self.blocks(shape):
            self.overlay(box, (shape.distance(block) < 0) & (self.label[box] == NUMBERS[of]), label)

    def overlay(self, box: Box, mask: Bool[np.ndarray, "a b c"], label: str) -> None:
        """Add a mask over whatever else is there."""
        if mask.any():
            self.overlays.append((box, mask, NUMBERS[label]))

    def blocks(self, shape: Shape, margin: float = 0.0, depth: int = 0) -> Iterator[tuple[Box, Block]]:
        """Yield the boxes of the grid that contain a shape, of `depth` slices or else at most `BLOCK_VOXELS` each."""
        around = margin + max(float(axis[1] - axis[0]) for axis in self.axes)
        low, high = self.frame.scanner_box(shape.low, shape.high)
        starts = [int(np.searchsorted(a, v - around)) for a, v in zip(self.axes, low, strict=True)]
        stops = [int(np.searchsorted(a, v + around)) for a, v in zip(self.axes, high, strict=True)]
        if any(start >= stop for start, stop in zip(starts, stops, strict=True)):
            return
        plane = (stops[0] - starts[0]) * (stops[1] - starts[1])
        depth = depth or max(1, BLOCK_VOXELS // plane)
        for k in range(starts[2], stops[2], depth):
            box = (slice(starts[0], stops[0]), slice(starts[1], stops[1]), slice(k, min(k + depth, stops[2])))
            yield box, Block(self.frame, (self.axes[0][box[0]], self.axes[1][box[1]], self.axes[2][box[2]]))

    def packed(self, structures: int) -> UInt8[np.ndarray, "b x y z"]:
        """Return all masks, packed."""
        planes = -(-structures // 8)
        packed = np.zeros((planes, *self.label.shape), np.uint8)
        _set_bits(self.label.ravel(), packed.reshape(planes, -1))
        for box, mask, number in self.overlays:
            packed[(number - 1) // 8][box] |= mask.astype(np.uint8) << np.uint8((number - 1) % 8)
        return packed

    def _fat_around(self, box: Box, distance: Float32[np.ndarray, "a b c"], halo: float) -> None:
        rigid = _members(_RIGID)[self.tissue[box]]
        self.fill(box, np.where(rigid, np.float32(1e3), distance - np.float32(halo)), "fat", None)


def _members(tissues: tuple[str, ...]) -> Bool[np.ndarray, "256"]:
    return np.isin(np.arange(256), [TISSUE_NUMBER[tissue] for tissue in tissues])


@kernel()
def _set_bits(label, packed):  # type: ignore[no-untyped-def]
    for voxel in range(len(label)):
        number = label[voxel]
        if number > 0:
            packed[(number - 1) // 8, voxel] = 1 << ((number - 1) % 8)


@kernel()
def _fill(canvas, distance, edge, grey, numbers):  # type: ignore[no-untyped-def]
    """Blend grey values by the fraction of a voxel inside, and label the voxels whose centre is inside."""
    hu, tissue, label = canvas
    mean, cortex, thickness = grey
    for i in range(distance.shape[0]):
        for j in range(distance.shape[1]):
            for k in range(distance.shape[2]):
                d = distance[i, j, k]
                cover = np.float32(0.5) - d / edge
                if cover <= 0:
                    continue
                shell = min(max(np.float32(1.5) + d / thickness, np.float32(0)), np.float32(1))
                value = mean + (cortex - mean) * shell
                hu[i, j, k] += min(cover, np.float32(1)) * (value - hu[i, j, k])
                if d < 0:
                    tissue[i, j, k] = numbers[0]
                    if numbers[1] >= 0:
                        label[i, j, k] = numbers[1]
