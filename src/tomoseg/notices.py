"""What is noticed about a scan: a sentence for a person, with a kind that programs and the docs can name."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal[
    # while it is read
    "several series", "left out", "unreadable files", "slice direction", "tilt", "shifted slices",
    "uneven gaps", "joined parts", "missing slices", "repeated slices", "blank slices", "assumed geometry",
    "two orientations", "two edges", "unit of length", "trailing bytes", "no rescale", "uneven HU", "padding", "not HU",
    "clipped",
    # when its voxels are looked at
    "one value", "label map", "probability map", "dose grid", "grey values", "windowed", "shifted HU", "scaled HU",
    "no air", "no bone", "too dense", "voxel size", "oblique", "few slices", "no body", "body cut", "upside down",
    "back to front",
    # beside the scans that a model was trained on, and what it was tuned to
    "other body part", "unlike training", "other voxels", "tuned step", "structures left out", "whole scan",
    # when it was segmented, and when its result is written
    "nothing found", "no box", "cut by the box", "headers",
    # in records from before kinds were kept
    "former record",
]  # fmt: skip
"""Short and stable: docs/how-to/warnings.md has a line for each."""

Level = Literal["note", "warning"]

NOTES: frozenset[Kind] = frozenset({"left out", "other voxels", "tuned step", "structures left out", "whole scan"})
"""What ordinary scans have too; all else may make a result wrong."""

DECISIVE: frozenset[Kind] = frozenset(
    {
        *(
            "label map",
            "probability map",
            "dose grid",
            "one value",
            "grey values",
            "not HU",
            "shifted HU",
            "scaled HU",
            "windowed",
            "no air",
            "no body",
        ),
        *("upside down", "back to front", "other body part", "uneven HU", "nothing found"),
    }
)
"""What may make all of a result worthless: no HU, no patient or another, the wrong way round, another part of the body
than the model knows; or that there is nothing in it."""

UNLIKE_TRAINING: frozenset[Kind] = frozenset({"other body part", "unlike training"})
"""Of such scans the model does not know how good its masks are."""

SMALL: frozenset[Kind] = frozenset({"headers", "clipped", "trailing bytes", "tilt", "body cut", "too dense", "no bone"})
"""What changes little of a mask, if anything; what is neither is of the scan's geometry or its slices."""

MOST_NAMED = 6
"""Scans that one line names, unless it is decisive."""

_NUMBER = re.compile(r"(?<![\w./])\d+(?:\.\d+)?(?!\w)")
"""One that stands alone: no part of a name or a path."""


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

    @property
    def weight(self) -> int:
        """From 0, the decisive, over geometry and what is small to notes: the order in which they are told."""
        return 3 if self.level == "note" else 0 if self.is_decisive else 2 if self.kind in SMALL else 1

    @property
    def is_decisive(self) -> bool:
        """Whether it may make all of a result worthless: such a one is never cut from a list."""
        return self.kind in DECISIVE

    def of(self, name: str) -> Notice:
        """The same, of a file or a scan of this name."""
        return replace(self, message=f"{name}: {self.message}")

    def without(self, name: object) -> Notice:
        """The same without the name of a file before it, for where another name is put there."""
        return replace(self, message=self.message.removeprefix(f"{name}: "))

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


def by_weight(notices: Iterable[Notice]) -> tuple[Notice, ...]:
    """Each notice once, the decisive first, then those of geometry, the small ones, and notes.

    Args:
        notices: In any order, which those of equal weight keep.

    Example:
        >>> [n.kind for n in by_weight([Notice("", "left out"), Notice("", "tilt"), Notice("", "other body part")])]
        ['other body part', 'tilt', 'left out']
    """
    return tuple(sorted(dict.fromkeys(notices), key=lambda notice: notice.weight))


def gathered(said: Iterable[tuple[str, Notice]]) -> list[Notice]:
    """What was noticed of many scans, in the order of `by_weight`, each once with the names of its scans.

    Sentences that differ in numbers alone are one. A decisive one names all of its scans, others the first.

    Args:
        said: Name of a scan, and what was noticed of it.

    Example:
        >>> tilt = Notice("The gantry was tilted.", "tilt")
        >>> [str(notice) for notice in gathered([("a", tilt), ("b", tilt)])]
        ['a, b: The gantry was tilted.']
    """
    of_kind: dict[Kind, list[tuple[str, str]]] = {}
    for name, notice in sorted(dict.fromkeys(said), key=lambda pair: pair[1].weight):
        of_kind.setdefault(notice.kind, []).append((name, str(notice)))
    return [
        Notice(text, kind)
        for kind, pairs in of_kind.items()
        for text in gathered_texts(pairs, None if kind in DECISIVE else MOST_NAMED)
    ]


def gathered_texts(said: Iterable[tuple[str, str]], most_named: int | None = MOST_NAMED) -> list[str]:
    """The same of sentences alone, in the order in which they come.

    Args:
        said: Name of a scan, and a sentence about it.
        most_named: So many scans are named in a line; all if None.
    """
    alike: dict[tuple[str, int], dict[str, str]] = {}
    times: Counter[tuple[str, str]] = Counter()
    for name, text in said:
        pattern = _NUMBER.sub("0", text)
        alike.setdefault((pattern, times[name, pattern]), {})[name] = text
        times[name, pattern] += 1
    return [_together(of, most_named) for of in alike.values()]


def _together(alike: Mapping[str, str], most_named: int | None) -> str:
    """One of sentences that are the same but for numbers, by the names of their scans."""
    names = list(alike)
    whose = f" (The numbers are those of {names[0]}.)" if len(set(alike.values())) > 1 else ""
    named = names[:most_named]
    more = f" and {len(names) - len(named)} more" if len(names) > len(named) else ""
    return f"{', '.join(named)}{more}: {alike[names[0]]}{whose}"
