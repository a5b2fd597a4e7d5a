"""Finding an nnU-Net training in its own folder, a dataset's or a results folder, or a ZIP file of any of these.

TRAINING/                       <trainer>__<plans>__<configuration>
  plans.json, dataset.json
  fold_0/checkpoint_final.pth, ... or fold_all/
"""

from __future__ import annotations

import re
import shutil
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tomoseg.errors import InputError, ModelError
from tomoseg.files.atomic import errors_told, folder_aside
from tomoseg.files.outputs import check_space
from tomoseg.files.paths import climbs

PLANS, DATASET = "plans.json", "dataset.json"
CHECKPOINTS = {"final": "checkpoint_final.pth", "best": "checkpoint_best.pth"}

MOST_DEPTH = 6
"""Levels of folders searched below the given one."""

MOST_FILES = 1000
"""Largest number of files to unpack; a training has a few, and one checkpoint per fold."""
MOST_UNPACKED_BYTES = 32 * 2**30
MOST_RATIO = 100
"""Largest compression ratio of a file in a ZIP; weights hardly compress."""

_LICENCES = re.compile(r"^(licen[cs]e|copying)(\.\w+)?$", re.IGNORECASE)
_CHUNK = 2**20


@dataclass(frozen=True)
class TrainingFolder:
    """A training and its selected checkpoints.

    Attributes:
        folder: Its folder.
        checkpoints: Paths by fold, such as `0` or `all`.
        licence: The licence file in or above the folder, if there is one.
        name: Its path below the given folder, for messages.
        left_out: Folds with a folder that were not selected; empty if folds were named.
    """

    folder: Path
    checkpoints: dict[str, Path]
    licence: Path | None
    name: str
    left_out: tuple[str, ...] = ()


@contextmanager
def opened(source: Path, output: Path) -> Iterator[Path]:
    """Yield a folder as it is, or a ZIP file's trainings unpacked until the block ends.

    Args:
        source: A folder or a ZIP file.
        output: The model folder to be made; the ZIP file is unpacked beside it, in a hidden folder.

    Raises:
        InputError: If it is neither.
        ModelError: If the ZIP file is damaged, encrypted or too large, or has paths that leave the folder.
        OutputError: If there is no room to unpack it.
    """
    if source.is_dir():
        yield source
        return
    if not source.is_file():
        raise InputError(f"{source}: expected a folder of nnU-Net or a ZIP file of one, found none; check the path")
    if not zipfile.is_zipfile(source) and source.suffix.lower() == ".zip":
        raise InputError(f"{source}: expected a whole ZIP file, got one that is cut short or damaged; fetch it again")
    if not zipfile.is_zipfile(source) or source.suffix == ".pth":
        raise InputError(
            f"{source}: expected a folder of nnU-Net or a ZIP file of one, got another file; give the folder with "
            f"{PLANS}"
        )
    with errors_told(output.parent):
        output.parent.mkdir(parents=True, exist_ok=True)
    with folder_aside(output) as aside:
        _unpack(source, aside)
        yield aside


def _unpack(source: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(source) as archive:
            parts = [part for part in archive.infolist() if _is_of_a_training(part.filename) and not part.is_dir()]
            for part in parts:
                _check_part(source, part)
            size = sum(part.file_size for part in parts)
            if size > MOST_UNPACKED_BYTES or len(parts) > MOST_FILES:
                raise ModelError(
                    f"{source}: expected at most {MOST_FILES} files of {MOST_UNPACKED_BYTES} bytes to unpack, got "
                    f"{len(parts)} of {size}; give a ZIP file of the training alone"
                )
            check_space(folder, size)
            for part in parts:
                _unpack_part(archive, part, folder / _path_of(part.filename))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{source}: expected a whole ZIP file, got: {str(error)[:100]}; fetch it again") from None


def _path_of(filename: str) -> PurePosixPath:
    """Return a path in a ZIP file; some Windows programs write backslashes."""
    return PurePosixPath(filename.replace("\\", "/"))


def _is_of_a_training(filename: str) -> bool:
    """Return True for the files to unpack: plans, dataset, checkpoints, licences; not macOS's shadow files."""
    path = _path_of(filename)
    known = {PLANS, DATASET, *CHECKPOINTS.values()}
    return "__MACOSX" not in path.parts and (path.name in known or _LICENCES.match(path.name) is not None)


def _check_part(source: Path, part: zipfile.ZipInfo) -> None:
    is_link = (part.external_attr >> 16) & 0o170000 == 0o120000
    if climbs(part.filename) or is_link:
        raise ModelError(
            f"{source}: expected paths inside the archive's folder, got one that leads outside; do not trust this file"
        )
    if part.flag_bits & 1:
        raise ModelError(
            f"{source}: expected files that can be read, got encrypted ones; unpack it, and give the folder"
        )
    if part.file_size > MOST_RATIO * max(part.compress_size, 1024):
        raise ModelError(
            f"{source}: expected files of about their packed size, got one that unpacks {part.compress_size} bytes to "
            f"{part.file_size}; do not trust this file"
        )


def _unpack_part(archive: zipfile.ZipFile, part: zipfile.ZipInfo, path: Path) -> None:
    with errors_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(part) as packed, path.open("wb") as unpacked:
            shutil.copyfileobj(packed, unpacked, _CHUNK)  # reads no more than the size the archive states


def find_training(
    root: Path, given: Path, training: str | None, folds: Sequence[str], checkpoint: str
) -> TrainingFolder:
    """Find one training and its checkpoints in a folder.

    Args:
        root: The folder to search.
        given: Name of the folder in messages.
        training: The end of the training's path, where there are several; None if there is one.
        folds: Folds to take; if empty, all numbered ones, or else `all`.
        checkpoint: `final` or `best`.

    Raises:
        ModelError: If no training or several match, or a fold or a checkpoint is missing.
    """
    folder = _the_one_of(_trainings_in(root), root, given, training)
    name = given.name if folder == root else str(folder.relative_to(root))
    checkpoints = _checkpoints_in(folder, name, folds, checkpoint)
    left_out = _left_out(folder, checkpoints, folds)
    return TrainingFolder(folder, checkpoints, _licence_of(folder, root), name, left_out)


def holds_training(place: Path) -> bool:
    """Return True if a path looks like nnU-Net's: a checkpoint, a folder up to three levels above one, or a ZIP file.

    Args:
        place: A file or a folder; it may be missing.
    """
    if place.is_dir():
        return any(
            next(place.glob(f"{above}checkpoint_*.pth"), None) for above in ("", "fold_*/", "*/fold_*/", "*/*/fold_*/")
        )
    if not zipfile.is_zipfile(place):
        return False
    try:
        with zipfile.ZipFile(place) as archive:
            names = [_path_of(name).name for name in archive.namelist()]
    except (zipfile.BadZipFile, NotImplementedError):
        return False
    return PLANS in names or place.suffix == ".pth"


def _the_one_of(found: Sequence[Path], root: Path, given: Path, training: str | None) -> Path:
    """Return the only folder that matches.

    Raises:
        ModelError: If none or several match.
    """
    if not found:
        raise ModelError(
            f"{given}: expected a training of nnU-Net v2, found no folder with {PLANS} and "
            f"fold_0/{CHECKPOINTS['final']} or similar; give the folder that training wrote"
        )
    chosen = [one for one in found if training is None or _ends_in(given.name / one.relative_to(root), training)]
    if len(chosen) != 1:
        names = ", ".join(str(one.relative_to(root)) if one != root else given.name for one in found)
        asked = "" if training is None else f" whose folders end in {training[:100]}"
        raise ModelError(
            f"{given}: expected one training{asked}, got {len(chosen)} of {names}; name one of these with --training"
        )
    return chosen[0]


def _trainings_in(root: Path) -> list[Path]:
    levels = ["/".join(["*"] * depth + [PLANS]) for depth in range(MOST_DEPTH + 1)]
    return sorted(
        path.parent for level in levels for path in root.glob(level) if any(path.parent.glob("fold_*/checkpoint_*.pth"))
    )


def _ends_in(path: Path, end: str) -> bool:
    wanted = PurePosixPath(end).parts
    return bool(wanted) and path.parts[-len(wanted) :] == wanted


def _checkpoints_in(folder: Path, name: str, folds: Sequence[str], checkpoint: str) -> dict[str, Path]:
    there = _there(folder, name, checkpoint)
    wanted = list(dict.fromkeys(fold.removeprefix("fold_") for fold in folds)) or _usual(there, name)
    missing = [fold for fold in wanted if fold not in there]
    if missing:
        raise ModelError(
            f"{name}: expected {CHECKPOINTS[checkpoint]} of fold {', '.join(missing)}, found those of fold "
            f"{', '.join(there)}; name these with --folds, or copy the whole training"
        )
    return {fold: there[fold] for fold in wanted}


def _usual(there: Collection[str], name: str) -> list[str]:
    """Return the folds taken by default: those with a number, or else `all`.

    Raises:
        ModelError: If there is neither.
    """
    usual = [fold for fold in there if fold.isdecimal()] or [fold for fold in there if fold == "all"]
    if not usual:
        raise ModelError(f"{name}: expected numbered folds, or all, found {', '.join(there)}; name some with --folds")
    return usual


def _left_out(folder: Path, checkpoints: Collection[str], asked_for: Sequence[str]) -> tuple[str, ...]:
    """Return the folds with a folder that were not selected; empty if folds were named."""
    if asked_for:
        return ()
    folds = (path.name.removeprefix("fold_") for path in sorted(folder.glob("fold_*")) if path.is_dir())
    return tuple(fold for fold in folds if fold not in checkpoints)


def _there(folder: Path, name: str, checkpoint: str) -> dict[str, Path]:
    """Return the paths of the existing checkpoints, by fold.

    Raises:
        ModelError: If there are none.
    """
    file = CHECKPOINTS[checkpoint]
    there = {path.parent.name.removeprefix("fold_"): path for path in sorted(folder.glob(f"fold_*/{file}"))}
    if there:
        return there
    others = sorted({path.name for path in folder.glob("fold_*/checkpoint_*.pth")})
    other = next((one for one, path in CHECKPOINTS.items() if path in others), None)
    do = "import it once its training has ended" if other is None else f"try --checkpoint {other}"
    raise ModelError(f"{name}: expected {file} in a fold, found {', '.join(others)[:200]}; {do}")


def _licence_of(folder: Path, root: Path) -> Path | None:
    """Return the nearest licence file, from the training's folder up to the given one."""
    for place in (folder, *folder.parents):
        beside = [path for path in sorted(place.iterdir()) if path.is_file() and _LICENCES.match(path.name)]
        if beside or place == root:
            return beside[0] if beside else None
    return None
