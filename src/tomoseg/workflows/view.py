"""`tomoseg view`: which scan and which masks a place stands for, and how they become what is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tomoseg.datasets.cases import Case, MaskCase, read_case
from tomoseg.datasets.mask_cases import OpenMasks, find_mask_cases
from tomoseg.errors import DatasetError, InputError, LabelError
from tomoseg.files.label_files import label_stem, label_suffix, read_label_map, segment_values
from tomoseg.files.label_names import label_set_named, structure_name, values_in
from tomoseg.files.scan import read_scan
from tomoseg.labels import LabelSet
from tomoseg.masks import BoxedMask
from tomoseg.options import AS_SEEN, ViewOptions
from tomoseg.volume import Volume
from tomoseg.workflows.prediction_record import noticed_of_result
from tomoseg.workflows.scan_names import names_of
from tomoseg.workflows.scenes import Scene, scene_of


@dataclass(frozen=True)
class ViewCase:
    """One case to look at.

    Attributes:
        name: What it is called.
        scan: Where its scan lies.
        masks: Its masks, if there are any.
        reference: Masks to compare with.
        score: What it is sorted by.
    """

    name: str
    scan: Path
    masks: MaskCase | None = None
    reference: MaskCase | None = None
    score: float | None = None


@dataclass(frozen=True)
class Views:
    """What is looked at.

    Attributes:
        title: What all of it is called.
        cases: At least one, in the order in which they are looked at.
        measure: What the score of a case is; empty where there is none.
        beside: The folder that corrections of it lie in unless another is named.
        left_out: What is not among the cases, each with the reason.
    """

    title: str
    cases: tuple[ViewCase, ...]
    beside: Path
    measure: str = ""
    left_out: tuple[str, ...] = ()


def find_views(place: Path, masks: Sequence[Path] = (), against: Path | None = None) -> Views:
    """Find out what is to be looked at, without opening an image.

    Args:
        place: A scan.
        masks: Its masks: a folder or a file of all of them, or several files.
        against: Masks to compare them with.

    Raises:
        DatasetError: If there are no masks where some should be.
        InputError: If nothing is there, or references are given without masks.
        LabelError: If names cannot be used.
    """
    if not place.exists():
        raise InputError(f"{place}: expected a scan, got nothing at that path; check it")
    if against is not None and not masks:
        raise InputError(f"expected masks to compare with {against}, got none; name them after the scan")
    (name,) = names_of([(place, None)])
    case = None if not masks else _masks_of(masks, name)
    reference = None if against is None else _masks_of((against,), name)
    beside = place.absolute().parent if not masks else masks[0].absolute().parent
    return Views(name, (ViewCase(name, place, case, reference),), beside / "corrections")


def _masks_of(paths: Sequence[Path], name: str) -> MaskCase:
    """The masks of one scan.

    Raises:
        DatasetError: If there are none, or those of several scans of which none is called as this one.
        LabelError: If names cannot be used.
    """
    if len(paths) == 1 and paths[0].is_dir():
        found = {case.name: case for case in find_mask_cases(paths[0])}
        if len(found) > 1 and name not in found:
            raise DatasetError(
                f"{paths[0]}: expected masks of one scan, or of one called {name}, got those of {len(found)}; "
                "name the folder of this scan's"
            )
        return found.get(name) or next(iter(found.values()))
    if len(paths) == 1 and (case := _named(paths[0])) is not None:
        return case
    return _single_files(paths, name)


def _named(path: Path) -> MaskCase | None:
    """The masks of one file that says what it holds; None for a mask, or a label map without names."""
    if label_suffix(path) is None or not path.is_file():
        (case,) = find_mask_cases(path)  # says what is wrong
        return case
    try:
        (case,) = find_mask_cases(path)
    except DatasetError:
        return None
    return case


def _single_files(paths: Sequence[Path], name: str) -> MaskCase:
    """Files of a mask each, named as their structures are; one label map without names has numbers instead.

    Raises:
        DatasetError: If one of several files holds several structures.
        LabelError: If names cannot be used, or come twice.
    """
    masks: dict[str, Path] = {}
    for path in paths:
        if not path.is_file() or label_suffix(path) is None or segment_values(path) is not None:
            raise DatasetError(
                f"{path}: expected a file of one mask beside others, got another kind; pass a folder or one file of "
                "all structures"
            )
        structure = structure_name(label_stem(path), str(path))
        if structure in masks:
            raise LabelError(f"{path}: expected each structure once, got {structure} twice; rename one file")
        masks[structure] = path
    if len(masks) == 1 and (numbered := _numbered(paths[0])):
        return MaskCase(name=name, patient=name, label_map=paths[0], annotated=tuple(numbered), label_values=numbered)
    return MaskCase(name=name, patient=name, masks=masks, annotated=tuple(masks))


def _numbered(path: Path) -> dict[str, tuple[int, ...]]:
    """The values of a label map that nothing names, by numbers; nothing for a mask."""
    values = [value for value in values_in(read_label_map(path)) if value]
    return {} if values in ([], [1]) else {f"label {value}": (value,) for value in values}


def open_scene(case: ViewCase, options: ViewOptions = AS_SEEN) -> Scene:
    """Read what is shown of a case.

    Args:
        case: Which.
        options: Which series, and what is assumed of it.

    Raises:
        GridError: If masks lie on other voxels than the scan.
        InputError: If a file cannot be read.
        LabelError: If values or names cannot be used.
    """
    volume = _scan_of(case, options)
    if case.masks is None:
        return scene_of(volume, None, {})
    sides = [case.masks] if case.reference is None else [case.masks, case.reference]
    labels = _labels(list(dict.fromkeys(name for side in sides for name in side.annotated)))
    ours, *others = (dict(_read(side, volume, case.scan)) for side in sides)
    notices = noticed_of_result(case.masks.first_file)
    return scene_of(
        volume, labels, ours, others[0] if others else None, [one for one in notices if one not in volume.warnings]
    )


def _scan_of(case: ViewCase, options: ViewOptions) -> Volume:
    if options.series is not None or options.assume_spacing is not None or case.masks is None:
        return read_scan(case.scan, options.series, options.assume_spacing)
    known = {name: getattr(case.masks, name) for name in MaskCase.__dataclass_fields__}
    return read_case(Case(**(known | {"ct": case.scan})))


def _labels(names: Sequence[str]) -> LabelSet:
    """The structures of both sides: as among the 117 where they are of them, with colours unlike one another's."""
    of_total = {one.name: one for one in LabelSet.total()}
    known = (of_total.get(one.name, one) for one in label_set_named(names))
    return LabelSet(tuple(replace(one, id=number) for number, one in enumerate(known, start=1)))


def _read(side: MaskCase, volume: Volume, scan: Path) -> Iterator[tuple[str, BoxedMask]]:
    opened = OpenMasks(side, volume.source, str(scan))
    for name in side.annotated:
        yield name, opened.mask(name)
