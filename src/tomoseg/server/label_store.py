"""Label maps that clients of MONAI Label sent of images: every version, with what is said of it.

Names that clients give to images become digests, since they may be a patient's.
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
    "expected an image that was sent, got a request for one of a PACS, and none is behind this server; start it with "
    "--dicomweb URL, or send the image first (PUT /datastore/?image=IDENTIFIER)"
)
"""What a client is told that expects a PACS behind the server."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_LABEL = "label:"
_IMAGE = "image:"


@dataclass(frozen=True)
class KeptLabel:
    """A label map as it was sent.

    Attributes:
        fact: What it is kept under.
        image: The upload that it is of.
        upload: Its own.
        tag: As the client calls this version.
        info: What was said of it, and later added.
    """

    fact: str
    image: str
    upload: str
    tag: str
    info: dict[str, Any]

    @property
    def names(self) -> dict[str, Any]:
        """What each value is the name of, by name."""
        return names_in(self.info)


class LabelStore:
    """All that is done to them.

    Args:
        database: Where they are listed.
        uploads: Where their files lie.
    """

    def __init__(self, database: Database, uploads: UploadStore) -> None:
        self._database, self._uploads = database, uploads

    def name_image(self, name: str, upload: str) -> None:
        """Let a client's name mean an upload.

        Args:
            name: The client's; its digest alone is kept.
            upload: The upload.
        """
        self._database.set_fact(_key(name), upload)

    def image(self, name: str) -> str:
        """The upload that a client means: by the name that it gave, or by our id.

        Args:
            name: Either.

        Raises:
            RefusalError: If there is none.
        """
        known = self._database.fact(_key(name))
        if known is None and _UID.fullmatch(name):
            raise RefusalError(HTTPStatus.NOT_FOUND, NO_DICOMWEB)
        return str(known or self._uploads.row(name)["id"])

    def has_image(self, name: str) -> bool:
        """Whether a client's name means an upload that is here.

        Args:
            name: The client's.
        """
        known = self._database.fact(_key(name))
        return known is not None and self._database.first("SELECT 1 FROM uploads WHERE id = ?", known) is not None

    def images(self) -> list[sqlite3.Row]:
        """Complete uploads that are no label maps, the oldest first."""
        labels = {one.upload for one in self.all()}
        rows = self._database.all("SELECT * FROM uploads WHERE sha256 IS NOT NULL ORDER BY created")
        return [row for row in rows if row["id"] not in labels]

    def add(self, image: str, upload: str, tag: str, info: Mapping[str, Any]) -> None:
        """Keep a label map; former ones of the image and tag stay.

        Args:
            image: The upload that it is of.
            upload: Its own.
            tag: The client's.
            info: What is said of it.
        """
        said = json.dumps({"upload": upload, "tag": tag[:LONGEST_TAG], "params": {**info, "ts": int(time.time())}})
        self._database.set_fact(f"{_LABEL}{image}:{secrets.token_hex(4)}", said)

    def all(self) -> list[KeptLabel]:
        """All of them, the oldest first."""
        return [
            _kept(row) for row in self._database.all("SELECT * FROM facts WHERE name LIKE 'label:%' ORDER BY rowid")
        ]

    def newest(self) -> dict[str, dict[str, KeptLabel]]:
        """The newest of each image and tag."""
        found: dict[str, dict[str, KeptLabel]] = {}
        for one in self.all():
            found.setdefault(one.image, {})[one.tag] = one
        return found

    def get(self, image: str, tag: str) -> KeptLabel:
        """The newest of an image and tag.

        Args:
            image: A client's name of it, or our id.
            tag: The client's.

        Raises:
            RefusalError: If there is none.
        """
        kept = self.newest().get(self.image(image), {}).get(tag[:LONGEST_TAG])
        if kept is None:
            text = "expected a label map that was kept, got none of that image and tag; submit one first"
            raise RefusalError(HTTPStatus.NOT_FOUND, text)
        return kept

    def say(self, image: str, tag: str, info: Mapping[str, Any]) -> None:
        """Say more of the newest of an image and tag.

        Args:
            image: A client's name of it, or our id.
            tag: The client's.
            info: What is said; each entry takes the place of a former one.

        Raises:
            RefusalError: If there is none.
        """
        kept = self.get(image, tag)
        said = {"upload": kept.upload, "tag": kept.tag, "params": kept.info | dict(info)}
        self._database.set_fact(kept.fact, json.dumps(said))

    def remove(self, image: str, tag: str) -> None:
        """Remove all versions of an image and tag; the corrections that they became stay.

        Args:
            image: A client's name of it, or our id.
            tag: The client's.

        Raises:
            RefusalError: If there is none.
        """
        known = self.get(image, tag)
        for one in self.all():
            if (one.image, one.tag) == (known.image, known.tag):
                self._database.change("DELETE FROM facts WHERE name = ?", one.fact)
                self._uploads.remove_if_unused(one.upload)


def names_in(params: Mapping[str, Any]) -> dict[str, Any]:
    """What each value is the name of, by name, as `label_info` says it.

    Args:
        params: What a client says of a label map.

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
