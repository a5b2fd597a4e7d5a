"""Store of label maps that clients of MONAI Label upload: every version, with its metadata.

Clients' names of images are stored as digests, since they may contain a patient's name.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from tomoseg.server.database import Database
from tomoseg.server.refusals import RefusalError
from tomoseg.server.uploads import UploadStore

LONGEST_TAG = 40

NO_DICOMWEB = (
    "expected an image that was sent, got a request for one of a PACS, and this server has none; start it with "
    "--dicomweb URL, or send the image first (PUT /datastore/?image=IDENTIFIER)"
)
"""Message for clients that expect a PACS behind the server."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_LABEL = "label:"
_IMAGE = "image:"


@dataclass(frozen=True)
class KeptLabel:
    """An uploaded label map.

    Attributes:
        fact: Its key in the database.
        image: Upload id of its image.
        upload: Its own upload id.
        tag: The client's name of the version.
        info: Metadata from clients.
    """

    fact: str
    image: str
    upload: str
    tag: str
    info: dict[str, Any]

    @property
    def names(self) -> dict[str, Any]:
        """Value of each structure, by name."""
        return names_in(self.info)


class LabelStore:
    """Operations on label maps.

    Args:
        database: The database that lists them.
        uploads: The store of their files.
    """

    def __init__(self, database: Database, uploads: UploadStore) -> None:
        self._database, self._uploads = database, uploads

    def name_image(self, name: str, upload: str) -> None:
        """Assign a client's name to an upload.

        Args:
            name: The client's name, of which only the digest is stored.
            upload: Id of the upload.
        """
        self._database.set_fact(_key(name), upload)

    def image(self, name: str) -> str:
        """Return the id of the upload with a client's name or an id.

        Args:
            name: The client's name, or the id.

        Raises:
            RefusalError: If there is none.
        """
        known = self._database.fact(_key(name))
        if known is None and _UID.fullmatch(name):
            raise RefusalError(HTTPStatus.NOT_FOUND, NO_DICOMWEB)
        return str(known or self._uploads.row(name)["id"])

    def has_image(self, name: str) -> bool:
        """Return True if there is an upload with a client's name.

        Args:
            name: The client's name.
        """
        known = self._database.fact(_key(name))
        return known is not None and self._database.first("SELECT 1 FROM uploads WHERE id = ?", known) is not None

    def images(self) -> list[sqlite3.Row]:
        """Return complete uploads other than label maps, the oldest first."""
        labels = {one.upload for one in self.all()}
        rows = self._database.all("SELECT * FROM uploads WHERE sha256 IS NOT NULL ORDER BY created")
        return [row for row in rows if row["id"] not in labels]

    def add(self, image: str, upload: str, tag: str, info: Mapping[str, Any]) -> None:
        """Add a label map; former ones of the image and tag are kept.

        Args:
            image: Upload id of its image.
            upload: Its own upload id.
            tag: The client's name of the version.
            info: Metadata from the client.
        """
        said = json.dumps({"upload": upload, "tag": tag[:LONGEST_TAG], "params": {**info, "ts": int(time.time())}})
        self._database.set_fact(f"{_LABEL}{image}:{secrets.token_hex(4)}", said)

    def all(self) -> list[KeptLabel]:
        """Return all label maps, the oldest first."""
        return [
            _kept(row) for row in self._database.all("SELECT * FROM facts WHERE name LIKE 'label:%' ORDER BY rowid")
        ]

    def newest(self) -> dict[str, dict[str, KeptLabel]]:
        """Return the newest label map of each image and tag."""
        found: dict[str, dict[str, KeptLabel]] = {}
        for one in self.all():
            found.setdefault(one.image, {})[one.tag] = one
        return found

    def get(self, image: str, tag: str) -> KeptLabel:
        """Return the newest label map of an image and tag.

        Args:
            image: The client's name of the image, or its id.
            tag: The client's name of the version.

        Raises:
            RefusalError: If there is none.
        """
        kept = self.newest().get(self.image(image), {}).get(tag[:LONGEST_TAG])
        if kept is None:
            text = "expected a stored label map, found none for that image and tag; submit one first"
            raise RefusalError(HTTPStatus.NOT_FOUND, text)
        return kept

    def say(self, image: str, tag: str, info: Mapping[str, Any]) -> None:
        """Add metadata to the newest label map of an image and tag.

        Args:
            image: The client's name of the image, or its id.
            tag: The client's name of the version.
            info: New entries; they replace former ones.

        Raises:
            RefusalError: If there is none.
        """
        kept = self.get(image, tag)
        said = {"upload": kept.upload, "tag": kept.tag, "params": kept.info | dict(info)}
        self._database.set_fact(kept.fact, json.dumps(said))

    def remove(self, image: str, tag: str) -> None:
        """Remove all label maps of an image and tag; corrections made of them are kept.

        Args:
            image: The client's name of the image, or its id.
            tag: The client's name of the version.

        Raises:
            RefusalError: If there is none.
        """
        known = self.get(image, tag)
        for one in self.all():
            if (one.image, one.tag) == (known.image, known.tag):
                self._database.change("DELETE FROM facts WHERE name = ?", one.fact)
                self._uploads.remove_if_unused(one.upload)


def names_in(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of each structure, by name, from `label_info`.

    Args:
        params: A client's metadata of a label map.

    Example:
        >>> names_in({"label_info": [{"name": "liver", "idx": 1}, "something"]})
        {'liver': 1}
    """
    entries = params.get("label_info", [])
    entries = entries if isinstance(entries, list) else []
    return {str(one["name"]): one["idx"] for one in entries if isinstance(one, dict) and {"name", "idx"} <= set(one)}


def _kept(row: sqlite3.Row) -> KeptLabel:
    said = json.loads(row["value"])
    return KeptLabel(row["name"], row["name"].split(":")[1], said["upload"], said["tag"], said["params"])


def _key(image: str) -> str:
    return _IMAGE + hashlib.sha256(image.encode()).hexdigest()
