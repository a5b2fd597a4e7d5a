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
    """Fetch a public dataset from its server, or single cases of it.

    The same command goes on where it was.

    Args:
        dataset: totalsegmentator, the 117-structure whole-body CT dataset, version 2.0.1 (1228 cases, 23.6 GB), or
            totalsegmentator-small, 102 cases of it (3.2 GB).
        output: Folder of the dataset.
        cases: Only these cases, such as s0011 s0058, taken out of the archive where it is, without the rest.
        url: Another place of the named dataset; without a name, another ZIP file of case folders.
        md5: MD5 sum that another ZIP file is verified by.
        size: Bytes of another ZIP file.
        keep_archive: Leave the ZIP file in the folder when all is unpacked.
        allow_http: Also speak plain http, which anybody on the way can read and change; if omitted, only with this
            machine itself.
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
