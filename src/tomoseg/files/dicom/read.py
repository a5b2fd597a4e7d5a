"""Reading of a DICOM series as a volume: choosing, stacking and decoding.

No message has data of the patient: files are counted, not named, except for the path that the user gave.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int16

from tomoseg.errors import GridError, InputError, TomosegError, counted
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
from tomoseg.language.words import part
from tomoseg.notices import Notice
from tomoseg.slices import SourceImage, SourceSlices
from tomoseg.volume import SourceGrid, Volume, check_affine

Edges = tuple[float, float, float]

LARGEST_PIXEL_RATIO, ALWAYS_ALLOWED_BYTES = 2000, 512 << 20
"""Maximum ratio of the pixels in memory to the files, and bytes that are allowed in any case. A CT slice has a ratio of
3; one with padding alone, in JPEG 2000, of a thousand."""
COMPARED = 16
"""Number of slices at one position that are compared to see whether all are copies."""

UNREADABLE = "files that cannot be read"


def read_dicom(source: ScanSource, series: int | None = None, assume_spacing: Edges | None = None) -> Volume:
    """Read a CT series.

    Args:
        source: A folder with its subfolders, a ZIP archive, or one file, from `scan.look`.
        series: Number of the series, from 1; None for the largest axial one of a study.
        assume_spacing: Voxel spacing in mm along columns, rows and slices, for files without geometry. Slices are then
            taken to be axial, the first one uppermost.

    Returns:
        The scan in RAS+ order, on a regular grid; `source.slices` maps it back to the slices.

    Raises:
        InputError: If there is no CT series, no such number, series of several patients or studies and none is
            requested, or it cannot be decoded.
        GridError: If its geometry is unknown, or cannot be used.
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
    """List the series that can be chosen by number, from headers alone; the first is number 1.

    Args:
        source: The source, as for `read_dicom`.

    Raises:
        InputError: If there are no CT slices.
    """
    with entries(source) as found:
        return stacks_of(_slices(found, source)[0])


def _slices(found: Sequence[Entry], source: ScanSource) -> tuple[list[ImageHeader], Counter[str]]:
    """Return the CT slices of all files, and the numbers of other files by kind.

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
    """Add the list of series to a volume."""
    assert volume.source.slices is not None  # it was read from slices
    slices = replace(volume.source.slices, series=tuple(map(str, stacks)), number=choice.number)
    return replace(volume, source=replace(volume.source, slices=slices))


def _headers(found: Sequence[Entry], known: Headers, name: str) -> tuple[list[ImageHeader], Counter[str]]:
    """Return the images of all files, and the numbers of files without images by kind; known files are not opened."""
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
            left_out["files that are not DICOM" if of_file is None else "files without images"] += 1
            continue
        images += of_file
    if problem is not None and not images:
        raise problem
    return images, left_out


def _images(entry: Entry, name: str) -> tuple[ImageHeader, ...] | None:
    with quietly(name), entry.open() as stream:
        return images_in(stream, entry, name)


def _left_out(kinds: Counter[str]) -> list[Notice]:
    """Return notices of what was left out, with damaged files separately, since they may be slices of the scan."""
    damaged = kinds.pop(UNREADABLE, 0)
    words = [Notice(f"Left out: {_counted(kinds)}.", "left out")] if kinds else []
    if damaged:
        lost = counted(damaged, "file that cannot be read was", "files that cannot be read were")
        text = f"{lost} left out; slices may be missing. Copy the folder again."
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
    """Return the number of scans whose slices alternate."""
    period = period_of(hu, along_mm)
    return 2 if period == 1 and gaps_in_turn(along_mm) and not are_pairs(images, along_mm) else period


def _not_to_be_told(images: Sequence[ImageHeader]) -> str:
    """Return the reason why other files cannot refer to the slices; empty if they can."""
    if is_joined(images):
        return "each slice has its own SeriesInstanceUID"
    times = Counter((image.sop_instance_uid, image.frame) for image in images if is_sound(image.sop_instance_uid))
    shared = sum(count for count in times.values() if count > 1)
    return f"{shared} of {len(images)} slices share a SOPInstanceUID with another" if shared else ""


def _of_identifiers(why: str) -> list[Notice]:
    if not why:
        return []
    text = (
        f"The identifiers of the slices are wrong: {why}. The slices were read as one scan by their positions; "
        "DICOM results, which refer to slices by identifier, cannot be written. Export the series again to "
        "get them."
    )
    return [Notice(text, "headers")]


AXIAL = (np.array([-1.0, 0.0, 0.0]), np.array([0.0, -1.0, 0.0]))
"""Directions of axial slices: columns to the patient's left, rows to the back, in RAS+."""

POSITION, THICKNESS = part("position of each slice"), part("slice thickness")


def _geometry(stack: Stack, assume_spacing: Edges | None, name: str) -> tuple[Slices, list[Notice], bool]:
    """Return the positions of the slices, notices of assumptions, and whether the positions are from the files.

    Raises:
        GridError: If they are unknown and no spacing is to be assumed.
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
    """Return the number of slices if all are at one position other than the origin, which may replace unknown ones."""
    return len(known) if lacking == [POSITION] and known is not None and known.any() else 0


def _check_are_no_copies(images: Sequence[ImageHeader], name: str) -> None:
    """Refuse slices at one position that are identical, of which no assumed spacing makes a scan.

    Args:
        images: The slices at one position; may be empty.
        name: Name of the scan in messages.

    Raises:
        GridError: If they are identical.
    """
    pixels = (_decoded([image], name)[0] for image in images[:COMPARED])
    first = next(pixels, None)
    if first is not None and all(np.array_equal(first, other) for other in pixels):
        times = "twice" if len(images) == 2 else f"{len(images)} times"
        raise GridError(
            f"{name}: expected slices one after another, got one slice {times} with identical pixels; pass "
            "one of the files, or export the series again"
        )


def _refusal(lacking: Sequence[str], at_one_place: int, name: str) -> str:
    """Return the message for slices whose positions are unknown, or all the same."""
    if at_one_place:
        return (
            f"{name}: expected slices one after another, got one position {at_one_place} times with different "
            "pixels: one position over time, or positions that were lost; pass another series, or one of the "
            "files, or the voxel size with --assume-spacing X Y Z if they are slices of a scan"
        )
    return (
        f"{name}: expected slices with a position, got no usable {' or '.join(lacking)}; give the voxel size "
        "in mm with --assume-spacing X Y Z if you know it"
    )


def _inferred(first: ImageHeader, has_positions: bool) -> list[Notice]:
    if not first.is_place_inferred or not has_positions:
        return []
    text = (
        "The file gives the position of its first frame only; the others were placed along the normal at the "
        "distance that it gives. Check that head and feet are not swapped."
    )
    return [Notice(text, "assumed geometry")]


def _positions(stack: Stack) -> Float[np.ndarray, "n 3"] | None:
    """Return the position of each image's first pixel in mm; None unless all are known."""
    known = [image.position_mm for image in stack.images if image.position_mm is not None]
    return np.stack(known) if len(known) == len(stack.images) else None


def _lacking(
    first: ImageHeader, positions_mm: Float[np.ndarray, "n 3"] | None, normal: Float[np.ndarray, "3"]
) -> list[str]:
    """Return the parts of the geometry that are missing, judged by the first image and the positions of all."""
    places_mm = None if positions_mm is None else positions_mm @ normal
    lacking = []
    if first.pixel_mm is None:
        lacking.append(part("pixel spacing"))
    if first.orientation is None:
        lacking.append(part("orientation"))
    if places_mm is None or (len(places_mm) > 1 and np.ptp(places_mm) < SAME_PLACE_MM):
        lacking.append(POSITION)
    elif len(places_mm) == 1 and first.thickness_mm is None:
        lacking.append(THICKNESS)
    return lacking


def _assumed(lacking: Sequence[str], assume_spacing: Edges) -> list[Notice]:
    """Return a notice of the geometry that was assumed, if any."""
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
    text = f"No usable {' or '.join(lacking)}; assumed: {', '.join(taken[one] for one in lacking)}.{sides}"
    return [Notice(text, "assumed geometry")]


def _decoded(
    images: Sequence[ImageHeader], name: str, take: Taker = lambda stream, image: None
) -> tuple[Int16[np.ndarray, "n r c"], list[Notice]]:
    """Decode images in their order, reading each file once, and return their HU and notices.

    Raises:
        InputError: If one cannot be decoded, they claim far more than their files can hold, or memory is too small.
    """
    by_file: dict[Entry, list[int]] = {}
    for place, image in enumerate(images):
        by_file.setdefault(image.entry, []).append(place)
    hu = _room(len(images), images[0].shape, sum(entry.size for entry in by_file), name)
    noticed = Counter[Notice]()
    for places in by_file.values():
        places.sort(key=lambda place: images[place].frame or 0)
        called = name if len(by_file) == 1 else f"{name}: {part(f'slice {places[0] + 1} of {len(images)}')}"
        decoded = decode([images[place] for place in places], called, take)
        for place, (_, pixels, words) in zip(places, decoded, strict=True):
            hu[place] = pixels
            noticed.update(words)
    return hu, [word if count == len(images) else word.of(f"{count} slices") for word, count in noticed.items()]


def _room(images: int, shape: tuple[int, int], stored_bytes: int, name: str) -> Int16[np.ndarray, "n r c"]:
    """Allocate memory for the pixels of images.

    Raises:
        InputError: If their files cannot hold so much, or memory is too small.
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
    """Compare slices that were left out with those at the same positions; return a notice if some differ.

    Raises:
        InputError: If so many differ that they are another scan, and the stack was not requested.
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
            f"{name}: expected one scan, got {different} of {len(hu)} positions twice with different pixels, "
            "and nothing in the headers tells the two scans apart; export them separately, or take the lowest "
            f"number at each position with --series {choice.number}"
        )
    text = (
        f"{different} of the slices left out differ from the one kept at their position, which has the lowest "
        "number. Two scans may be mixed in one series: export them separately."
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
