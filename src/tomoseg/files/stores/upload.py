"""What is written to a place of the cache that stands for a store's goes on to the store, whole or not at all."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from tomoseg.errors import InputError, OutputError
from tomoseg.files.stores.addresses import BUCKETS, is_mirrored, url_of
from tomoseg.files.stores.objects import bucket_of


def upload(files: Mapping[Path, Path]) -> None:
    """Write files to the store that places of the cache stand for, before they take these; others are passed over.

    Args:
        files: By place, in this order; a record comes last, so that what it vouches for is there.

    Raises:
        OutputError: If the store refuses, or cannot be reached; what was there before stays.
    """
    for path, file in files.items():
        if is_mirrored(path):
            try:
                bucket_of(path).put(path, file)
            except InputError as error:
                raise OutputError(str(error)) from None


def remove_objects(files: Iterable[Path]) -> None:
    """Remove the objects that files of the cache stand for.

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
    """Refuse a store that cannot be written to: an empty object is written and removed again.

    Args:
        place: Where results are to lie.

    Raises:
        OutputError: If it is no bucket, refuses, or cannot be reached.
    """
    url = url_of(place)
    if url.partition("://")[0] not in BUCKETS:
        raise OutputError(f"{url}: expected s3:// or gs:// or a folder to write to, got a web server; choose another")
    tried = place / f".tomoseg-may-write-{uuid.uuid4().hex[:12]}"  # others may try the same at once
    with tempfile.NamedTemporaryFile() as nothing:
        try:
            upload({tried: Path(nothing.name)})
            remove_objects([tried])
        except OutputError as error:
            raise OutputError(str(error).replace(url_of(tried), url)) from None
