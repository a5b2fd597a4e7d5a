"""Writing of segmentations for 3D Slicer: one NRRD file with the name, colour, code and extent of each segment.

Masks that overlap are in separate layers, a fourth axis that comes first; without overlaps, the file is a plain label
map. Axes are as in the scan's file, with the one along the body last, so that the file is written slab by slab.
Structures that were not found are left out.

Source: the definition of the NRRD file format, https://teem.sourceforge.net/nrrd/format.html, and the fields of 3D
Slicer's segmentations, https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, Shaped

from tomoseg.files.atomic import whole_file
from tomoseg.files.gzip_zeros import ZerosGzip
from tomoseg.files.layers import Survey, layered_slabs, survey
from tomoseg.files.target import Target
from tomoseg.labels import Structure, label_type
from tomoseg.segmentation import LabelMap, Segmentation
from tomoseg.volume import SourceGrid

_ANATOMY = "Segmentation category and type - 3D Slicer General Anatomy list~SCT^123037004^Anatomical Structure"
_NO_REGION = "Anatomic codes - DICOM master list~^^~^^"


def write_seg_nrrd(result: Segmentation | LabelMap, path: Path) -> None:
    """Write all masks as one file for 3D Slicer, atomically.

    Args:
        result: The masks, or a label map.
        path: A `.seg.nrrd` file; an existing one is replaced, and a missing folder is made.

    Raises:
        LabelError: If an id is above 65535.
        OutputError: If it cannot be written.
    """
    seen = survey(result)
    axes = _Axes.of(result.grid)
    header = "\n".join(_header(result, seen, axes)) + "\n\n"
    with whole_file(path) as aside, aside.open("wb") as file:
        file.write(header.encode("utf-8"))
        with ZerosGzip(file) as stream:
            for _, slab in layered_slabs(result, seen.layers, axes.flipped[2]):
                if slab.any():
                    values = np.ascontiguousarray(axes.in_file_order(slab))
                    stream.write(values.reshape(-1).view(np.uint8).data)
                else:
                    stream.write_zeros(slab.nbytes)


def write_result(result: Segmentation | LabelMap, target: Target) -> list[Path]:
    """Write the format `nrrd` and return the path."""
    write_seg_nrrd(result, target.path)
    return [target.path]


@dataclass(frozen=True)
class _Axes:
    """The axes of the file relative to those in memory.

    Attributes:
        order: The canonical axis of each file axis; z is the last.
        flipped: For each canonical axis, whether the file's runs in the opposite direction.
        shape: Voxels along each canonical axis.
        affine: `(4, 4)`, maps file index to RAS+ mm.
    """

    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]
    shape: tuple[int, int, int]
    affine: Float[np.ndarray, "4 4"]

    @classmethod
    def of(cls, grid: SourceGrid) -> _Axes:
        targets = [int(target) for target, _ in grid.orientation]
        order = sorted(range(3), key=lambda axis: targets[axis] == 2)
        affine = grid.affine.copy()
        affine[:, :3] = affine[:, order]
        flips = {int(target): bool(direction < 0) for target, direction in grid.orientation}
        first, second, third = (targets[axis] for axis in order)
        return cls((first, second, third), (flips[0], flips[1], flips[2]), grid.canonical_shape, affine)

    def in_file_order(self, slab: Shaped[np.ndarray, "l s y x"]) -> Shaped[np.ndarray, "k j i l"]:
        """Return slices of all layers in the axis order of the file (C order)."""
        canonical = slab.transpose(3, 2, 1, 0)
        turned = canonical[tuple(slice(None, None, -1 if flip else 1) for flip in self.flipped)]
        return turned.transpose(self.order[2], self.order[1], self.order[0], 3)

    def extent(self, box: Int64[np.ndarray, "3 2"]) -> str:
        """Return the first and last voxel along each file axis, as text."""
        sides = []
        for axis in self.order:
            low, high = (int(end) for end in box[axis])
            last = self.shape[axis] - 1
            sides += [last - high, last - low] if self.flipped[axis] else [low, high]
        return " ".join(map(str, sides))


def _header(result: Segmentation | LabelMap, seen: Survey, axes: _Axes) -> Iterator[str]:
    layers = seen.layers
    count = max(layers) + 1
    kind = np.dtype(result.values.dtype if isinstance(result, LabelMap) else label_type(result.labels.ids))
    sizes = [axes.shape[axis] for axis in axes.order]
    vectors = [_vector(axes.affine[:3, axis]) for axis in range(3)]
    yield "NRRD0004"
    yield "# Segments in layers, as 3D Slicer reads them."
    yield f"type: {'uint8' if kind.itemsize == 1 else 'uint16'}"
    yield f"dimension: {3 if count == 1 else 4}"
    yield "space: left-posterior-superior"
    yield f"sizes: {' '.join(map(str, sizes if count == 1 else [count, *sizes]))}"
    yield f"space directions: {' '.join(vectors if count == 1 else ['none', *vectors])}"
    yield f"kinds: {'' if count == 1 else 'list '}domain domain domain"
    yield "endian: little"
    yield "encoding: gzip"
    yield f"space origin: {_vector(axes.affine[:3, 3])}"
    for number, channel in enumerate(seen.found):
        yield from _segment(
            number, result.labels.structures[channel], layers[channel], axes.extent(seen.boxes[channel])
        )
    yield "Segmentation_ContainedRepresentationNames:=Binary labelmap|"
    yield "Segmentation_ConversionParameters:="
    yield "Segmentation_MasterRepresentation:=Binary labelmap"
    yield "Segmentation_ReferenceImageExtentOffset:=0 0 0"


def _vector(ras: Float[np.ndarray, "3"]) -> str:
    x, y, z = (float(mm) for mm in ras * (-1.0, -1.0, 1.0) + 0.0)
    return f"({x!r},{y!r},{z!r})"


def _segment(number: int, structure: Structure, layer: int, extent: str) -> Iterator[str]:
    start = f"Segment{number}_"
    yield f"{start}Color:={' '.join(f'{part / 255:.6f}' for part in structure.colour)}"
    yield f"{start}ColorAutoGenerated:=0"
    yield f"{start}Extent:={extent}"
    yield f"{start}ID:={_escaped(structure.name)}"
    yield f"{start}LabelValue:={structure.id}"
    yield f"{start}Layer:={layer}"
    yield f"{start}Name:={_escaped(structure.name)}"
    yield f"{start}NameAutoGenerated:=0"
    yield f"{start}Tags:=TerminologyEntry:{_terminology(structure)}|"


def _escaped(text: str) -> str:
    """Escape a value for one line of an NRRD header."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _terminology(structure: Structure) -> str:
    """Return the category, type and side of a structure in 3D Slicer's notation; without a code, no type."""
    side = {"Right": "SCT^24028007^Right", "Left": "SCT^7771000^Left"}.get(structure.laterality or "", "^^")
    kind = f"SCT^{structure.snomed}^{structure.snomed_meaning}" if structure.snomed else "^^"
    return f"{_ANATOMY}~{kind}~{side}~{_NO_REGION}"
