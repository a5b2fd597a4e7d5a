"""`tomoseg view`: the scans and masks at a place, and the scenes made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tomoseg.datasets.cases import Case, MaskCase, read_case
from tomoseg.datasets.corrections import Correction, latest
from tomoseg.datasets.mask_cases import OpenMasks
from tomoseg.errors import InputError
from tomoseg.evaluation.score_files import SCORES
from tomoseg.files.label_names import label_set_named
from tomoseg.files.scan import first_values, look, read_scan
from tomoseg.labels import LabelSet
from tomoseg.masks import BoxedMask
from tomoseg.options import AS_SEEN, ViewOptions
from tomoseg.volume import Volume
from tomoseg.workflows.prediction_record import noticed_of_result
from tomoseg.workflows.scan_names import names_of
from tomoseg.workflows.scenes import Entry, Scene, scene_of
from tomoseg.workflows.view_cases import CORRECTIONS, ViewCase, Views, find_predicted, find_scored, masks_of


def find_views(place: Path, masks: Sequence[Path] = (), against: Path | None = None) -> Views:
    """Find the cases to view, without opening an image.

    Args:
        place: A scan; or the folder of an evaluation, or of predictions of many scans.
        masks: Its masks: a folder or a file of all of them, or several files.
        against: Masks to compare them with.

    Raises:
        DatasetError: If expected masks are missing.
        InputError: If there is nothing at the place, or references are given without masks.
        LabelError: If names of structures are invalid.
    """
    _check_there(place)
    if against is not None and not masks:
        raise InputError(f"expected masks to compare with {against}, got none; name them after the scan")
    many = None if masks else _many(place)
    if many is not None:
        return many
    (name,) = names_of([(place, None)])
    case = masks_of(masks, name) if masks else None
    reference = None if against is None else masks_of((against,), name)
    beside = (masks[0] if masks else place).absolute().parent
    return Views(name, (ViewCase(name, place, case, reference),), beside / CORRECTIONS)


def _check_there(place: Path) -> None:
    """Refuse a missing path or an empty folder.

    Raises:
        InputError: If it is one.
    """
    if not place.exists():
        raise InputError(f"{place}: expected a scan, got nothing at that path; check it")
    if place.is_dir() and not any(place.iterdir()):
        raise InputError(f"{place}: expected a scan, a folder of results or a run, got an empty folder; check the path")


def check_scan(views: Views, options: ViewOptions) -> None:
    """Refuse one scan that is none, from its beginning: of many, each is refused when it is shown.

    Args:
        views: What is to be looked at.
        options: What is assumed of it.

    Raises:
        InputError: If it cannot be read.
        GridError: If its geometry is not known.
    """
    if len(views.cases) == 1 and options.assume_spacing is None:
        source = look(views.cases[0].scan)
        if not source.is_dicom:
            first_values(source)


def _many(place: Path) -> Views | None:
    """Return the cases of an evaluation or of predictions of many scans; None for any other place."""
    for mark, find in ((SCORES, find_scored), ("predictions*.json", find_predicted)):
        if place.is_dir() and any(place.glob(mark)):
            return find(place)
    return None


def open_scene(case: ViewCase, options: ViewOptions = AS_SEEN, corrections: Path | None = None) -> Scene:
    """Read the scene of a case.

    Args:
        case: The case.
        options: The DICOM series, and assumptions about the scan.
        corrections: The folder of all corrections; the last one of each structure replaces its mask.

    Raises:
        DatasetError: If a correction cannot be read.
        GridError: If masks are not on the scan's grid.
        InputError: If a file cannot be read.
        LabelError: If values or names are invalid.
    """
    volume = scan_of(case, options)
    if case.masks is None:
        return scene_of(volume, None, {})
    corrected = {} if corrections is None else latest(corrections / case.name)
    sides = [corrected_masks(case.masks, corrected), *(() if case.reference is None else (case.reference,))]
    labels = labels_of(sides)
    ours, *others = (dict(_read(side, volume, case.scan)) for side in sides)
    scene = scene_of(volume, labels, ours, others[0] if others else None, noticed_of_result(case.masks.first_file))
    return replace(scene, entries=tuple(_marked(entry, corrected) for entry in scene.entries))


def corrected_masks(masks: MaskCase, corrected: Mapping[str, Correction]) -> MaskCase:
    """Return masks with corrected ones replaced.

    Args:
        masks: The masks of a case.
        corrected: Corrections by structure.
    """
    files = {name: one.mask for name, one in corrected.items()}
    return replace(masks, corrected=files, annotated=tuple(dict.fromkeys((*masks.annotated, *files))))


def _marked(entry: Entry, corrected: Mapping[str, Correction]) -> Entry:
    found = corrected.get(entry.structure.name)
    return entry if found is None else replace(entry, version=found.version)


def scan_of(case: ViewCase, options: ViewOptions) -> Volume:
    """Read the scan of a case; of several series the one that matches its masks.

    Args:
        case: The case.
        options: The DICOM series, and assumptions about the scan.

    Raises:
        InputError: If it cannot be read.
    """
    if options.series is not None or options.assume_spacing is not None or case.masks is None:
        return read_scan(case.scan, options.series, options.assume_spacing)
    known = {name: getattr(case.masks, name) for name in MaskCase.__dataclass_fields__}
    return read_case(Case(**(known | {"ct": case.scan})))


def labels_of(sides: Sequence[MaskCase]) -> LabelSet:
    """Return the structures of all sides, as defined in the 117 if they are among them, in distinct colours.

    Args:
        sides: Masks of one case.

    Raises:
        LabelError: If a name is invalid.
    """
    names = list(dict.fromkeys(name for side in sides for name in side.annotated))
    of_total = {one.name: one for one in LabelSet.total()}
    known = (of_total.get(one.name, one) for one in label_set_named(names))
    return LabelSet(tuple(replace(one, id=number) for number, one in enumerate(known, start=1)))


def _read(side: MaskCase, volume: Volume, scan: Path) -> Iterator[tuple[str, BoxedMask]]:
    opened = OpenMasks(side, volume.source, str(scan))
    for name in side.annotated:
        yield name, opened.mask(name)
