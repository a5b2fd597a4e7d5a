"""Reading of DICOM Segmentation objects: BINARY, FRACTIONAL and LABELMAP, with segments named by their labels.

A frame holds one segment (or, in a LABELMAP, all) in one plane. Planes without a frame are empty. Planes lie on a
regular grid, of which a file may hold a part, or on the slices of a scan with uneven gaps or a tilted gantry. A pixel
of a FRACTIONAL file is in a segment if its value is at least half of the maximum.

Source: DICOM PS3.3, A.51 and C.8.20.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8, UInt16
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array

from tomoseg.errors import GridError, InputError, LabelError
from tomoseg.files.dicom.entries import Entry
from tomoseg.files.dicom.headers import ImageHeader, headers_of, quietly, read_dataset
from tomoseg.files.dicom.objects import usable_name
from tomoseg.files.dicom.pixels import UNCOMPRESSED, check_pixels, plugin_for
from tomoseg.files.label_names import check_told_apart, values_in
from tomoseg.files.segments import Mask, Segments
from tomoseg.files.stack import SAME_PLACE_MM
from tomoseg.volume import GRID_TOLERANCE_VOXELS, SourceGrid, check_affine

MOST_PLANES = 4096
"""Maximum planes of a grid; a larger number results from a damaged position."""

_TAGS = (
    "SpecificCharacterSet", "SOPClassUID", "SegmentationType", "SegmentSequence", "MaximumFractionalValue",
    "Rows", "Columns", "NumberOfFrames", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
)  # fmt: skip
_PARALLEL = 1e-4
"""Tolerance of the directions of frames, and of their pixel sizes as a share."""

_KINDS = {"BINARY", "FRACTIONAL", "LABELMAP"}


def read_segmentation(path: Path, expect: SourceGrid | None = None) -> Segments:
    """Open a DICOM segmentation; its pixels are read when the first mask is requested.

    Args:
        path: A file of one of the three kinds.
        expect: The expected grid. Masks are on it if it is the grid of a scan whose slices are the file's planes, even
            if these are unevenly spaced; otherwise on a grid of their own.

    Raises:
        InputError: If it is damaged, or lacks something that is needed.
        GridError: If its planes do not lie on a regular grid.
        LabelError: If a label occurs twice or cannot be used; when a mask is requested, if a pixel has no segment.
    """
    file = _File(path)
    names = tuple(file.numbers)
    slices = None if expect is None else file.on_slices(expect)
    if slices is not None and expect is not None:
        return Segments(file.name, names, expect, file.mask_on_slices(expect, slices))
    grid, planes = file.lattice()
    return Segments(file.name, names, grid, lambda name: grid.to_canonical(file.planes_of(name, planes, grid.shape)))


def segments_in_dicom(path: Path) -> dict[str, int | None]:
    """Return the segments of a file, with their values if it is a LABELMAP, otherwise None.

    Raises:
        InputError: If it is damaged.
        LabelError: If a label occurs twice or cannot be used.
    """
    file = _File(path)
    return {name: number if file.kind == "LABELMAP" else None for name, number in file.numbers.items()}


class _File:
    """A file whose pixels are read when they are first needed."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        with quietly(self.name), path.open("rb") as stream:
            size = path.stat().st_size
            header = read_dataset(stream, size, pixels=False, tags=_TAGS)
            self.kind = str(header.get("SegmentationType") or "").upper()
            if self.kind not in _KINDS:
                raise InputError(
                    f"{self.name}: expected a BINARY, FRACTIONAL or LABELMAP segmentation, got another; export it "
                    "as one of these"
                )
            self.numbers = _numbers(header, self.kind, self.name)
            self.full = int(header.get("MaximumFractionalValue") or 255)
            self.images = headers_of(header, Entry(path, None, size))
            self.of_frame = None if self.kind == "LABELMAP" else _segments_of_frames(header, len(self.images))
            self.said_gap_mm = _said_gap_mm(header)
        if not self.images:
            raise InputError(f"{self.name}: expected frames, got none; export it again")
        if self.of_frame is not None and not set(self.of_frame.tolist()) <= set(self.numbers.values()):
            raise LabelError(f"{self.name}: expected frames of the segments that it lists, got others; export it again")
        self.first, self.positions = _placed(self.images, self.name)

    @property
    def _turns(self) -> Float[np.ndarray, "3 3"]:
        """`(3, 3)`, unit vectors as columns: along rows, along columns, and along the normal."""
        across, down = self._orientation
        return np.stack([across, down, np.cross(across, down)], axis=1)

    @property
    def _orientation(self) -> Float[np.ndarray, "2 3"]:
        assert self.first.orientation is not None  # `_placed` has seen to it
        return self.first.orientation

    def lattice(self) -> tuple[SourceGrid, Int64[np.ndarray, "n"]]:
        """Return the regular grid of the planes, and the plane of each frame.

        Raises:
            GridError: If there is none.
        """
        places = self.positions @ self._turns
        lowest = int(np.argmin(places[:, 2]))
        moved = places - places[lowest]
        pixel_mm = np.array(self.first.pixel_mm)
        if (np.abs(moved[:, :2]) > GRID_TOLERANCE_VOXELS * pixel_mm).any():
            raise GridError(self._irregular("planes that are shifted against each other, as with a tilted gantry"))
        gap_mm = self._gap_mm(moved[:, 2])
        planes = np.rint(moved[:, 2] / gap_mm).astype(np.int64)
        if planes.max() >= MOST_PLANES:
            raise GridError(
                f"{self.name}: expected up to {MOST_PLANES} planes, got one that lies farther away; export it again"
            )
        affine = np.eye(4)
        affine[:3, :3] = self._turns * (*pixel_mm, gap_mm)
        affine[:3, 3] = self.positions[lowest]
        check_affine(affine, self.name)
        return SourceGrid((*self.first.shape, int(planes.max()) + 1), affine), planes

    def _gap_mm(self, along_mm: Float[np.ndarray, "n"]) -> float:
        """Return the spacing of planes, some of which may be missing: that in the file, or else the smallest gap.

        Raises:
            GridError: If no spacing fits all planes.
        """
        steps = np.diff(np.unique(along_mm))
        steps = steps[steps > SAME_PLACE_MM]
        tried = [self.said_gap_mm, self.first.thickness_mm, *steps[np.argsort(steps)[:1]].tolist()]
        for gap_mm in (gap for gap in tried if gap and gap > SAME_PLACE_MM):
            numbers = np.rint(along_mm / gap_mm)
            if numbers.max() > 0:
                gap_mm = round(float(along_mm.max() / numbers.max()), 9)  # positions are decimal numbers
            elif steps.size:
                continue
            if np.abs(along_mm - numbers * gap_mm).max() <= GRID_TOLERANCE_VOXELS * gap_mm:
                return float(gap_mm)
        if not steps.size:
            raise GridError(
                f"{self.name}: expected the distance between slices, got one plane without it; export it again"
            )
        raise GridError(self._irregular("unevenly spaced planes"))

    def _irregular(self, what: str) -> str:
        return (
            f"{self.name}: expected parallel planes at even distances, got {what}; use it with the DICOM scan "
            "that it was made on, whose slices give its position"
        )

    def on_slices(self, grid: SourceGrid) -> Int64[np.ndarray, "n"] | None:
        """Return the slice of a scan that each frame lies on; None unless all lie on slices."""
        slices = grid.slices
        axes = grid.affine[:3, :2] / np.linalg.norm(grid.affine[:3, :2], axis=0)
        pixel_mm = np.linalg.norm(grid.affine[:3, :2], axis=0)
        if slices is None or slices.shape != self.first.shape:
            return None
        far = max(slices.shape) * (
            np.abs(axes - self._turns[:, :2]).max() + np.abs(pixel_mm / self.first.pixel_mm - 1).max()
        )
        if far > GRID_TOLERANCE_VOXELS:
            return None
        places = np.stack([slices.affine_of(number, grid.affine)[:3, 3] for number in range(len(slices.images))])
        distances = np.linalg.norm(self.positions[:, None] - places[None], axis=2)
        near = distances.min(axis=1) <= GRID_TOLERANCE_VOXELS * min(*grid.spacing_mm)
        return distances.argmin(axis=1) if near.all() else None

    def mask_on_slices(self, grid: SourceGrid, planes: Int64[np.ndarray, "n"]) -> Callable[[str], Mask]:
        """Return a function that gives masks on the grid of a scan, from its slices."""
        slices = grid.slices
        assert slices is not None  # `on_slices` has found some

        def mask(name: str) -> Mask:
            on = self.planes_of(name, planes, (*slices.shape, len(slices.images)))
            return grid.to_canonical(slices.from_slices(on, grid.shape))

        return mask

    def planes_of(
        self, name: str, planes: Int64[np.ndarray, "n"], shape: tuple[int, int, int]
    ) -> Bool[np.ndarray, "c r k"]:
        """Return a segment in all planes, `(columns, rows, planes)`; `planes` has the plane of each frame."""
        number = self.numbers[name]
        with quietly(self.name):
            _ = self._pixels  # refuses what cannot hold the frames, before memory is taken
            out = np.zeros(shape[::-1], bool)
            if self.of_frame is None:
                for plane, values in zip(planes, self._label_map, strict=True):
                    out[plane] |= values == number
                return out.T
            least = (self.full + 1) // 2 if self.kind == "FRACTIONAL" else 1
            for frame in np.flatnonzero(self.of_frame == number).tolist():
                out[planes[frame]] |= self._frame(frame) >= least
        return out.T

    @cached_property
    def _label_map(self) -> UInt8[np.ndarray, "n r c"] | UInt16[np.ndarray, "n r c"]:
        """All frames of a LABELMAP.

        Raises:
            LabelError: If a pixel has no segment.
        """
        values = np.stack([self._frame(frame) for frame in range(len(self.images))])
        if unknown := sorted(set(values_in(values)) - {0, *self.numbers.values()}):
            raise LabelError(
                f"{self.name}: expected only pixels of the {len(self.numbers)} segments that it lists, got the values "
                f"{', '.join(map(str, unknown[:8]))}; export it again"
            )
        return values

    def _frame(self, frame: int) -> UInt8[np.ndarray, "r c"] | UInt16[np.ndarray, "r c"]:
        dataset, syntax = self._pixels
        columns, rows = self.first.shape
        if int(dataset.BitsAllocated) == 1 and syntax in UNCOMPRESSED:  # frames are packed without padding bits
            start, count = frame * rows * columns, rows * columns
            packed = np.frombuffer(dataset.PixelData, np.uint8)[start // 8 : (start + count + 7) // 8]
            bits = np.unpackbits(packed, bitorder="little")
            return bits[start % 8 : start % 8 + count].reshape(rows, columns)
        pixels: np.ndarray = pixel_array(dataset, index=frame, raw=True, decoding_plugin=plugin_for(syntax))
        if pixels.shape != (rows, columns):
            raise InputError(
                f"{self.name}: expected {rows} rows of {columns} pixels, got {pixels.shape}; copy it again"
            )
        return pixels

    @cached_property
    def _pixels(self) -> tuple[Dataset, str]:
        """The file with its pixels, and its transfer syntax."""
        with self.path.open("rb") as stream:
            dataset = read_dataset(stream, self.path.stat().st_size, pixels=True)
        return dataset, check_pixels(dataset, self.name)


def _numbers(header: Dataset, kind: str, name: str) -> dict[str, int]:
    """Return the numbers of segments by their labels, without a label map's background.

    Raises:
        LabelError: If a label occurs twice or cannot be used.
        InputError: If there is none.
    """
    numbers: dict[str, int] = {}
    for segment in header.get("SegmentSequence") or []:
        number = int(segment.SegmentNumber)
        if kind == "LABELMAP" and number == 0:
            continue
        structure = usable_name(str(segment.get("SegmentLabel") or ""), name)
        if structure in numbers:
            raise LabelError(f"{name}: expected each segment's label once, got {structure} twice; rename one")
        numbers[structure] = number
    if not numbers:
        raise InputError(f"{name}: expected segments, got none; export it again")
    check_told_apart(numbers, name)
    return numbers


def _segments_of_frames(header: Dataset, frames: int) -> Int64[np.ndarray, "n"]:
    """Return the number of the segment in each frame, which is in the shared groups if there is only one."""
    shared = header.get("SharedFunctionalGroupsSequence") or [Dataset()]
    own = header.get("PerFrameFunctionalGroupsSequence") or []
    groups = [own[frame] if frame < len(own) else Dataset() for frame in range(frames)]
    named = (group.get("SegmentIdentificationSequence") for group in groups)
    of_all = shared[0].get("SegmentIdentificationSequence")
    return np.array([int((one or of_all)[0].ReferencedSegmentNumber) for one in named], np.int64)


def _said_gap_mm(header: Dataset) -> float | None:
    """Return the spacing between slices in the file; None if it has none."""
    groups = [
        *(header.get("SharedFunctionalGroupsSequence") or []),
        *(header.get("PerFrameFunctionalGroupsSequence") or [])[:1],
    ]
    for group in groups:
        measures = group.get("PixelMeasuresSequence") or [Dataset()]
        gap = measures[0].get("SpacingBetweenSlices")
        if gap is not None and 0 < abs(float(gap)) < np.inf:
            return abs(float(gap))
    return None


def _placed(images: list[ImageHeader], name: str) -> tuple[ImageHeader, Float[np.ndarray, "n 3"]]:
    """Return the first frame, and the position of the first pixel of each.

    Raises:
        GridError: If positions are unknown, or frames are not parallel or of the same pixel size.
    """
    first = images[0]
    positions = [image.position_mm for image in images if image.position_mm is not None]
    if first.orientation is None or first.pixel_mm is None or len(positions) < len(images):
        raise GridError(
            f"{name}: expected a position, orientation and pixel spacing for every frame, got some without; "
            "export it again for the scan that it belongs to"
        )
    if not all(_are_alike(image, first) for image in images):
        raise GridError(f"{name}: expected parallel frames of one pixel size, got others; export them separately")
    return first, np.stack(positions)


def _are_alike(image: ImageHeader, first: ImageHeader) -> bool:
    """Whether two frames are parallel, with pixels of the same size."""
    if image.orientation is None or first.orientation is None or image.pixel_mm is None or first.pixel_mm is None:
        return False
    is_turned = np.abs(image.orientation - first.orientation).max() > _PARALLEL
    return not is_turned and np.allclose(image.pixel_mm, first.pixel_mm, rtol=_PARALLEL)
