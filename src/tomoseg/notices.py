"""Notices about a scan: a sentence for the user, with a kind for programs and the docs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

Kind = Literal[
    # from reading
    "several series", "left out", "unreadable files", "slice direction", "tilt", "shifted slices",
    "uneven gaps", "joined parts", "missing slices", "repeated slices", "blank slices", "assumed geometry",
    "two orientations", "two edges", "unit of length", "trailing bytes", "no rescale", "uneven HU", "padding", "not HU",
    "clipped",
    # from the voxels
    "one value", "label map", "probability map", "dose grid", "grey values", "windowed", "shifted HU", "scaled HU",
    "no air", "no bone", "too dense", "voxel size", "oblique", "few slices", "no body", "body cut", "upside down",
    "back to front",
    # from comparison with a model's training data and tuned settings
    "other body part", "unlike training", "other voxels", "tuned step", "structures left out", "whole scan",
    # from segmenting, and from writing the result
    "nothing found", "no box", "cut by the box", "headers",
    # in records written before kinds were stored
    "former record",
]  # fmt: skip
"""Kinds of notice, short and stable; docs/how-to/warnings.md has a line for each."""

Level = Literal["note", "warning"]

NOTES: frozenset[Kind] = frozenset({"left out", "other voxels", "tuned step", "structures left out", "whole scan"})
"""Kinds that ordinary scans have too; all others may make a result wrong."""

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
"""Kinds that may make a whole result worthless: not HU, no patient, a wrong orientation, a part of the body that the
model was not trained on, an empty result."""

UNLIKE_TRAINING: frozenset[Kind] = frozenset({"other body part", "unlike training"})
"""Kinds for scans so unlike the training data that the model cannot tell how good its masks are."""

SMALL: frozenset[Kind] = frozenset({"headers", "clipped", "trailing bytes", "tilt", "body cut", "too dense", "no bone"})
"""Kinds that affect masks little, if at all; those in no set concern the scan's geometry or slices."""

MOST_NAMED = 6
"""Maximum number of scans named in one line, unless the notice is decisive."""

_NUMBER = re.compile(r"(?<![\w./])\d+(?:\.\d+)?(?!\w)")
"""A number by itself, not part of a name or a path."""


@dataclass(frozen=True)
class Notice:
    """A sentence or two for the user, with a kind.

    Attributes:
        message: What was found, what was expected, what to do.
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
        """`warning`, or `note` for a kind in `NOTES`."""
        return "note" if self.kind in NOTES else "warning"

    @property
    def weight(self) -> int:
        """Rank by which notices are sorted: 0 decisive, 1 geometry, 2 small, 3 notes."""
        return 3 if self.level == "note" else 0 if self.is_decisive else 2 if self.kind in SMALL else 1

    @property
    def is_decisive(self) -> bool:
        """Whether it may make a whole result worthless; it is then never cut from a list."""
        return self.kind in DECISIVE

    def of(self, name: str) -> Notice:
        """Return the notice with the name of a file or a scan put before its message."""
        return replace(self, message=f"{name}: {self.message}")

    def without(self, name: object) -> Notice:
        """Return the notice without the name of a file before its message."""
        return replace(self, message=self.message.removeprefix(f"{name}: "))

    def as_dict(self) -> dict[str, str]:
        """Return the notice as written to JSON files: `kind`, `level`, `message`."""
        return {"kind": self.kind, "level": self.level, "message": self.message}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Notice:
        """Make a notice from the result of `as_dict`.

        Raises:
            KeyError: If there is no message or no kind.
        """
        return cls(str(data["message"]), data["kind"])


def by_weight(notices: Iterable[Notice]) -> tuple[Notice, ...]:
    """Sort notices by weight and drop duplicates.

    Args:
        notices: The notices; those of equal weight keep their order.

    Example:
        >>> [n.kind for n in by_weight([Notice("", "left out"), Notice("", "tilt"), Notice("", "other body part")])]
        ['other body part', 'tilt', 'left out']
    """
    return tuple(sorted(dict.fromkeys(notices), key=lambda notice: notice.weight))


def gathered(said: Iterable[tuple[str, Notice]]) -> list[Notice]:
    """Merge the notices of many scans, each with the names of its scans, in the order of `by_weight`.

    Sentences that differ only in numbers are merged. A decisive one names all its scans, others up to `MOST_NAMED`.

    Args:
        said: Pairs of the name of a scan and a notice about it.

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
    """Merge sentences about many scans as `gathered` does, in order of first appearance.

    Args:
        said: Pairs of the name of a scan and a sentence about it.
        most_named: Maximum number of scans named in a line; None for all.
    """
    alike: dict[tuple[str, int], dict[str, str]] = {}
    times: Counter[tuple[str, str]] = Counter()
    for name, text in said:
        pattern = _NUMBER.sub("0", text)
        alike.setdefault((pattern, times[name, pattern]), {})[name] = text
        times[name, pattern] += 1
    return [_together(of, most_named) for of in alike.values()]


def _together(alike: Mapping[str, str], most_named: int | None) -> str:
    """Merge sentences that differ only in numbers into the first, with the names of their scans."""
    names = list(alike)
    whose = f" (The numbers are those of {names[0]}.)" if len(set(alike.values())) > 1 else ""
    named = names[:most_named]
    more = f" and {len(names) - len(named)} more" if len(names) > len(named) else ""
    return f"{', '.join(named)}{more}: {alike[names[0]]}{whose}"
