"""The store of a path."""

from __future__ import annotations

from pathlib import Path

from tomoseg.files.stores.addresses import WEB, url_of
from tomoseg.files.stores.objects import Store, bucket_of


def store_of(place: Path) -> Store:
    """Return the store of a path in the cache.

    Raises:
        ConfigError: If a package is not installed.
        InputError: If the settings of the store are invalid.
    """
    from tomoseg.files.stores.web import Web  # imports httpx

    return Web() if url_of(place).split(":")[0] in WEB else bucket_of(place)
