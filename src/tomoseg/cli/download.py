"""`tomoseg download`."""

from __future__ import annotations

from tyro.conf import Positional

from tomoseg.cli.arguments import Output
from tomoseg.cli.exits import DONE
from tomoseg.datasets.download.sources import DatasetName
from tomoseg.terminal import console


def download(
    dataset: Positional[DatasetName | None] = None,
    *,
    output: Output,
    cases: tuple[str, ...] = (),
    url: str | None = None,
    md5: str | None = None,
    size: int | None = None,
    keep_archive: bool = False,
    allow_http: bool = False,
) -> int:
    """Download a public dataset, or single cases of it.

    After an interruption, the same command continues where it stopped.

    Args:
        dataset: totalsegmentator, the whole-body CT dataset with 117 structures, version 2.0.1 (1228 cases, 23.6 GB),
            or totalsegmentator-small, 102 of its cases (3.2 GB).
        output: Folder to write the dataset to.
        cases: Download only these cases, such as s0011 s0058, and not the rest of the archive.
        url: URL of a mirror of the named dataset or, without a name, of another ZIP file of case folders.
        md5: MD5 checksum to verify another ZIP file with.
        size: Size of another ZIP file in bytes.
        keep_archive: Keep the ZIP file in the folder after it is unpacked.
        allow_http: Also allow plain http, which anyone on the network path can read and change; if omitted, http is
            allowed only for this machine itself.
    """
    from tomoseg.datasets.download.http import Web
    from tomoseg.datasets.download.sources import archive_of
    from tomoseg.terminal.download import show_download, watch_download
    from tomoseg.workflows.download import download as run

    archive = archive_of(dataset, url, md5, size)
    web = Web(allow_http=allow_http, on_wait=lambda message: console.warn_all([message]))
    with watch_download() as progress:
        report = run(archive, output, cases, keep_archive=keep_archive, web=web, progress=progress)
    show_download(report, archive, output)
    return DONE
