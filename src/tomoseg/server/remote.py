"""`tomoseg predict --server`: local scans are segmented by a server, and the results written locally."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomoseg.errors import InputError, TomosegError, unknown_name_message
from tomoseg.files.outputs import check_place
from tomoseg.files.results import nifti_stem
from tomoseg.notices import Notice
from tomoseg.options import OF_MANY, PredictOptions
from tomoseg.server.client import Client, Job
from tomoseg.server.records import LABEL_MAP_STEM
from tomoseg.workflows.scans import FoundScans, Scan, find_scans


@dataclass(frozen=True)
class RemoteDone:
    """Outcome of one scan.

    Attributes:
        scan: The scan.
        error: Reason of a failure, or None.
        warnings: Notices about the scan.
        seconds: Seconds of the server.
    """

    scan: Scan
    error: str | None
    warnings: tuple[Notice, ...] = ()
    seconds: float = 0.0


def predict_remotely(
    scans: Path,
    output: Path,
    client: Client,
    model: str | None,
    options: PredictOptions,
    on_sent: Callable[[str, int], None],
    on_found: Callable[[FoundScans], None],
    on_change: Callable[[Scan, Job], None],
) -> Iterator[RemoteDone]:
    """Segment one or many scans with a server; a failure does not stop the others.

    Args:
        scans: As for `tomoseg predict`.
        output: As for `tomoseg predict`.
        client: Client of the server.
        model: Name of an offered model; None for the default.
        options: The requested options.
        on_sent: Called with the name of each scan that was sent, and the number sent so far.
        on_found: Called with the scans found, before the first is sent.
        on_change: Called with the scan and its job whenever the job changes.

    Yields:
        The outcome of each scan.

    Raises:
        InputError: If there is no scan, or the server does not offer the model.
        OutputError: If the output cannot be a folder.
        ServerError: If the server cannot be reached, or speaks another version.
    """
    check_place(output)
    offered = client.info()["models"]
    if model is not None and model not in offered:  # before any scan is sent
        raise InputError(f"{client.url}: model: {unknown_name_message(model, offered)}")
    found = find_scans(scans, output, options.ml, options.part, series=options.series, force=options.force)
    on_found(found)
    asked = options.model_dump(mode="json", exclude_unset=True, exclude=set(OF_MANY))
    for scan, job in _sent(found.scans, client, model, asked, on_sent):
        yield _done(scan, job, client, on_change)


def _sent(
    scans: Sequence[Scan],
    client: Client,
    model: str | None,
    options: dict[str, Any],
    on_sent: Callable[[str, int], None],
) -> list[tuple[Scan, Job | TomosegError]]:
    """Upload all scans before waiting for the first result, so that the server is never idle."""
    sent: list[tuple[Scan, Job | TomosegError]] = []
    for scan in scans:
        try:
            sent.append((scan, client.submit([_upload(scan, client)], model, options)))
        except TomosegError as error:
            sent.append((scan, error))
        on_sent(scan.name, len(sent))
    return sent


def _upload(scan: Scan, client: Client) -> str:
    """Upload a scan.

    Raises:
        InputError: If it is one of several in an archive.
    """
    source = scan.found
    if source is None:
        return client.upload(scan.path)
    if source.members is not None:
        text = "expected an archive of one scan, got one of several; unpack it, or choose one with --series"
        raise InputError(f"{scan.path}: {text}")
    return client.upload(scan.path, [file.path for file in source.files] if source.kind == "dicom" else ())


def _done(scan: Scan, job: Job | TomosegError, client: Client, on_change: Callable[[Scan, Job], None]) -> RemoteDone:
    if isinstance(job, TomosegError):
        return RemoteDone(scan, str(job))
    try:
        ended = client.wait(job, lambda changed: on_change(scan, changed))
        noticed = tuple(Notice(one["text"], one["kind"]) for one in ended["warnings"])
        if ended["state"] != "done":
            return RemoteDone(scan, ended["reason"] or f"it was {ended['state']} on the server", noticed)
        is_map = ended["options"].get("ml", False)
        stem = nifti_stem(scan.output) if is_map else ""
        renamed = (lambda name: stem + name.removeprefix(LABEL_MAP_STEM)) if is_map else (lambda name: name)
        client.download(job, scan.output.parent if is_map else scan.output, renamed)
        return RemoteDone(scan, None, noticed, ended["finished"] - ended["started"])
    except TomosegError as error:
        return RemoteDone(scan, str(error))
