"""`tomoseg fetch`: a published model downloaded from its makers and converted in the user's data folder.

Archives are fetched one by one and resumed after interruptions; they are removed once the model is complete. The
SHA-256 of each is kept: if an archive fetched again has changed, it is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tomoseg.datasets.download.fetch import fetch, forget_part, part_bytes
from tomoseg.datasets.download.http import Web, check_url
from tomoseg.datasets.download.sources import Archive
from tomoseg.errors import DownloadError, InputError, ModelError
from tomoseg.files.asides import remove_left_over
from tomoseg.files.atomic import errors_told, remove_file, whole_folder
from tomoseg.files.outputs import check_folder, check_space
from tomoseg.models.fetched import archives_folder, data_folder, keep_sums, kept_sums, models_folder, sums_file
from tomoseg.models.folder import ModelRecord, load_record, sha256
from tomoseg.models.parts import save_parts
from tomoseg.models.releases import ReleasedPart, Task, releases, task_named
from tomoseg.models.views import networks_in, record_of
from tomoseg.packages import require_torch
from tomoseg.workflows.import_model import Known, import_model

OnBytes = Callable[[str, int, int], None]


@dataclass(frozen=True)
class FetchedModel:
    """A model in the user's data folder.

    Attributes:
        task: The published task; `--model` takes its name.
        folder: The model folder.
        record: The model's record.
        is_new: Whether it was fetched now.
        first_sums: Archives without a known check sum; their sums were kept for the next time.
        finder: The model that finds the box to segment, fetched with it; None if the whole scan is segmented.
    """

    task: Task
    folder: Path
    record: ModelRecord
    is_new: bool
    first_sums: tuple[str, ...] = ()
    finder: FetchedModel | None = None


def fetch_model(
    name: str,
    *,
    again: bool = False,
    url: str | None = None,
    web: Web | None = None,
    on_bytes: OnBytes = lambda stage, done, total: None,
    on_step: Callable[[str], None] = lambda step: None,
) -> FetchedModel:
    """Fetch a model if it is not there yet; it appears whole or not at all.

    A model for the box of a structure needs another that finds it, which is fetched first. An existing model is left
    alone if its archives are unchanged, so that its tuning stays.

    Args:
        name: The name of the task.
        again: Whether to fetch the archives even if the model exists, to see if they have changed.
        url: Another address of the same releases.
        web: Access to servers.
        on_bytes: Called with the stage, the number of bytes done and the total number of bytes.
        on_step: Called with a line for each step with an archive.

    Raises:
        ConfigError: If there is no such task, it may not be fetched, or PyTorch is not installed.
        DownloadError: If the server cannot be reached, or an archive is not the expected one.
        InputError: If an archive is not a ZIP file.
        ModelError: If an archive is damaged or not trusted, or its network is not supported.
        OutputError: If the disk is full or not writable.
    """
    task = task_named(name)
    finder = None
    if task.box is not None:
        finder = fetch_model(task.box.finder, again=again, url=url, web=web, on_bytes=on_bytes, on_step=on_step)
    folder = models_folder() / task.name
    archives = {part: _archive_of(part, url) for part in task.parts}
    if folder.is_dir() and not again:
        _finish(folder, archives)
        return FetchedModel(task, folder, record_of(folder), is_new=False, finder=finder)
    require_torch()
    try:
        sums = _fetched(archives, web or Web(), on_bytes)
        is_new = _made_of(folder) != set(sums.values())
        if is_new:
            _make(task, folder, sums, on_step)
        first = _keep(sums)
        _remove(archives.values())
    finally:
        _remove_empty()
    return FetchedModel(task, folder, record_of(folder), is_new, first, finder)


def _finish(folder: Path, archives: Mapping[ReleasedPart, Archive]) -> None:
    """Keep the sums of archives left by an earlier run that was killed after the model was made, and remove them."""
    there = {part: sha256(_path_of(archive)) for part, archive in archives.items() if _path_of(archive).is_file()}
    if there:
        made_of, kept = _made_of(folder), kept_sums()
        _keep({part: found for part, found in there.items() if found in made_of and part.file not in kept})
        _remove(archives[part] for part in there)


def _keep(sums: Mapping[ReleasedPart, str]) -> tuple[str, ...]:
    """Keep the archives' sums; return the archives whose sum was unknown before."""
    first = tuple(part.file for part in sums if part.file not in kept_sums() and part.sha256 is None)
    keep_sums({part.file: found for part, found in sums.items()})
    return first


def _made_of(folder: Path) -> set[str]:
    """Return the sums of the archives that a model was made of; none if it is missing or damaged."""
    try:
        return {load_record(place).provenance["archive_sha256"] for place in networks_in(folder)}
    except (ModelError, KeyError):
        return set()


def _archive_of(part: ReleasedPart, url: str | None) -> Archive:
    address = (url or releases().address).rstrip("/")
    return Archive(part.file_name, f"{address}/{part.file}", part.file_name, part.bytes)


def _path_of(archive: Archive) -> Path:
    return archives_folder() / archive.file_name


def _fetched(archives: Mapping[ReleasedPart, Archive], web: Web, on_bytes: OnBytes) -> dict[ReleasedPart, str]:
    """Fetch all archives, check each against its known sum, and return the sums.

    Raises:
        DownloadError: If the server cannot be reached, or an archive has changed.
    """
    kept, found = kept_sums(), {}
    for archive in archives.values():
        check_url(archive.url, web)
    check_folder(models_folder())
    check_folder(archives_folder())
    missing = sum(part.bytes - part_bytes(_path_of(archive)) for part, archive in archives.items())
    check_space(models_folder(), missing + sum(part.bytes for part in archives))  # a model takes less than its archive
    for part, archive in archives.items():
        fetch(archive, _path_of(archive), web, on_bytes)
        on_bytes("check", part.bytes, part.bytes)
        found[part] = sha256(_path_of(archive))
        _check_sum(part, archive, found[part], kept)
    return found


def _remove_empty() -> None:
    """Remove the folders that were made for archives if nothing is in them."""
    for folder in (archives_folder(), data_folder()):
        with contextlib.suppress(OSError):
            folder.rmdir()  # fails if something is in it


def _check_sum(part: ReleasedPart, archive: Archive, found: str, kept: Mapping[str, str]) -> None:
    """Refuse an archive that has changed, and remove it.

    Raises:
        DownloadError: If its sum is not the expected one.
    """
    if part.file in kept and kept[part.file] != found:
        _remove([archive])
        raise DownloadError(
            f"{archive.url}: expected the SHA-256 {kept[part.file]} of the first download, got {found}: the "
            "file has changed since, and was removed; ask its authors why, and to accept it remove its line "
            f"in {sums_file()}"
        )
    if part.file not in kept and part.sha256 not in (None, found):
        _remove([archive])
        raise DownloadError(
            f"{archive.url}: expected the SHA-256 {part.sha256}, got {found}: the file is damaged or another "
            "file, and was removed; run the same command again"
        )


def _make(task: Task, folder: Path, sums: Mapping[ReleasedPart, str], on_step: Callable[[str], None]) -> None:
    """Make the model from the archives; unusable ones are removed, so that the next try fetches them again.

    Raises:
        InputError: If an archive is not a ZIP file.
        ModelError: If an archive cannot be used.
    """
    remove_left_over(folder)
    try:
        with whole_folder(folder, replace=True) as aside:
            for part, found in sums.items():
                _import_part(task, part, found, aside / part.name, on_step)
            if len(sums) > 1:
                save_parts([part.name for part in sums], aside)
    except (ModelError, InputError):
        _remove(_archive_of(part, None) for part in sums)
        raise


def _import_part(task: Task, part: ReleasedPart, found: str, output: Path, on_step: Callable[[str], None]) -> None:
    archive = _archive_of(part, None)
    known = Known(
        part.structures,
        {
            "axes": "ras",
            "step": task.step,
            "rules": task.rules,
        },  # its makers turn every scan before the network sees it
        {"task": task.name, "fetched_from": archive.url, "archive_sha256": found},
        releases().citations,
    )
    import_model(
        _path_of(archive),
        output,
        training=task.training,
        folds=task.folds,
        licence=releases().licence,
        known=known,
        on_step=on_step,
    )


def _remove(archives: Iterable[Archive]) -> None:
    for archive in archives:
        path = _path_of(archive)
        with errors_told(path):
            forget_part(path)
        remove_file(path)
