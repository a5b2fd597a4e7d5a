"""What is noticed about a scan: a sentence for a person, with a kind that programs and the docs can name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal[
    # while it is read
    "several series", "several patients", "left out", "unreadable files", "slice direction", "tilt", "shifted slices",
    "uneven gaps", "missing slices", "repeated slices", "blank slices", "assumed geometry", "two orientations",
    "two edges", "unit of length", "trailing bytes", "no rescale", "not HU", "clipped",
    # when its voxels are looked at
    "one value", "label map", "grey values", "windowed", "shifted HU", "scaled HU", "no air", "no bone", "too dense",
    "voxel size", "oblique", "few slices", "no body", "body cut", "upside down", "back to front",
    # beside the scans that a model was trained on, and what it was tuned to
    "unlike training", "other voxels", "tuned step",
    # when its result is written
    "headers",
]  # fmt: skip
"""Short and stable: docs/how-to/warnings.md has a line for each."""

Level = Literal["note", "warning"]

NOTES: frozenset[Kind] = frozenset({"left out", "other voxels", "tuned step"})
"""What ordinary scans have too; all else may make a result wrong."""


@dataclass(frozen=True)
class Notice:
    """A sentence or two for a person, with a kind that is the same for all notices alike.

    Attributes:
        message: What was seen, what was expected, what to do.
        kind: One of `Kind`.

    Example:
        >>> notice = Notice("Left out: localizers (1).", "left out")
        >>> str(notice), notice.as_dict()["level"]
        ('Left out: localizers (1).', 'note')
    """

    message: str
    kind: Kind

    def __str__(self) -> str:
        return self.message

    @property
    def level(self) -> Level:
        """Whether it is a warning, or only a note."""
        return "note" if self.kind in NOTES else "warning"

    def of(self, name: str) -> Notice:
        """The same, of a file or a scan of this name."""
        return replace(self, message=f"{name}: {self.message}")

    def as_dict(self) -> dict[str, str]:
        """What is written of it in every JSON file: `kind`, `level`, `message`."""
        return {"kind": self.kind, "level": self.level, "message": self.message}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Notice:
        """The inverse of `as_dict`.

        Raises:
            KeyError: If there is no message or no kind.
        """
        return cls(str(data["message"]), data["kind"])
