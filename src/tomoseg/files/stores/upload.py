"""What is written to a place of the cache that stands for a store's goes on to the store, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tomoseg.errors import InputError, OutputError
from tomoseg.files.stores.addresses import BUCKETS, is_mirrored, url_of
from tomoseg.files.stores.objects import bucket_of


def upload(files: Iterable[Path]) -> None:
    """Write files of the cache to the store that they stand for; files of other places are passed over.

    Args:
        files: In this order; a record comes last, so that what it vouches for is there.

    Raises:
        OutputError: If the store refuses, or cannot be reached; what was there before stays.
    """
    for path in files:
        if is_mirrored(path):
            try:
                bucket_of(path).put(path)
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
    tried = place / ".tomoseg-may-write"
    tried.parent.mkdir(parents=True, exist_ok=True)
    tried.touch()
    upload([tried])
    remove_objects([tried])
    tried.unlink()
