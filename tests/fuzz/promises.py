"""What every reader promises of any bytes at all, checked for one input.

A scan, or one of tomoseg's own errors with one printable line; nothing is written, nothing outside of the input's
folder is opened, and memory stays within a multiple of what the input claims and could hold.
"""

import io
import sys
import tempfile
import tracemalloc
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pydicom

from tests.fuzz.seeds import NEXT_FILE
from tomoseg.errors import TomosegError
from tomoseg.files.nifti import read_geometry, read_label_map, read_mask
from tomoseg.files.scan import read_scan
from tomoseg.volume import Volume, spacing_of

READERS = ("nifti", "nrrd", "mha", "dicom", "zip")
_FIRST_NAME = {"nifti": "a.nii", "nrrd": "a.nrrd", "mha": "a.mha", "dicom": "a.dcm", "zip": "a.zip"}
_OTHER_NAMES = tuple(f"{letter}.dat" for letter in "bcdefghi")

ALWAYS_ALLOWED_BYTES = 64 << 20
MEMORY_A_BYTE = 3 * 1032
"""Of a compressed byte come up to 1032 voxels; as int16, twice as many bytes, beside a buffer."""

MEMORY_A_CLAIMED_BYTE = 48
"""A DICOM series may need a regular grid of 16 times its pixels, in int16; blending takes some planes more."""

LONGEST_MESSAGE = 2000

_watched: list[Path] = []
_code = tuple(str(Path(place).resolve()) for place in (sys.prefix, sys.base_prefix, Path(__file__).parents[2] / "src"))


class BrokenPromiseError(Exception):
    """A reader did what none may do."""


def check(reader: str, data: bytes, folder: Path, traced: bool = True) -> bool:
    """Read bytes as a reader would and see whether it keeps its promises.

    Args:
        reader: One of `READERS`.
        data: A file, or several with `NEXT_FILE` between them.
        folder: An empty folder, and empty again afterwards.
        traced: Whether memory is measured, which makes it four times as slow.

    Returns:
        Whether it was read; otherwise it was refused.

    Raises:
        BrokenPromiseError: If a promise was broken.
    """
    names = (_FIRST_NAME[reader], *_OTHER_NAMES)
    files = [folder / name for name, _ in zip(names, _parts(data), strict=False)]
    for path, part in zip(files, _parts(data), strict=False):
        path.write_bytes(part)
    scan = folder if reader == "dicom" and len(files) > 1 else files[0]
    if traced:
        tracemalloc.start()
    try:
        with _watching(folder):
            was_read = _try(scan, reader)
        peak = tracemalloc.get_traced_memory()[1]  # 0 if it is not measured
    finally:
        tracemalloc.stop()
        left = sorted(folder.iterdir())
        for path in files:
            path.unlink()
    if left != sorted(files):
        raise BrokenPromiseError(f"expected nothing to be written, found {left}")
    if peak > ALWAYS_ALLOWED_BYTES + MEMORY_A_BYTE * len(data) + _claimed(reader, data):
        raise BrokenPromiseError(f"expected memory by the size of the input, got {peak} bytes for {len(data)}")
    return was_read


@contextmanager
def sandbox() -> Iterator[Path]:
    """A folder in memory, where the system has one, with a file beside it that nobody may open."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as place:
        (Path(place) / "outside.raw").write_bytes(bytes(1000))
        folder = Path(place) / "in"
        folder.mkdir()
        yield folder


def _parts(data: bytes) -> list[bytes]:
    return data.split(NEXT_FILE, len(_OTHER_NAMES))


def _try(scan: Path, reader: str) -> bool:
    try:
        volume = read_scan(scan)
    except TomosegError as error:
        _check_words(str(error))
        volume = None
    if volume is not None:
        _check_volume(volume)
    if reader == "nifti":
        for read in (read_mask, read_label_map, read_geometry):
            with suppress(TomosegError):
                read(scan)
    return volume is not None


def _check_words(words: str) -> None:
    if not words.isprintable() or len(words) > LONGEST_MESSAGE:
        raise BrokenPromiseError(f"expected one printable line, got {words[:LONGEST_MESSAGE]!r}")


def _check_volume(volume: Volume) -> None:
    sound = volume.hu.dtype == np.int16 and volume.hu.shape == volume.shape and np.isfinite(volume.affine).all()
    if not sound or min(spacing_of(volume.affine)) <= 0:
        raise BrokenPromiseError(f"expected a scan with a place in space, got {volume.hu.shape}, {volume.affine}")
    for warning in volume.warnings:
        _check_words(str(warning))
    slices = volume.source.slices
    if slices is not None:
        back = volume.source.to_slices(volume.hu > 0)
        if back.shape != (*slices.shape, len(slices.images)):
            raise BrokenPromiseError(f"expected a mask on {len(slices.images)} slices, got {back.shape}")


@contextmanager
def _watching(folder: Path) -> Iterator[None]:
    """Report what is opened outside of a folder, other than Python's own code."""
    if not _watched:
        sys.addaudithook(_on_event)  # cannot be removed again: only what is watched changes
    _watched[:] = [folder]
    try:
        yield
    finally:
        _watched[:] = [Path("/")]


def _on_event(event: str, arguments: tuple) -> None:
    if event != "open" or not _watched or _watched[0] == Path("/") or not isinstance(arguments[0], str):
        return
    path, mode = arguments[0], arguments[1]
    writes = isinstance(mode, str) and not mode.startswith("r")
    inside = Path(path).resolve().is_relative_to(_watched[0])
    if writes or not (inside or path.startswith(("<", *_code))):
        raise BrokenPromiseError(f"expected files of the input to be opened for reading, got {path!r} ({mode})")


def _claimed(reader: str, data: bytes) -> int:
    """Memory that a DICOM input may take for the pixels that it claims; they can be coded in next to nothing."""
    if reader not in {"dicom", "zip"}:
        return 0
    claimed = 0
    for part in _parts(data):
        with suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = pydicom.dcmread(io.BytesIO(part), force=True, stop_before_pixels=True)
            claimed += int(header.Rows) * int(header.Columns) * int(header.get("NumberOfFrames") or 1) * 2
    return MEMORY_A_CLAIMED_BYTE * claimed
