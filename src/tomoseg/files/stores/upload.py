"""Uploading of files that are written to paths in the cache to their stores, atomically."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from tomoseg.errors import InputError, OutputError
from tomoseg.files.stores.addresses import BUCKETS, is_mirrored, url_of
from tomoseg.files.stores.objects import bucket_of


def upload(files: Mapping[Path, Path]) -> None:
    """Upload files to the stores of their paths, before they are moved to these; other paths are ignored.

    Args:
        files: Files by path, in this order; a record comes last, so that the files that it lists exist.

    Raises:
        OutputError: If the store refuses, or cannot be reached; existing objects stay.
    """
    for path, file in files.items():
        if is_mirrored(path):
            try:
                bucket_of(path).put(path, file)
            except InputError as error:
                raise OutputError(str(error)) from None


def remove_objects(files: Iterable[Path]) -> None:
    """Remove the objects of files in the cache.

    Raises:
        OutputError: If the store refuses, or cannot be reached.
    """
    for path in files:
        if is_mirrored(path):
            try:
                bucket_of(path).remove(path)
            except InputError as error:
                raise OutputError(str(error)) from None


def check_store(place: Path) -> None:
    """Check that a store can be written to, by writing and removing an empty object.

    Args:
        place: Path of the results.

    Raises:
        OutputError: If it is not a bucket, refuses, or cannot be reached.
    """
    url = url_of(place)
    if url.partition("://")[0] not in BUCKETS:
        raise OutputError(f"{url}: expected s3:// or gs:// or a folder to write to, got a web server; choose another")
    tried = place / f".tomoseg-may-write-{uuid.uuid4().hex[:12]}"  # unique, since others may do the same
    with tempfile.NamedTemporaryFile() as nothing:
        try:
            upload({tried: Path(nothing.name)})
            remove_objects([tried])
        except OutputError as error:
            raise OutputError(str(error).replace(url_of(tried), url)) from None
