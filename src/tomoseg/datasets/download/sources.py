"""Archives of labelled scans: their URLs, sizes and checksums."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Literal
from urllib.parse import unquote, urlsplit

from tomoseg.errors import ConfigError

DatasetName = Literal["totalsegmentator", "totalsegmentator-small"]

_LICENCE = "CC BY 4.0"
_CITATION = "Wasserthal et al. 2023, Radiology: Artificial Intelligence, doi 10.1148/ryai.230024"
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True)
class Archive:
    """A ZIP file of cases on a server.

    Attributes:
        name: Name in messages.
        url: Its URL.
        file_name: File name on disk.
        bytes: Its size in bytes, if known.
        md5: Its MD5 sum in lower-case hexadecimal digits, if known.
        licence: Its licence, if known.
        citation: The publication that its authors ask to cite, if known.
    """

    name: str
    url: str
    file_name: str
    bytes: int | None = None
    md5: str | None = None
    licence: str | None = None
    citation: str | None = None


def _on_zenodo(name: str, record: int, file_name: str, size: int, md5: str) -> Archive:
    url = f"https://zenodo.org/records/{record}/files/{file_name}?download=1"
    return Archive(name, url, file_name, size, md5, _LICENCE, _CITATION)


ARCHIVES: dict[DatasetName, Archive] = {
    "totalsegmentator": _on_zenodo(
        "totalsegmentator",
        10047292,
        "Totalsegmentator_dataset_v201.zip",
        23_581_218_285,
        "fe250e5718e0a3b5df4c4ea9d58a62fe",
    ),
    "totalsegmentator-small": _on_zenodo(
        "totalsegmentator-small",
        10047263,
        "Totalsegmentator_dataset_small_v201.zip",
        3_244_617_817,
        "6b5524af4b15e6ba06ef2d700c0c73e0",
    ),
}
"""The public 117-structure dataset: 1228 cases, or 102 of them."""


def archive_of(dataset: DatasetName | None, url: str | None, md5: str | None, size: int | None) -> Archive:
    """Return the requested archive.

    Args:
        dataset: Name of a known dataset.
        url: URL of a mirror; without `dataset`, that of another archive.
        md5: MD5 sum of the other archive.
        size: Size of the other archive in bytes.

    Raises:
        ConfigError: If neither a dataset nor a URL is given, a sum or a size is given for a known dataset, or one is
            invalid.

    Example:
        >>> archive_of(None, "https://example.org/files/scans.zip?download=1", None, 1000).file_name
        'scans.zip'
    """
    if dataset is None and url is None:
        raise ConfigError(f"expected a dataset or --url, got neither; name {' or '.join(ARCHIVES)}")
    if dataset is None and url is not None:
        return Archive(url, url, _file_name(url), _checked_size(size), _checked_md5(md5))
    if md5 is not None or size is not None:
        raise ConfigError(f"expected --md5 and --size for other archives, got them for {dataset}; leave them out")
    archive = ARCHIVES[dataset]  # type: ignore[index]  # it is not None here
    return archive if url is None else replace(archive, url=url)


def _checked_md5(md5: str | None) -> str | None:
    if md5 is not None and not _MD5.fullmatch(md5.lower()):
        raise ConfigError(f"expected an MD5 sum of 32 hexadecimal digits, got {md5!r}; correct --md5")
    return None if md5 is None else md5.lower()


def _checked_size(size: int | None) -> int | None:
    if size is not None and size < 1:
        raise ConfigError(f"expected the archive's size in bytes, got {size}; correct --size")
    return size


def _file_name(url: str) -> str:
    name = PurePosixPath(unquote(urlsplit(url).path)).name
    return name if re.fullmatch(r"[\w-][\w.+-]{0,150}\.zip", name) else "archive.zip"
