"""Reading of 3D Slicer's segmentations: the segments named in the header of an NRRD file, in one or several layers.

A layer is a label map of segments that do not overlap. Older files have one layer per segment, without its value and
layer in the header, as the last axis of a four-dimensional space, which is RAS+.

Source: the fields of 3D Slicer's segmentations,
https://slicer.readthedocs.io/en/latest/developer_guide/modules/segmentations.html.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Shaped

from tomoseg.errors import InputError, LabelError
from tomoseg.files.itk.layered import Layered
from tomoseg.files.itk.nrrd import read_fields, stored_of
from tomoseg.files.itk.voxels import opened
from tomoseg.files.label_names import check_told_apart, structure_name
from tomoseg.files.segments import Segments
from tomoseg.volume import SourceGrid, check_affine

_NAME = re.compile(r"Segment(\d{1,5})_Name:=", re.ASCII)


@dataclass(frozen=True)
class SegmentPlace:
    """The layer and the value of a segment's voxels."""

    layer: int
    value: int


class _File:
    """A file whose voxels are read when the first mask is requested."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        with opened(path, self.name) as stream:
            fields, end = read_fields(stream, self.name)
        self.places = _places(fields, self.name)
        self.layers = _layers_of(fields, end, path)
        beyond = [place.layer for place in self.places.values() if place.layer >= self.layers.count]
        if beyond:
            raise InputError(
                f"{self.name}: expected segments in its {self.layers.count} layers, got one in layer {max(beyond)}; "
                "save it again"
            )
        self.grid = grid_of(self.layers, self.name)

    def mask(self, structure: str) -> Bool[np.ndarray, "x y z"]:
        place = self.places[structure]
        return self.grid.to_canonical(self._voxels[place.layer] == place.value)

    @cached_property
    def _voxels(self) -> Shaped[np.ndarray, "l i j k"]:
        layers = self.layers.read(self.path)
        for number, layer in enumerate(layers):
            known = {0, *(place.value for place in self.places.values() if place.layer == number)}
            if unknown := sorted(set(np.unique(layer).tolist()) - known):
                listed = ", ".join(map(str, unknown[:8]))
                raise LabelError(
                    f"{self.name}: expected only voxels of the {len(self.places)} segments in its header, got the "
                    f"values {listed} in layer {number}; save it again in 3D Slicer"
                )
        return layers


def segments_in_nrrd(path: Path) -> dict[str, SegmentPlace]:
    """Return the segments named in a header; empty for any other NRRD file.

    Raises:
        InputError: If the header cannot be read.
        LabelError: If a name occurs twice, or cannot be used.
    """
    with opened(path, str(path)) as stream:
        fields, _ = read_fields(stream, str(path))
    return _places(fields, str(path))


def read_seg_nrrd(path: Path) -> Segments:
    """Open a segmentation of 3D Slicer; its voxels are read when the first mask is requested.

    Args:
        path: A `.seg.nrrd` file.

    Raises:
        InputError: If it is missing or damaged, or names no segments.
        GridError: If its geometry is unknown, or cannot be used.
        LabelError: If a name occurs twice or cannot be used; when a mask is requested, if a voxel has no segment.
    """
    file = _File(path)
    if not file.places:
        raise InputError(f"{path}: expected segments in the header, got none; save it from 3D Slicer's Segmentations")
    return Segments(str(path), tuple(file.places), file.grid, file.mask)


def _places(fields: dict[str, str], name: str) -> dict[str, SegmentPlace]:
    numbers = sorted(int(found[1]) for key in fields if (found := _NAME.fullmatch(key)))
    places: dict[str, SegmentPlace] = {}
    has_layers = len(fields.get("sizes", "").split()) == 4
    for number in numbers:
        structure = structure_name(_unescaped(fields[f"Segment{number}_Name:="]), name)
        if structure in places:
            raise LabelError(f"{name}: expected each segment's name once, got {structure} twice; rename one")
        layer = _whole(fields, f"Segment{number}_Layer:=", number if has_layers else 0, name)
        places[structure] = SegmentPlace(layer, _whole(fields, f"Segment{number}_LabelValue:=", 1, name))
    check_told_apart(places, name)
    return places


def _whole(fields: dict[str, str], key: str, otherwise: int, name: str) -> int:
    text = fields.get(key, str(otherwise)).strip()
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII):
        raise InputError(f"{name}: expected a whole number as {key[:-2]}, got {text[:40]!r}; save it again")
    return int(text)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: "\n" if found[1] == "n" else found[1], text).strip()


def layers_of_nrrd(path: Path) -> Layered:
    """Return the storage of the volumes in a file with four axes, or of its one volume.

    Raises:
        InputError: If the header cannot be read, or the axis of the volumes is neither first nor last.
        GridError: If the geometry is unknown.
    """
    with opened(path, str(path)) as stream:
        fields, end = read_fields(stream, str(path))
    return _layers_of(fields, end, path)


def grid_of(layers: Layered, name: str) -> SourceGrid:
    """Return the grid of the volumes in a file.

    Raises:
        GridError: If the geometry cannot be used.
    """
    check_affine(layers.stored.affine, name)
    return SourceGrid(layers.stored.shape, layers.stored.affine)


def _layers_of(fields: dict[str, str], end: int, path: Path) -> Layered:
    count, first, volume = 1, False, fields
    if len(fields.get("sizes", "").split()) == 4:
        count, first, volume = _of_four_axes(fields, str(path))
    return Layered(stored_of(volume, end, path)[0], count, first)


def _of_four_axes(fields: dict[str, str], name: str) -> tuple[int, bool, dict[str, str]]:
    """Return the number of volumes, whether they are the first axis, and the fields of one of them.

    Raises:
        InputError: If they are neither the first nor the last.
    """
    *rest, last = sizes = fields["sizes"].split()
    directions = re.findall(r"none|\([^()]*\)", fields.get("space directions", ""))
    if directions[:1] == ["none"]:
        volume = {"sizes": " ".join(sizes[1:]), "space directions": " ".join(directions[1:])}
        return _count(sizes[0], name), True, fields | volume
    if directions[-1:] == ["none"]:
        volume = {"sizes": " ".join(rest), "space directions": " ".join(directions[:-1])}
    elif fields.get("space dimension") == "4" and len(directions) == 4:
        steps = " ".join(_shortened(one) for one in directions[:3])
        origin = _shortened(fields.get("space origin", "(0,0,0,0)"))
        volume = {"sizes": " ".join(rest), "space": "ras", "space directions": steps, "space origin": origin}
    else:
        raise InputError(f"{name}: expected layers as the first or the last axis, got others; save it again")
    return _count(last, name), False, fields | volume


def _count(text: str, name: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text, re.ASCII) or int(text) == 0:
        raise InputError(f"{name}: expected a number of layers, got {text[:40]!r}; the header is damaged")
    return int(text)


def _shortened(vector: str) -> str:
    """Return a vector without its fourth number."""
    return f"({','.join(vector.strip('() ').split(',')[:3])})"
