"""Cases: the files of a scan and its masks, and reading them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from jaxtyping import Bool

from tomoseg.errors import DatasetError, LabelError, TomosegError
from tomoseg.files.label_files import open_segments, read_geometry, read_label_map, read_mask
from tomoseg.files.label_names import values_in
from tomoseg.files.scan import look, read_scan
from tomoseg.files.source import ScanSource
from tomoseg.labels import LabelSet, composed
from tomoseg.notices import Notice
from tomoseg.volume import SourceGrid, Volume, same_grid

SomeCase = TypeVar("SomeCase", bound="MaskCase")
Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True)
class MaskCase:
    """The masks of one case: one mask file per structure, one label map, or one file of named segments.

    Attributes:
        name: Name, unique in the dataset, or on its side of a comparison.
        patient: Its patient; all cases of a patient go into the same split.
        masks: Mask files by structure; None if there is one file of all.
        label_map: The label map, if there is one.
        segments: The file that names its structures itself, or has a channel for each, if there is one.
        channels: Structures of the channels of that file, in order.
        annotated: Structures that are annotated in this case. If the mask of one is empty, it is absent; all other
            structures are unknown and count in no loss and no score.
        label_values: Values in the label map by structure, more than one for a region. It may have structures that
            are not annotated in this case. For segments it is empty if several have the same value.
        unions: For structures that are unions of mask files, the names of these in `masks`.
        ct: The scan, if known.
        corrected: Mask files by structure that replace the masks in the other files.
    """

    name: str
    patient: str
    masks: dict[str, Path] | None = None
    label_map: Path | None = None
    segments: Path | None = None
    channels: tuple[str, ...] = ()
    annotated: tuple[str, ...]
    label_values: dict[str, tuple[int, ...]] = field(default_factory=dict)
    unions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    ct: Path | None = None
    corrected: dict[str, Path] = field(default_factory=dict)

    @property
    def first_file(self) -> Path:
        """A mask file, which has the grid of the case."""
        return self.mask_files[0]

    @property
    def mask_files(self) -> tuple[Path, ...]:
        """All files of masks."""
        whole = self.label_map or self.segments
        own = (whole,) if whole is not None else tuple((self.masks or {}).values())
        return (*own, *self.corrected.values())

    def parts(self, structure: str) -> tuple[str, ...]:
        """Return the names of the masks whose union is a structure."""
        return self.unions.get(structure, (structure,))


@dataclass(frozen=True, kw_only=True)
class Case(MaskCase):
    """One labelled scan of a dataset.

    Attributes:
        ct: The scan: a file of any supported kind, or a folder of DICOM.
        split: The split that the dataset itself assigns the case to, if any.
        ratings: For masks predicted by a model, its confidence in each, 0 to 1, or None if the structure was not
            found; None for masks made by people.
    """

    ct: Path
    split: Split | None = None
    ratings: dict[str, float | None] | None = None


def named_alike(cases: Iterable[SomeCase]) -> list[SomeCase]:
    """Return cases with names in Unicode normal form C, checked to be unique.

    Raises:
        DatasetError: If two names are the same but for case, which makes them one folder on many file systems.
    """
    composed_ = [replace(case, name=composed(case.name), patient=composed(case.patient)) for case in cases]
    seen: dict[str, SomeCase] = {}
    for case in composed_:
        first = seen.setdefault(case.name.casefold(), case)
        if first is not case:
            raise DatasetError(
                "expected case names that differ in more than capital letters and the encoding of accents, "
                f"got {first.name} at {first.ct or first.first_file} and {case.name} at "
                f"{case.ct or case.first_file}; rename one"
            )
    return composed_


def read_case(case: Case) -> Volume:
    """Read the scan of a case, with notices that do not name its file.

    Of several DICOM series, the first that has the grid of the masks is taken, or else the one that `predict` takes.

    Raises:
        InputError: If it cannot be read.
        GridError: If its geometry is unknown, or cannot be used.
    """
    source = look(case.ct)
    volume = _under_masks(read_scan(source), source, case)
    told = [replace(one, message=_of_case(one).removeprefix(f"{case.ct}: ")) for one in volume.warnings]
    return replace(volume, warnings=tuple(told))


def _under_masks(volume: Volume, source: ScanSource, case: Case) -> Volume:
    """Return the scan, or another of its series if only that has the grid of the masks."""
    series = () if volume.source.slices is None else volume.source.slices.series
    if len(series) < 2 or case.segments is not None or _is_on(case, volume):
        return volume
    for number in range(1, len(series) + 1):
        with suppress(TomosegError):
            other = read_scan(source, number)
            if _is_on(case, other):
                text = f"There are {len(series)} series; number {number}, on which the masks lie, was used."
                return replace(other, warnings=(*other.warnings, Notice(text, "several series")))
    return volume


def _is_on(case: Case, volume: Volume) -> bool:
    try:
        return same_grid(volume.source, read_geometry(case.first_file))
    except TomosegError:
        return False  # the error is raised when the masks are read


def _of_case(notice: Notice) -> str:
    """Return the message of a notice with advice for a case, whose series is chosen by its masks."""
    return notice.message.replace(
        "Choose another with --series.", "The masks decide: check that they belong to this one."
    )


def mask_loader(case: Case, labels: LabelSet, grid: SourceGrid) -> Callable[[int], Bool[np.ndarray, "x y z"]]:
    """Return a function that reads the masks of a case by channel, in any order and from any thread.

    Args:
        case: The case.
        labels: The structures, in channel order.
        grid: The grid of the case's scan, which all masks must have.

    Returns:
        A function from the channel of an annotated structure to its mask, `(x, y, z)` in RAS+ order. It raises
        `InputError` for a file that cannot be read and `GridError` for one on another grid.

    Raises:
        InputError: If the label map cannot be read.
        GridError: If the label map is on another grid than the scan.
        LabelError: If the label map has a value without a name.
    """
    load = _loader(case, labels, grid)
    if not case.corrected:
        return load
    files = {labels.channel(name): path for name, path in case.corrected.items() if name in labels}
    return lambda n: read_mask(files[n], grid, str(case.ct)) if n in files else load(n)


def _loader(case: Case, labels: LabelSet, grid: SourceGrid) -> Callable[[int], Bool[np.ndarray, "x y z"]]:
    names = labels.names
    if case.segments is not None:
        segments = open_segments(case.segments, grid, str(case.ct), case.channels)
        return lambda channel: _union(segments.mask(name) for name in case.parts(names[channel]))
    if case.label_map is None:
        return lambda channel: _mask_of_files(case, names[channel], grid)
    values = read_label_map(case.label_map, grid, str(case.ct))
    check_values_known(case.label_map, [v for known in case.label_values.values() for v in known], values_in(values))
    return lambda channel: _mask_of_values(values, case.label_values[names[channel]])


def _mask_of_files(case: Case, structure: str, grid: SourceGrid) -> Bool[np.ndarray, "x y z"]:
    files = case.masks or {}
    return _union(read_mask(files[name], grid, str(case.ct)) for name in case.parts(structure))


def _union(masks: Iterable[Bool[np.ndarray, "x y z"]]) -> Bool[np.ndarray, "x y z"]:
    first, *others = masks
    for mask in others:
        first = first | mask
    return first


def _mask_of_values(values: np.ndarray, of: tuple[int, ...]) -> Bool[np.ndarray, "x y z"]:
    mask: np.ndarray = values == of[0]
    for value in of[1:]:
        mask |= values == value
    return mask


def check_values_known(label_map: Path, known: Sequence[int], found: Sequence[int]) -> None:
    """Check that all values in a label map have a name.

    Args:
        label_map: Its file, for the message.
        known: Values that have a name.
        found: Values that occur.

    Raises:
        LabelError: If one has no name.
    """
    unknown = sorted(set(found) - {0, *known})
    if unknown:
        listed = ", ".join(map(str, unknown[:8])) + (", ..." if len(unknown) > 8 else "")
        raise LabelError(
            f"{label_map}: expected a name for every value, got none for {listed}; name them in labels.json"
        )
