"""A DICOM series as a volume: found, chosen, stacked and decoded.

Nothing of the patient's is in any message: files are counted, not named, except the path that the user gave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int16

from tomoseg.errors import GridError, InputError, TomosegError
from tomoseg.files.dicom.carried import Carried, is_sound
from tomoseg.files.dicom.entries import Entry, entries
from tomoseg.files.dicom.headers import ImageHeader, images_in, quietly
from tomoseg.files.dicom.lone import is_joined
from tomoseg.files.dicom.mixed import are_pairs, gaps_in_turn, period_of
from tomoseg.files.dicom.pixels import Taker, decode
from tomoseg.files.dicom.scales import scaled, steps, unit_words
from tomoseg.files.dicom.seams import seams
from tomoseg.files.dicom.series import Choice, Stack, check_one_scan, choose, listing, slices_among, stacks_of
from tomoseg.files.dicom.whose import check_one_study
from tomoseg.files.source import Headers, ScanSource
from tomoseg.files.stack import SAME_PLACE_MM, Arrangement, Slices, arrange, resample
from tomoseg.notices import Notice
from tomoseg.slices import SourceImage, SourceSlices
from tomoseg.volume import SourceGrid, Volume, check_affine

Edges = tuple[float, float, float]

LARGEST_PIXEL_RATIO, ALWAYS_ALLOWED_BYTES = 2000, 512 << 20
"""Coded slices may come to so many times their files in memory, and to so many bytes in any case. A CT slice comes to
three times its file; one of padding alone, in JPEG 2000, to a thousand times."""
COMPARED = 16
"""So many slices at one place show whether all are copies."""

UNREADABLE = "files that cannot be read"


def read_dicom(source: ScanSource, series: int | None = None, assume_spacing: Edges | None = None) -> Volume:
    """Read a CT series.

    Args:
        source: A folder with folders in it, a zip archive, or one file, as `scan.look` finds it.
        series: Which of several, from 1; the largest axial one of a study if None.
        assume_spacing: Voxel edges in mm along columns, rows and slices, taken where the files do not say where their
            pixels lie. Slices are then taken for axial, the first for the uppermost.

    Returns:
        The scan in RAS+ order, on a regular grid; `source.slices` has the way back to the slices.

    Raises:
        InputError: If there is no CT series, no such one, those of several patients or studies and none is asked for,
            or it cannot be decoded.
        GridError: If its geometry is not known, or cannot be used.
    """
    path = source.path
    with entries(source) as found:
        slices, left_out = _slices(found, source)
        stacks = stacks_of(slices)
        if series is None:
            check_one_study(slices, listing(stacks), str(path))
        choice, words = choose(stacks, series, str(path))
        words += _left_out(left_out)
        try:
            volume = _volume(choice, assume_spacing, str(path))
            volume = _listing(volume, stacks, choice)
        except TomosegError as error:
            raise type(error)(" ".join([f"{error}.", *map(str, words)]) if len(stacks) > 1 else str(error)) from None
    told = [*words, *volume.warnings]
    return replace(volume, warnings=tuple(word.of(str(path)) for word in told))


def series_in(source: ScanSource) -> list[Stack]:
    """What there is to choose from with `series`, from headers alone; the first is number 1.

    Args:
        source: As for `read_dicom`.

    Raises:
        InputError: If there are no CT slices.
    """
    with entries(source) as found:
        return stacks_of(_slices(found, source)[0])


def _slices(found: Sequence[Entry], source: ScanSource) -> tuple[list[ImageHeader], Counter[str]]:
    """The CT slices of all files, and how many others of which kind.

    Raises:
        InputError: If there are none.
    """
    images, left_out = _headers(found, source.headers, str(source.path))
    slices, others = slices_among(images)
    left_out += others
    if not slices:
        do = "unpack it if it holds volumes" if source.kind == "zip" else "check the path"
        raise InputError(f"{source.path}: expected CT slices, got {_counted(left_out) or 'none'}; {do}")
    return slices, left_out


def _listing(volume: Volume, stacks: Sequence[Stack], choice: Choice) -> Volume:
    """The volume with what else it could have been."""
    assert volume.source.slices is not None  # it was read from slices
    slices = replace(volume.source.slices, series=tuple(map(str, stacks)), number=choice.number)
    return replace(volume, source=replace(volume.source, slices=slices))


def _headers(found: Sequence[Entry], known: Headers, name: str) -> tuple[list[ImageHeader], Counter[str]]:
    """The images of all files, and how many files of which kind have none; a file that is known is not opened."""
    images: list[ImageHeader] = []
    left_out = Counter[str]()
    problem = None
    for entry in found:
        try:
            of_file = known[entry.path] if entry.member is None and entry.path in known else _images(entry, name)
        except InputError as error:
            problem = error
            left_out[UNREADABLE] += 1
            continue
        if not of_file:
            left_out["files that are no DICOM" if of_file is None else "files without images"] += 1
            continue
        images += of_file
    if problem is not None and not images:
        raise problem
    return images, left_out


def _images(entry: Entry, name: str) -> tuple[ImageHeader, ...] | None:
    with quietly(name), entry.open() as stream:
        return images_in(stream, entry, name)


def _left_out(kinds: Counter[str]) -> list[Notice]:
    """What was left out, damaged files apart: slices of the scan may be among them."""
    damaged = kinds.pop(UNREADABLE, 0)
    words = [Notice(f"Left out: {_counted(kinds)}.", "left out")] if kinds else []
    if damaged:
        text = f"{damaged} {UNREADABLE} were left out; slices may be missing. Copy the folder again."
        words.append(Notice(text, "unreadable files"))
    return words


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{kind} ({count})" for kind, count in sorted(kinds.items()))


def _volume(choice: Choice, assume_spacing: Edges | None, name: str) -> Volume:
    stack = choice.stack
    slices, words, has_positions = _geometry(stack, assume_spacing, name)
    try:
        arrangement = arrange(slices)
    except GridError as error:
        raise GridError(f"{name}: {error}") from None
    check_affine(arrangement.affine, name)
    in_order, unscaled = scaled([stack.images[number] for number in arrangement.order], name)
    words += (*unscaled, *unit_words(in_order))
    carried = Carried(in_order[0].entry)
    hu, noticed = _decoded(in_order, name, carried.take)
    words += noticed
    words += steps(in_order, hu)
    if arrangement.repeated:
        words += _compared(choice, arrangement, hu, name)
    period = _period(in_order, hu, slices.along_mm(arrangement.order)) if has_positions else 1
    part = check_one_scan(choice, len(in_order), period, name)
    if part >= 0:
        part_of = Stack(tuple(in_order[part::period]))
        return _volume(replace(choice, stack=part_of, part=None), assume_spacing, name)
    source = SourceSlices(
        slices.shape,
        arrangement.offsets_voxels,
        tuple(_source(image, has_positions, carried) for image in in_order),
        header=carried.header,
        not_to_be_told=_not_to_be_told(in_order),
    )
    words += _of_identifiers(source.not_to_be_told)
    words += seams(in_order)
    if not source.are_planes:
        hu = resample(hu, arrangement)
    grid = SourceGrid(arrangement.shape, arrangement.affine, slices=source)
    return Volume(grid.to_canonical(hu.T), grid, (*arrangement.findings, *words))


def _period(images: Sequence[ImageHeader], hu: Int16[np.ndarray, "n r c"], along_mm: Float[np.ndarray, "n"]) -> int:
    """Of how many scans slices are in turn."""
    period = period_of(hu, along_mm)
    return 2 if period == 1 and gaps_in_turn(along_mm) and not are_pairs(images, along_mm) else period


def _not_to_be_told(images: Sequence[ImageHeader]) -> str:
    """Why other files cannot refer to the slices; empty where they can."""
    if is_joined(images):
        return "each slice has a SeriesInstanceUID of its own"
    times = Counter((image.sop_instance_uid, image.frame) for image in images if is_sound(image.sop_instance_uid))
    shared = sum(count for count in times.values() if count > 1)
    return f"{shared} of {len(images)} slices share a SOPInstanceUID with another" if shared else ""


def _of_identifiers(why: str) -> list[Notice]:
    if not why:
        return []
    text = (
        f"The identifiers of the slices are wrong: {why}. They were read as one scan by their places; DICOM results, "
        "which refer to slices by these, cannot be written. Export the series again to have them."
    )
    return [Notice(text, "headers")]


AXIAL = (np.array([-1.0, 0.0, 0.0]), np.array([0.0, -1.0, 0.0]))
"""Columns to the patient's left, rows to the back."""

POSITION, THICKNESS = "position of each slice", "slice thickness"


def _geometry(stack: Stack, assume_spacing: Edges | None, name: str) -> tuple[Slices, list[Notice], bool]:
    """Where the slices lie, what had to be assumed, and whether their positions are those of the files.

    Raises:
        GridError: If it is not known and nothing is to be assumed.
    """
    first = stack.images[0]
    across, down = AXIAL if first.orientation is None else first.orientation
    known = _positions(stack)
    lacking = _lacking(first, known, np.cross(across, down))
    at_one_place = _at_one_place(lacking, known)
    _check_are_no_copies(stack.images[:at_one_place], name)
    if lacking and assume_spacing is None:
        raise GridError(_refusal(lacking, at_one_place, name))
    across_mm, down_mm, along_mm = assume_spacing or (0.0, 0.0, 0.0)
    if known is not None and POSITION not in lacking:
        positions, thickness_mm = known, first.thickness_mm or along_mm
    else:
        positions = -along_mm * np.arange(len(stack.images))[:, None] * np.cross(across, down) + 0.0
        thickness_mm = along_mm
    slices = Slices(positions, across, down, first.pixel_mm or (across_mm, down_mm), first.shape, thickness_mm)
    words = _assumed(lacking, (across_mm, down_mm, along_mm))
    words += _inferred(first, POSITION not in lacking)
    return slices, words, POSITION not in lacking


def _at_one_place(lacking: Sequence[str], known: Float[np.ndarray, "n 3"] | None) -> int:
    """How many slices lie at one place, if all do and it is no origin that was put in the place of others."""
    return len(known) if lacking == [POSITION] and known is not None and known.any() else 0


def _check_are_no_copies(images: Sequence[ImageHeader], name: str) -> None:
    """Refuse slices at one place that show the same: no voxel edges make a scan of them.

    Args:
        images: All of them, or none.
        name: What to call the scan in messages.

    Raises:
        GridError: If they do.
    """
    pixels = (_decoded([image], name)[0] for image in images[:COMPARED])
    first = next(pixels, None)
    if first is not None and all(np.array_equal(first, other) for other in pixels):
        times = "twice" if len(images) == 2 else f"{len(images)} times"
        raise GridError(
            f"{name}: expected slices one behind the other, got one slice {times}, the same to the last pixel; pass "
            "one of the files, or export the series again"
        )


def _refusal(lacking: Sequence[str], at_one_place: int, name: str) -> str:
    """What to say of slices whose places are not known, or that are so many at one place."""
    if at_one_place:
        return (
            f"{name}: expected slices one behind the other, got one place {at_one_place} times, and other pixels each "
            "time: one place over time, or positions that were lost; pass another series, or one of the files, or the "
            "voxel edges with --assume-spacing X Y Z if they are slices of a scan"
        )
    return (
        f"{name}: expected slices that say where they lie, got no usable {' or '.join(lacking)}; "
        "give the voxel edges in mm with --assume-spacing X Y Z if you know them"
    )


def _inferred(first: ImageHeader, has_positions: bool) -> list[Notice]:
    if not first.is_place_inferred or not has_positions:
        return []
    text = (
        "The file gives the place of its first frame alone; frames were taken to follow one another along the "
        "normal by the distance that it gives. Check that head and feet are not swapped."
    )
    return [Notice(text, "assumed geometry")]


def _positions(stack: Stack) -> Float[np.ndarray, "n 3"] | None:
    """Where each image's first pixel lies; None where it is not known of all."""
    known = [image.position_mm for image in stack.images if image.position_mm is not None]
    return np.stack(known) if len(known) == len(stack.images) else None


def _lacking(
    first: ImageHeader, positions_mm: Float[np.ndarray, "n 3"] | None, normal: Float[np.ndarray, "3"]
) -> list[str]:
    """What images do not say of where they lie, by their first one and by their places along the normal."""
    places_mm = None if positions_mm is None else positions_mm @ normal
    lacking = []
    if first.pixel_mm is None:
        lacking.append("pixel spacing")
    if first.orientation is None:
        lacking.append("orientation")
    if places_mm is None or (len(places_mm) > 1 and np.ptp(places_mm) < SAME_PLACE_MM):
        lacking.append(POSITION)
    elif len(places_mm) == 1 and first.thickness_mm is None:
        lacking.append(THICKNESS)
    return lacking


def _assumed(lacking: Sequence[str], assume_spacing: Edges) -> list[Notice]:
    """What was put in the place of what lacks; nothing else was."""
    if not lacking:
        return []
    across_mm, down_mm, along_mm = assume_spacing
    taken = {
        "pixel spacing": f"pixels of {across_mm:g} x {down_mm:g} mm",
        "orientation": "columns to the patient's left and rows to the back",
        POSITION: f"slices {along_mm:g} mm apart, from the head down by number",
        THICKNESS: f"a slice of {along_mm:g} mm",
    }
    sides = " Left and right may be swapped: check them." if "orientation" in lacking else ""
    text = f"No usable {' or '.join(lacking)}; assumed were {', '.join(taken[one] for one in lacking)}.{sides}"
    return [Notice(text, "assumed geometry")]


def _decoded(
    images: Sequence[ImageHeader], name: str, take: Taker = lambda stream, image: None
) -> tuple[Int16[np.ndarray, "n r c"], list[Notice]]:
    """HU of images in their order, each file read once, and what results need of it kept.

    Raises:
        InputError: If one cannot be decoded, they claim far more than their files can hold, or memory does not suffice.
    """
    by_file: dict[Entry, list[int]] = {}
    for place, image in enumerate(images):
        by_file.setdefault(image.entry, []).append(place)
    hu = _room(len(images), images[0].shape, sum(entry.size for entry in by_file), name)
    noticed = Counter[Notice]()
    for places in by_file.values():
        places.sort(key=lambda place: images[place].frame or 0)
        called = name if len(by_file) == 1 else f"{name}: slice {places[0] + 1} of {len(images)}"
        decoded = decode([images[place] for place in places], called, take)
        for place, (_, pixels, words) in zip(places, decoded, strict=True):
            hu[place] = pixels
            noticed.update(words)
    return hu, [word if count == len(images) else word.of(f"{count} slices") for word, count in noticed.items()]


def _room(images: int, shape: tuple[int, int], stored_bytes: int, name: str) -> Int16[np.ndarray, "n r c"]:
    """Memory for the pixels of so many images.

    Raises:
        InputError: If their files cannot hold so much, or memory does not suffice.
    """
    columns, rows = shape
    if 2 * images * rows * columns > max(ALWAYS_ALLOWED_BYTES, LARGEST_PIXEL_RATIO * stored_bytes):
        raise InputError(
            f"{name}: expected CT slices, got {images} of {columns} x {rows} pixels in {stored_bytes} bytes; "
            "do not trust the file"
        )
    try:
        return np.empty((images, rows, columns), np.int16)
    except MemoryError:
        raise InputError(
            f"{name}: expected a volume that fits in memory, got {images} slices of {columns} x {rows}; crop it"
        ) from None


def _compared(choice: Choice, arrangement: Arrangement, hu: Int16[np.ndarray, "n r c"], name: str) -> list[Notice]:
    """Whether slices that were left out show the same as those at their places.

    Raises:
        InputError: If so many differ that they are another scan, and the stack was not asked for.
    """
    left_out, _ = _decoded([choice.stack.images[other] for other, _ in arrangement.repeated], name)
    place_of = {number: place for place, number in enumerate(arrangement.order)}
    different = sum(
        not np.array_equal(pixels, hu[place_of[taken]])
        for pixels, (_, taken) in zip(left_out, arrangement.repeated, strict=True)
        if taken in place_of
    )
    if not different:
        return []
    if 2 * different > len(hu) > 1 and not choice.is_asked_for:
        raise InputError(
            f"{name}: expected one scan, got {different} of {len(hu)} places shown once more and differently, and "
            "nothing in the headers tells the two scans apart; export them apart, or take the lowest number of each "
            f"place with --series {choice.number}"
        )
    text = (
        f"{different} of the slices that were left out differ from the one at their place; the one with the lowest "
        "number was taken. Two scans may be mixed in one series: export them apart."
    )
    return [Notice(text, "repeated slices")]


def _source(image: ImageHeader, has_positions: bool, carried: Carried) -> SourceImage:
    place = image.position_mm if has_positions else None
    return SourceImage(
        image.entry.path,
        image.entry.member,
        image.frame,
        image.sop_class_uid,
        image.sop_instance_uid,
        None if place is None else (float(place[0]), float(place[1]), float(place[2])),
        carried.digest(image.entry),
    )
