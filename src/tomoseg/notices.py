"""What is noticed about a scan: a sentence for a person, with a kind that programs and the docs can name."""

from __future__ import annotations

from typing import Literal

Kind = Literal[
    # while it is read
    "several series", "several patients", "left out", "unreadable files", "slice direction", "tilt", "shifted slices",
    "uneven gaps", "missing slices", "repeated slices", "blank slices", "assumed geometry", "two orientations",
    "unit of length", "trailing bytes", "no rescale", "not HU", "clipped",
    # when its voxels are looked at
    "one value", "label map", "grey values", "windowed", "shifted HU", "scaled HU", "no air", "no bone", "too dense",
    "voxel size", "oblique", "few slices", "no body", "body cut", "upside down", "back to front",
    # beside the scans that a model was trained on, and what it was tuned to
    "unlike training", "tuned step",
    # when its result is written
    "headers",
]  # fmt: skip
"""Short and stable: docs/how-to/warnings.md has a line for each."""

Level = Literal["note", "warning"]

NOTES: frozenset[Kind] = frozenset({"left out", "tuned step"})
"""What ordinary scans have too; all else may make a result wrong."""


class Notice(str):
    """A sentence or two: what was seen, what was expected, what to do.

    Attributes:
        kind: The same for all notices alike.

    Example:
        >>> notice = Notice("Left out: localizers (1).", "left out")
        >>> notice.kind, notice.level, notice
        ('left out', 'note', 'Left out: localizers (1).')
    """

    kind: Kind

    def __new__(cls, text: str, kind: Kind) -> Notice:
        """A notice of a kind."""
        notice = super().__new__(cls, text)
        notice.kind = kind
        return notice

    def __getnewargs__(self) -> tuple[str, Kind]:  # type: ignore[override]
        return str(self), self.kind

    @property
    def level(self) -> Level:
        """Whether it is a warning, or only a note."""
        return "note" if self.kind in NOTES else "warning"

    def of(self, name: str) -> Notice:
        """The same, of a file or a scan of this name."""
        return Notice(f"{name}: {self}", self.kind)
