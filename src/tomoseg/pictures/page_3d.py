"""A result in 3D as a self-contained HTML page, with surfaces that can be rotated.

The geometry is embedded: points quantised to 16 bits of the extent along each axis, then corners of triangles in 32
bits. Both are delta-coded with their bytes in separate planes, and gzipped. The browser unpacks and draws them
(`page_3d.js`).
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64, UInt16, UInt32
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from tomoseg.datasets.mask_cases import OpenMasks
from tomoseg.files.atomic import write_whole_text
from tomoseg.files.meshes import Mesh
from tomoseg.labels import LabelSet, Structure
from tomoseg.language.words import all_later, later, say
from tomoseg.masks import BoxedMask
from tomoseg.pictures.structure_names import readable, readable_group
from tomoseg.pictures.surfaces import Shape, surfaces_of
from tomoseg.segmentation import LabelMap, Segmentation, boxed_masks
from tomoseg.settings import Language
from tomoseg.volume import SourceGrid, check_same_grid

_HOW = later(
    "Drag to rotate, use the wheel or two fingers to zoom, and Shift or the right button to move; by keyboard: arrow "
    "keys, + and -. Surfaces are smoothed and simplified: they are for viewing, not for measuring. Volumes are those "
    "of the masks."
)
_NO_3D = later(
    "This browser cannot show this page: it needs WebGL2 and DecompressionStream, which Chrome, Edge, Firefox and "
    "Safari have had since 2023."
)
_NO_MASKS = later("There is nothing to show: none of the structures was found.")
_NO_REFERENCE_MASKS = later("There is nothing to show: the reference has no mask of these structures.")
_NONE_SHOWN = later("Nothing is shown: select structures in the list.")
_TEXTS = all_later(
    *("R", "L", "A", "P", "S", "I", "Search", "All", "None", "Alone", "Cut", "Prediction", "Reference"),
    *("Front", "Back", "From the left", "From the right", "From above", "From below"),
    *("not found", "not annotated", "No structure matches the search."),
)
_WORDS = {
    **{text: text for text in _TEXTS},
    "3D how": _HOW,
    "no 3D": _NO_3D,
    "3D empty": _NO_MASKS,
    "3D empty reference": _NO_REFERENCE_MASKS,
    "3D unselected": _NONE_SHOWN,
}
"""Texts by the page's key."""

_FINEST = 2**16 - 1

Part = tuple[int, int]
"""Index of the first triangle of a surface, and the number of triangles."""

_LANGUAGES: tuple[Language, ...] = ("en", "fr")


@dataclass(frozen=True)
class Masks3D:
    """Masks of one structure to show.

    Attributes:
        structure: The structure.
        mask: The mask of the structure, which may be empty.
        reference: The mask to compare with; None if there is none.
    """

    structure: Structure
    mask: BoxedMask
    reference: BoxedMask | None = None

    @property
    def dice(self) -> float | None:
        """Dice of mask and reference; None without a reference, or if it is empty, as in an evaluation."""
        return None if self.reference is None else self.mask.dice(self.reference)


def masks_3d(labels: LabelSet, ours: OpenMasks, theirs: OpenMasks | None) -> Iterator[Masks3D]:
    """Yield the masks of each structure, read one after the other; the reference is None if not annotated.

    Args:
        labels: The structures.
        ours: Masks of the structures; one that is not annotated there is empty.
        theirs: Masks to compare with; None if there are none.
    """
    nothing = BoxedMask(np.zeros((0, 0, 0), bool), (0, 0, 0), ours.grid.canonical_shape)
    for structure in labels:
        name = structure.name
        mask = ours.mask(name) if name in ours.case.annotated else nothing
        reference = theirs.mask(name) if theirs is not None and name in theirs.case.annotated else None
        yield Masks3D(structure, mask, reference)


def write_page_3d(
    result: LabelMap | Segmentation,
    path: Path | str,
    title: str,
    *,
    lang: Language = "en",
    reference: LabelMap | Segmentation | None = None,
) -> int:
    """Write a result as a 3D page that any browser shows, without a server or a network connection.

    Args:
        result: Masks or a label map.
        path: The HTML file to write.
        title: Title of the page.
        lang: Initial language of the page; a button changes it.
        reference: Masks to compare with, on the same grid; structures are matched by name.

    Returns:
        The size of the file in bytes.

    Raises:
        ConfigError: If scikit-image is not installed.
        GridError: If the reference lies on another grid.
        OutputError: If the file cannot be written.

    Example:
        >>> from tomoseg.files.results import read_labelled
        >>> result = read_labelled(Path("map.nii.gz"))
        >>> write_page_3d(result, Path("page.html"), "A patient") < 100_000
        True
    """
    if reference is not None:
        check_same_grid(reference.grid, result.grid, "the reference", "the result")
    shown = zip(result.labels, boxed_masks(result), strict=True)
    others = {} if reference is None else dict(zip(reference.labels.names, boxed_masks(reference), strict=True))
    masks = (Masks3D(structure, mask, others.get(structure.name)) for structure, mask in shown)
    return write_masks_3d(masks, result.grid, Path(path), title, lang)


def write_masks_3d(masks: Iterable[Masks3D], grid: SourceGrid, path: Path, title: str, lang: Language = "en") -> int:
    """Write a 3D page as `write_page_3d`, from masks that are read one after the other.

    Args:
        masks: The masks of each structure. Packed copies of an eighth of their size, stay in memory until all are read.
        grid: Grid of the masks.
        path: The HTML file to write.
        title: Title of the page.
        lang: Initial language of the page.

    Returns:
        The size of the file in bytes.

    Raises:
        ConfigError: If scikit-image is not installed.
        OutputError: If the file cannot be written.
    """
    affine = grid.canonical_affine
    spacing_mm = [float(edge) for edge in np.linalg.norm(affine[:3, :3], axis=0)]
    entries: list[dict[str, Any]] = []
    shapes: list[Shape | None] = []
    for one in masks:
        sides = [_shape(mask, spacing_mm) for mask in (one.mask, one.reference)]
        shapes += sides
        entries.append(_entry(one, sides, float(np.prod(spacing_mm)) / 1000))
    packed = _Packed.of(_meshes(shapes, affine, spacing_mm))
    for entry, parts in zip(entries, _pairs(packed.parts), strict=True):
        entry["surfaces"] = parts
        entry["middle"] = next((packed.middle_of(part) for part in parts if part is not None), None)
    has_reference = any(entry["volumes_ml"][1] is not None for entry in entries)
    about = packed.about() | {
        "lang": lang,
        "sides": ["Prediction", "Reference"][: 1 + has_reference],
        "structures": entries,
        "words": _words(),
    }
    write_whole_text(path, _rendered(title, about, packed.geometry(), lang))
    return path.stat().st_size


def _meshes(
    shapes: Sequence[Shape | None], affine: Float64[np.ndarray, "4 4"], spacing_mm: Sequence[float]
) -> list[Mesh | None]:
    made = iter(surfaces_of([shape for shape in shapes if shape is not None], affine, spacing_mm))
    return [None if shape is None else next(made) for shape in shapes]


def _pairs(parts: Sequence[Part | None]) -> Iterator[tuple[Part | None, Part | None]]:
    return zip(parts[::2], parts[1::2], strict=True)


def _words() -> dict[str, dict[Language, str]]:
    return {name: {lang: say(text, lang) for lang in _LANGUAGES} for name, text in _WORDS.items()}


def _shape(mask: BoxedMask | None, spacing_mm: Sequence[float]) -> Shape | None:
    return Shape.of(mask, spacing_mm) if mask is not None and mask.voxels else None


def _entry(one: Masks3D, shapes: Sequence[Shape | None], voxel_ml: float) -> dict[str, Any]:
    volumes = [0.0 if shape is None else shape.voxels * voxel_ml for shape in shapes]
    return {
        "name": one.structure.name,
        "title": {lang: readable(one.structure.name, lang) for lang in _LANGUAGES},
        "group": {lang: readable_group(one.structure.group, lang) for lang in _LANGUAGES},
        "colour": one.structure.colour,
        "volumes_ml": [round(volumes[0], 6), None if one.reference is None else round(volumes[1], 6)],
        "dice": None if one.dice is None else round(one.dice, 6),
    }


@dataclass(frozen=True)
class _Packed:
    """All surfaces, joined and quantised.

    Attributes:
        points: `(p, 3)`: points, quantised to 16 bits of the extent along each axis.
        triangles: `(t, 3)`: indices of the corners of the triangles among the points.
        origin_mm: LPS+ position of the quantised point (0, 0, 0).
        extent_mm: Extent of all surfaces along each axis.
        parts: Range of triangles of each surface; None for an empty one.
    """

    points: UInt16[np.ndarray, "p 3"]
    triangles: UInt32[np.ndarray, "t 3"]
    origin_mm: Float64[np.ndarray, "3"]
    extent_mm: Float64[np.ndarray, "3"]
    parts: tuple[Part | None, ...]

    @classmethod
    def of(cls, meshes: Sequence[Mesh | None]) -> _Packed:
        """Join surfaces.

        Args:
            meshes: The surfaces; None for an empty one.
        """
        there = [mesh for mesh in meshes if mesh is not None]
        if not there:
            nothing = np.zeros((0, 3))
            return cls(
                nothing.astype(np.uint16),
                nothing.astype(np.uint32),
                np.zeros(3),
                np.full(3, 100.0),
                (None,) * len(meshes),
            )
        places = np.concatenate([mesh.points_mm for mesh in there]).astype(np.float64)
        origin, last = places.min(axis=0), places.max(axis=0)
        extent = np.maximum(last - origin, 1e-3)
        starts = np.cumsum([0, *(len(mesh.points_mm) for mesh in there)])
        corners = [
            mesh.triangles.astype(np.uint32) + np.uint32(start) for mesh, start in zip(there, starts, strict=False)
        ]
        points = np.rint((places - origin) / extent * _FINEST).astype(np.uint16)
        return cls(points, np.concatenate(corners), origin, extent, tuple(_parts(meshes)))

    def middle_of(self, part: Part) -> list[float]:
        """Return the centre of a surface's bounding box in LPS+ mm."""
        first, count = part
        points = self.points[np.unique(self.triangles[first : first + count])].astype(np.float64)
        middle = (points.min(axis=0) + points.max(axis=0)) / 2
        return [round(float(mm), 2) for mm in self.origin_mm + middle / _FINEST * self.extent_mm]

    def about(self) -> dict[str, Any]:
        """Return the values that the browser needs to unpack it."""
        return {
            "points": len(self.points),
            "triangles": len(self.triangles),
            "origin": self.origin_mm.tolist(),
            "scale": (self.extent_mm / _FINEST).tolist(),
            "middle": (self.origin_mm + self.extent_mm / 2).tolist(),
            "radius": float(np.linalg.norm(self.extent_mm)) / 2,
        }

    def geometry(self) -> str:
        """Return the geometry as base64, as `page_3d.js` reads it."""
        parts = [*(_apart(self.points[:, axis]) for axis in range(3)), _apart(self.triangles.ravel())]
        return base64.b64encode(gzip.compress(b"".join(parts), 9, mtime=0)).decode()


def _parts(meshes: Sequence[Mesh | None]) -> Iterator[Part | None]:
    first = 0
    for mesh in meshes:
        yield None if mesh is None else (first, len(mesh.triangles))
        first += 0 if mesh is None else len(mesh.triangles)


def _apart(values: UInt16[np.ndarray, " n"] | UInt32[np.ndarray, " n"]) -> bytes:
    """Delta-code values, and separate their bytes: all lowest bytes first, then the next ones.

    Example:
        >>> list(_apart(np.array([1, 257, 256], np.uint16)))
        [1, 0, 255, 0, 1, 255]
    """
    differences = np.diff(values, prepend=values.dtype.type(0))
    width = values.dtype.itemsize
    little = differences.astype(values.dtype.newbyteorder("<"))
    return little.view(np.uint8).reshape(-1, width).T.tobytes()


def _rendered(title: str, about: dict[str, Any], geometry: str, lang: Language) -> str:
    page, script = (files("tomoseg.pictures").joinpath(f"page_3d.{kind}").read_text("utf-8") for kind in ("html", "js"))
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    embedded = json.dumps(about, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    told = {"title": title, "about": Markup(embedded), "geometry": Markup(geometry), "script": Markup(script)}
    return environment.from_string(page).render(lang=lang, **told)
