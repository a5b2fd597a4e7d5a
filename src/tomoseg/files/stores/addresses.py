"""Mapping of URLs to files or folders in the cache, and back.

`s3://bucket/scans/a.nii.gz` is `<cache>/tomoseg/stores/s3/bucket/scans/a.nii.gz`. Secret parts of a URL (a signed
query, a password) are not part of the path: they are kept only in this process and those that it starts.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import platformdirs

from tomoseg.errors import InputError
from tomoseg.files.paths import climbs

BUCKETS = ("s3", "gs")
"""Schemes of object stores, for reading and writing."""

WEB = ("https", "http")
"""Schemes of web servers, for reading only."""

MOST_BYTES = 255
"""Of a file's name, on most disks."""

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://(.*)", re.DOTALL)
_KINDS = "|".join(BUCKETS + WEB)
_SECRETS = "TOMOSEG_STORE_SECRETS"


def stores_folder() -> Path:
    """Return the folder for files of all stores; it may be missing."""
    return platformdirs.user_cache_path("tomoseg") / "stores"


def is_url(text: str) -> bool:
    """Whether a text is a URL of any kind."""
    return _URL.match(text) is not None


def place_of(text: str) -> Path:
    """Return the path of a command line argument; for a URL, its path in the cache.

    Args:
        text: A path, or a URL; `file://` is a path.

    Raises:
        InputError: If the kind of URL is not supported, or it cannot be a path.

    Example:
        >>> place_of("s3://bucket/scans/a.nii.gz").parts[-4:]
        ('s3', 'bucket', 'scans', 'a.nii.gz')
        >>> place_of("scans/a.nii.gz").parts, place_of("file:///data/a.nii.gz").name
        (('scans', 'a.nii.gz'), 'a.nii.gz')
    """
    found = _URL.match(text)
    if found is None:
        return Path(text)
    scheme, rest = found[1].lower(), found[2]
    if scheme == "file":
        return Path(unquote(rest.removeprefix("localhost")))
    if scheme not in BUCKETS + WEB:
        raise InputError(f"expected a path, s3://, gs:// or https://, got {scheme}://; copy it to one of these")
    plain = _without_secrets(scheme, text) if scheme in WEB else f"{scheme}://{rest}"
    host, *names = plain.partition("://")[2].rstrip("/").split("/")
    if not host:
        raise InputError(f"{plain}: expected a bucket or a server, then a path, got none; correct it")
    if any(climbs(name) or len(os.fsencode(name)) > MOST_BYTES for name in names):
        raise InputError(
            f"{plain}: expected names between the slashes that files can have, got one that is empty, leads elsewhere "
            f"or has more than {MOST_BYTES} bytes; rename it"
        )
    return stores_folder().joinpath(scheme, quote(host, safe=""), *names)


def _without_secrets(scheme: str, url: str) -> str:
    """Return the URL without secret parts, and remember it in full for requests."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    plain = f"{scheme}://{host}{parts.path}".rstrip("/")
    if parts.query or "@" in parts.netloc:
        os.environ[_SECRETS] = json.dumps(_secrets() | {plain: url})
    return plain


def _secrets() -> dict[str, str]:
    return json.loads(os.environ.get(_SECRETS, "{}"))


def in_full(url: str) -> str:
    """Return a URL with its secret parts, for requests; it must not be shown or written."""
    return _secrets().get(url, url)


def is_mirrored(path: Path) -> bool:
    """Whether a path in the cache stands for an object in a store."""
    return "stores" in path.parts and path.absolute().is_relative_to(stores_folder())


def url_of(path: Path) -> str:
    """Return the URL of a path in the cache.

    Example:
        >>> url_of(place_of("https://127.0.0.1:8443/ct.nii.gz?signature=1234"))
        'https://127.0.0.1:8443/ct.nii.gz'
    """
    scheme, host, *names = path.absolute().relative_to(stores_folder()).parts
    return "/".join([f"{scheme}://{unquote(host)}", *names])


def in_urls(text: str) -> str:
    """Replace paths in the cache by their URLs in a text for users.

    Args:
        text: Plain text, or JSON, in which non-ASCII characters and backslashes are escaped.

    Example:
        >>> in_urls(f"{place_of('gs://bucket/ct.nii')}: expected a scan")
        'gs://bucket/ct.nii: expected a scan'
    """
    plain = f"{stores_folder()}{os.sep}"
    for root, separator in ((plain, os.sep), (_escaped(plain), _escaped(os.sep))):
        if root in text:
            place = re.compile(rf"{re.escape(root)}({_KINDS}){re.escape(separator)}([^\s/\\\"]*)")
            text = place.sub(lambda found: f"{found[1]}://{unquote(found[2])}", text)
    return text


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]
