"""Cache on disk, shared between processes, of what is slow to make: compiled networks.

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
"""Maximum size of all entries of a kind; the least recently used are removed first."""

_DIGEST_BYTES = hashlib.sha256().digest_size


class Cache:
    """Bytes by key, in a folder of the user's cache.

    Args:
        kind: Kind of the entries, which is the name of the folder.
        largest_bytes: Maximum size of all entries together.

    Example:
        >>> Cache("example").get("0" * 64) is None
        True
    """

    def __init__(self, kind: str, largest_bytes: int = LARGEST_BYTES) -> None:
        self._kind, self._largest_bytes = kind, largest_bytes

    @property
    def folder(self) -> Path:
        """Folder of the entries; it may be missing."""
        return platformdirs.user_cache_path("tomoseg") / self._kind

    def get(self, key: str) -> bytes | None:
        """Return an entry, or None if there is none, or it is damaged or cannot be read.

        Args:
            key: A file name without a suffix, such as a SHA-256.
        """
        path = self.folder / key
        try:
            stored = path.read_bytes()
            os.utime(path)  # mark it as just used
        except OSError:
            return None
        digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
        return content if hashlib.sha256(content).digest() == digest else None

    def put(self, key: str, content: bytes) -> None:
        """Store an entry; do nothing if the folder cannot be written.

        Args:
            key: A file name without a suffix.
            content: The entry.
        """
        with contextlib.suppress(OSError):  # folder read-only, full or missing: made again each time
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
        """Remove an entry that turned out to be unusable."""
        with contextlib.suppress(OSError):
            (self.folder / key).unlink()

    def _make_room(self) -> None:
        entries = sorted(((path.stat(), path) for path in self.folder.iterdir()), key=lambda entry: -entry[0].st_mtime)
        total = 0
        for state, path in entries:
            total += state.st_size
            if total > self._largest_bytes:
                path.unlink(missing_ok=True)
