"""Anatomies: label maps with the arrays derived from them once, so that many bodies are made of each fast."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8, UInt16
from scipy.ndimage import find_objects

from tomoseg.bodies.distances import depth_within
from tomoseg.bodies.hulls import Flesh, guessed_flesh, known_flesh, upsampled
from tomoseg.bodies.kinds import Fill, Kind, kinds_of, with_fill
from tomoseg.bodies.regions import Region, guessed_regions, places
from tomoseg.errors import InputError
from tomoseg.labels import LabelSet
from tomoseg.volume import spacing_of

FINEST_MM = 1.25
"""Finer maps are thinned to voxels of at least this edge: bodies are not drawn finer than their anatomy."""
LARGEST_STRUCTURES = 255


@dataclass(frozen=True)
class Anatomy:
    """A label map prepared for making bodies of it. Arrays are in RAS+ order, as the map was.

    Attributes:
        name: Name for messages and records.
        labels: Structures that the map names, including those with no voxel in it.
        kinds: Material of each structure.
        numbers: `(x, y, z)`, channel + 1 of the structure in each voxel, or 0.
        depth: `(x, y, z)`, depth under the structure's or region's surface in `DEPTH_UNIT_MM`; see `depth_within`.
        place: `(x, y, z)`, for a hollow organ the height between its lower and upper wall, 0 to 255; for the heart
            the chamber; for a bone its radius nearby, in `DEPTH_UNIT_MM`.
        aside: `(x, y, z)`, for a hollow organ the position between its left and right wall, 0 to 255.
        regions: `(x, y, z)`, `Region` of unlabelled voxels.
        outer: Distance in mm to the body under its wall and fat, on a coarser grid; negative inside.
        muscle: Distance in mm to unlabelled flesh that is muscle, on that grid; negative inside it.
        cover: Factor on the fat under the skin, on that grid; small on the head.
        walls: Factor on the muscles of the body's wall, on that grid; small over limbs and muscles of the map.
        affine: `(4, 4)`, index of `numbers` to mm.
        coarse_affine: `(4, 4)`, index of the coarser grid to mm.
        generic: Structures drawn as a generic soft tissue, since their names are not known.
        overlapping: Number of voxels in several structures; each went to the smallest of them.
        wall: Whether muscles of the body's wall are added; False where the map has them.
    """

    name: str
    labels: LabelSet
    kinds: tuple[Kind, ...]
    numbers: UInt8[np.ndarray, "x y z"]
    depth: UInt8[np.ndarray, "x y z"]
    place: UInt8[np.ndarray, "x y z"]
    aside: UInt8[np.ndarray, "x y z"]
    regions: UInt8[np.ndarray, "x y z"]
    outer: Float32[np.ndarray, "a b c"]
    muscle: Float32[np.ndarray, "a b c"]
    cover: Float32[np.ndarray, "a b c"]
    walls: Float32[np.ndarray, "a b c"]
    affine: Float[np.ndarray, "4 4"]
    coarse_affine: Float[np.ndarray, "4 4"]
    generic: tuple[str, ...] = field(default=())
    overlapping: int = 0
    wall: bool = True

    @cached_property
    def boxes(self) -> dict[int, tuple[slice, slice, slice]]:
        """Bounding box of each structure present in the map, by number."""
        return {number: box for number, box in enumerate(find_objects(self.numbers), start=1) if box is not None}

    def named(self, *names: str) -> list[int]:
        """Return the numbers of the given structures that are present in the map."""
        return [n for name in names if name in self.labels and (n := self.labels.channel(name) + 1) in self.boxes]

    def centre_mm(self, number: int) -> Float[np.ndarray, "3"]:
        """Return the centre of a structure's bounding box, in mm of the map."""
        middle = [(side.start + side.stop - 1) / 2 for side in self.boxes[number]]
        return self.affine[:3, :3] @ middle + self.affine[:3, 3]

    def corners_mm(self, number: int) -> Float[np.ndarray, "8 3"]:
        """The corners of a structure's box."""
        ends = np.array([[side.start, side.stop - 1] for side in self.boxes[number]], float)
        index = np.stack([ends[axis, at] for axis, at in enumerate(np.indices((2, 2, 2)).reshape(3, 8))], 1)
        return index @ self.affine[:3, :3].T + self.affine[:3, 3]

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel edges of the map."""
        return spacing_of(self.affine)


def build_anatomy(
    values: UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"],
    labels: LabelSet,
    affine: Float[np.ndarray, "4 4"],
    name: str = "the label map",
    flesh: Flesh | None = None,
) -> Anatomy:
    """Derive from a label map what bodies are drawn with.

    Args:
        values: Ids of structures, 0 for background, in RAS+ order.
        labels: What the ids stand for; all of these count as annotated.
        affine: Index to mm.
        name: What to call the map.
        flesh: What the unlabelled voxels are; guessed from the structures around them if omitted.

    Returns:
        The anatomy.

    Raises:
        InputError: If the map has a value that stands for no structure, holds none, has fewer than two slices along an
            axis, is of no size that a body has, or has too many structures.
    """
    _check(values, labels, name)
    kinds, generic = kinds_of(labels)
    steps = [max(1, round(FINEST_MM / s)) for s in spacing_of(affine)]
    thin = tuple(slice(None, None, step) for step in steps)
    numbers = _numbered(values, labels, thin)
    if min(numbers.shape) < 2 or not numbers.any():
        size = " x ".join(f"{n * s:.2g}" for n, s in zip(values.shape, spacing_of(affine), strict=True))
        raise InputError(
            f"{name}: expected a label map at least a few millimetres across, got one of {size} mm; correct "
            "the voxel size in its header"
        )
    affine = affine @ np.diag([*steps, 1.0])
    if flesh is not None:
        flesh = Flesh(*(np.ascontiguousarray(part[thin]) for part in (flesh.body, flesh.muscle, flesh.regions)))
    numbers, affine, box = _cropped(numbers, affine, None if flesh is None else flesh.body)
    spacing = spacing_of(affine)
    depth = depth_within(_grouped(numbers, kinds), spacing)
    if flesh is None:
        regions = guessed_regions(numbers, labels, kinds, spacing)
        hulls = guessed_flesh(numbers, kinds, affine)
        inside = upsampled(hulls.outer < 0, numbers.shape, hulls.coarse_affine, affine)
        head = upsampled(hulls.cover < 0.1, numbers.shape, hulls.coarse_affine, affine)
        regions[(numbers == 0) & (regions == 0) & inside & head] = Region.FACE
    else:
        regions = np.where(numbers == 0, flesh.regions[box], 0).astype(np.uint8)
        hulls = known_flesh(flesh, box, affine)
    place, aside = places(numbers, kinds, depth, spacing)
    return Anatomy(
        name, labels, kinds, numbers, depth, place, aside, regions, affine=affine, generic=generic, wall=flesh is None,
        **hulls._asdict(),
    )  # fmt: skip


def _check(values: np.ndarray, labels: LabelSet, name: str) -> None:
    if min(values.shape) < 2:
        raise InputError(
            f"{name}: expected a label map of at least two slices, got {values.shape}; pass the whole volume"
        )
    if len(labels) > LARGEST_STRUCTURES:
        raise InputError(f"{name}: expected at most {LARGEST_STRUCTURES} structures, got {len(labels)}; leave some out")
    found = np.flatnonzero(np.bincount(values.ravel()))
    unknown = sorted(set(found.tolist()) - {0, *labels.ids})
    if unknown:
        shown = ", ".join(map(str, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
        raise InputError(f"{name}: expected a name for every value, got none for {shown}; name them or set them to 0")
    if len(found) == (found[0] == 0):
        raise InputError(f"{name}: expected a label map with at least one structure, got an empty one; pass another")


def _numbered(
    values: UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"], labels: LabelSet, thin: tuple[slice, ...]
) -> UInt8[np.ndarray, "x2 y2 z2"]:
    """Channel + 1 in the place of ids, of so many voxels along each axis one."""
    table = np.zeros(int(values.max()) + 1, np.uint8)
    for number, value in enumerate(labels.ids, start=1):
        if value < len(table):
            table[value] = number
    return np.ascontiguousarray(table[values[thin]])


def _cropped(
    numbers: UInt8[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"], body: Bool[np.ndarray, "x y z"] | None
) -> tuple[UInt8[np.ndarray, "x2 y2 z2"], Float[np.ndarray, "4 4"], tuple[slice, slice, slice]]:
    """The box of the structures (or of the body): air around it is not kept."""
    filled = numbers > 0 if body is None else body
    low, box = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        found = np.flatnonzero(filled.any(others))
        low.append(max(0, int(found[0]) - 1))
        box.append(slice(low[-1], min(filled.shape[axis], int(found[-1]) + 2)))
    moved = affine.copy()
    moved[:3, 3] = affine[:3, :3] @ low + affine[:3, 3]
    x, y, z = box
    return np.ascontiguousarray(numbers[x, y, z]), moved, (x, y, z)


def _grouped(numbers: UInt8[np.ndarray, "x y z"], kinds: tuple[Kind, ...]) -> UInt8[np.ndarray, "x y z"]:
    """Lobes of the lung as one; everything else by itself."""
    table = np.arange(len(kinds) + 1, dtype=np.uint8)
    lungs = with_fill(kinds, Fill.LUNG)
    table[lungs] = lungs[0] if lungs else 0
    return table[numbers]
