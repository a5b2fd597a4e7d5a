"""What is slow to make and kept between processes, in the user's cache folder: compiled networks.

Entries appear whole or not at all, and one that was damaged is made again, so any number of processes may share the
folder. Where it cannot be written, nothing is kept and everything works.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

import platformdirs

LARGEST_BYTES = 512 * 2**20
"""Of all entries of a kind; the least recently used go first."""

_DIGEST_BYTES = hashlib.sha256().digest_size


class Cache:
    """Bytes by key, in a folder of the user's.

    Args:
        kind: What they are: the name of the folder.
        largest_bytes: Of all entries together.

    Example:
        >>> Cache("example").get("0" * 64) is None
        True
    """

    def __init__(self, kind: str, largest_bytes: int = LARGEST_BYTES) -> None:
        self._kind, self._largest_bytes = kind, largest_bytes

    @property
    def folder(self) -> Path:
        """Where entries lie; it may be missing."""
        return platformdirs.user_cache_path("tomoseg") / self._kind

    def get(self, key: str) -> bytes | None:
        """An entry, or None if there is none, or it is damaged or cannot be read.

        Args:
            key: A file name without a suffix, such as a SHA-256.
        """
        path = self.folder / key
        try:
            stored = path.read_bytes()
            os.utime(path)  # it was used now
        except OSError:
            return None
        digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        return content if hashlib.sha256(content).digest() == digest else None

    def put(self, key: str, content: bytes) -> None:
        """Keep an entry, if that can be done.

        Args:
            key: A file name without a suffix.
            content: The entry.
        """
        with contextlib.suppress(OSError):  # read-only, full or missing: then it is made again each time
            self.folder.mkdir(parents=True, exist_ok=True)
            number, aside = tempfile.mkstemp(prefix=".", dir=self.folder)
            try:
                with os.fdopen(number, "wb") as stream:
                    stream.write(hashlib.sha256(content).digest() + content)
                Path(aside).replace(self.folder / key)
            except BaseException:
                Path(aside).unlink(missing_ok=True)
                raise
            self._make_room()

    def remove(self, key: str) -> None:
        """Forget an entry that turned out to be of no use."""
        with contextlib.suppress(OSError):
            (self.folder / key).unlink()

    def _make_room(self) -> None:
        entries = sorted(((path.stat(), path) for path in self.folder.iterdir()), key=lambda entry: -entry[0].st_mtime)
        total = 0
        for state, path in entries:
            total += state.st_size
            if total > self._largest_bytes:
                path.unlink(missing_ok=True)
