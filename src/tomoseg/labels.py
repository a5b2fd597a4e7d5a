"""The structures of a dataset, a model or a segmentation.

A `LabelSet` is an ordered set of structures. The position of a structure is its channel; its `id` is the
value that stands for it in a label map. Structures are independent of one another: masks may overlap.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib import resources
from typing import Any, Literal

import numpy as np

from tomoseg.errors import LabelError, unknown_name_message

OTHER_GROUP = "other"

LARGEST_ID = 65535
"""Largest id in a label map; structures with larger ids can only be written as separate masks."""


LEAST_COLOUR_DISTANCE = 110
"""Minimum Euclidean distance in RGB at which two colours are easy to tell apart in a picture."""


@dataclass(frozen=True)
class Structure:
    """One anatomical structure.

    Attributes:
        id: Its value in a label map, 1 or more; 0 is background.
        name: Its name, which is also used in file names.
        group: The group that it belongs to in summaries, such as `organs`.
        snomed: SNOMED CT code, if known.
        snomed_meaning: The meaning of the code in the words of SNOMED CT.
        laterality: `Right` or `Left`, if the code needs one.
        colour: RGB colour, each 0 to 255.

    Example:
        >>> LabelSet.total()["kidney_left"].snomed_meaning
        'Kidney'
    """

    id: int
    name: str
    group: str = OTHER_GROUP
    snomed: str | None = None
    snomed_meaning: str | None = None
    laterality: str | None = None
    colour: tuple[int, int, int] = (255, 255, 255)


@dataclass(frozen=True)
class LabelSet:
    """An ordered set of structures with unique names and ids.

    Attributes:
        structures: The structures, in channel order.

    Raises:
        LabelError: If there is no structure, a name or an id occurs twice, or an id is not positive.

    Example:
        >>> labels = LabelSet.total().subset(["liver", "spleen"])
        >>> labels.names, labels.ids, labels.channel("liver")
        (('spleen', 'liver'), (1, 5), 1)
    """

    structures: tuple[Structure, ...]

    def __post_init__(self) -> None:
        if not self.structures:
            raise LabelError("expected at least one structure, got none; name the structures to learn")
        for what, values in (("name", self.names), ("id", self.ids)):
            twice = sorted({str(v) for v in values if values.count(v) > 1})
            if twice:
                raise LabelError(f"expected each structure {what} once, got twice: {', '.join(twice)}; rename one")
        if min(self.ids) < 1:
            raise LabelError(f"expected ids of 1 or more (0 is background), got {min(self.ids)}; renumber")

    def __len__(self) -> int:
        return len(self.structures)

    def __iter__(self) -> Iterator[Structure]:
        return iter(self.structures)

    def __getitem__(self, name: str) -> Structure:
        return self.structures[self.channel(name)]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    @property
    def names(self) -> tuple[str, ...]:
        """Names in channel order."""
        return tuple(s.name for s in self.structures)

    @property
    def ids(self) -> tuple[int, ...]:
        """Label map values in channel order."""
        return tuple(s.id for s in self.structures)

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Group name to the names of its structures, in order of first appearance."""
        groups: dict[str, tuple[str, ...]] = {}
        for structure in self.structures:
            groups[structure.group] = (*groups.get(structure.group, ()), structure.name)
        return groups

    def exchanged(self) -> tuple[int, ...]:
        """Return for each channel that of its left-right counterpart; its own for structures that have no side.

        Raises:
            LabelError: If a structure is on a side and has no counterpart.

        Example:
            >>> LabelSet.total().subset(["kidney_right", "kidney_left", "liver"]).exchanged()
            (1, 0, 2)
        """
        alone = [name for name in self.names if counterpart(name) not in self]
        if alone:
            raise LabelError(
                "expected a counterpart for every left or right structure, got none for "
                f"{', '.join(alone[:3])}; add {counterpart(alone[0])}, or leave exchanged sides off"
            )
        return tuple(self.channel(counterpart(name)) for name in self.names)

    def channel(self, name: str) -> int:
        """Return the channel of a structure.

        Args:
            name: Name of the structure, in any Unicode normal form.

        Raises:
            LabelError: If there is no structure of that name; the message suggests the most similar one.
        """
        try:
            return self.names.index(name)
        except ValueError:
            alike = [channel for channel, one in enumerate(self.names) if composed(one) == composed(name)]
            if len(alike) == 1:
                return alike[0]
            raise LabelError(unknown_name_message(name, self.names)) from None

    def subset(self, names: Sequence[str]) -> LabelSet:
        """Return the named structures, in the order of this set and with their ids.

        Raises:
            LabelError: If a name is unknown.
        """
        wanted = {self.channel(name) for name in names}
        return LabelSet(tuple(s for c, s in enumerate(self.structures) if c in wanted))

    def to_dicts(self) -> list[dict[str, Any]]:
        """Return the structures as plain data for JSON."""
        return [asdict(s) for s in self.structures]

    @classmethod
    def from_dicts(cls, dicts: Iterable[dict[str, Any]]) -> LabelSet:
        """Read a label set from the result of `to_dicts`.

        Raises:
            LabelError: If a key is missing or unknown.
        """
        try:
            return cls(tuple(Structure(**{**d, "colour": tuple(d.get("colour", (255, 255, 255)))}) for d in dicts))
        except TypeError as error:
            raise LabelError(
                f"expected structures with id, name, group, ..., got: {error}; write the file again"
            ) from None

    @classmethod
    def from_names(cls, names: Sequence[str]) -> LabelSet:
        """Make a label set from names alone, with ids from 1.

        Codes, groups and colours are those of the 117 structures if a name is one of them; some other names have codes
        too (`data/others.csv`).
        """
        known = {s.name: s for s in LabelSet.total()}
        taken = [known[name].colour for name in names if name in known]
        structures = []
        for number, name in enumerate(names, start=1):
            found = known.get(name)
            if found is None:
                codes = _other_codes().get(name, (None,) * 3)
                structures.append(Structure(number, name, OTHER_GROUP, *codes, _spread_colour(number, taken)))
                taken.append(structures[-1].colour)
            else:
                structures.append(Structure(**{**asdict(found), "id": number}))
        return cls(tuple(structures))

    @classmethod
    @cache
    def total(cls) -> LabelSet:
        """The 117 structures of the public whole-body CT dataset, ids 1 to 117."""
        text = resources.files("tomoseg.data").joinpath("total_117.csv").read_text(encoding="utf-8")
        rows = csv.DictReader(text.splitlines())
        return cls(
            tuple(
                Structure(
                    int(row["id"]),
                    row["name"],
                    row["group"],
                    row["snomed"],
                    row["snomed_meaning"],
                    row["laterality"] or None,
                    _rgb(row["colour"]),
                )
                for row in rows
            )
        )


def composed(name: str) -> str:
    r"""Return a name in Unicode normal form C (NFC), which is used throughout.

    Example:
        >>> composed("e\u0301") == "\u00e9"
        True
    """
    return unicodedata.normalize("NFC", name)


def label_type(ids: Sequence[int]) -> type[np.uint8] | type[np.uint16]:
    """Return the smallest NumPy type for a label map with these ids.

    Args:
        ids: One or more ids, each 1 or more.

    Raises:
        LabelError: If an id is larger than `LARGEST_ID`, which no label map can hold.

    Example:
        >>> label_type([1, 117]), label_type([256])
        (<class 'numpy.uint8'>, <class 'numpy.uint16'>)
    """
    if max(ids) > LARGEST_ID:
        raise LabelError(f"expected ids up to {LARGEST_ID} for a label map, got {max(ids)}; renumber the structures")
    return np.uint8 if max(ids) <= np.iinfo(np.uint8).max else np.uint16


_LEFT = {"left": "right", "l": "r", "gauche": "droite"}
_RIGHT = {"right": "left", "r": "l", "droite": "gauche", "droit": "gauche"}
_SIDES: tuple[tuple[Literal["left", "right"], dict[str, str]], ...] = (("left", _LEFT), ("right", _RIGHT))


def side_of(name: str) -> tuple[Literal["left", "right"], str] | None:
    """Return the side of a structure and the name of its counterpart; None for a structure that has no side.

    A side is a word of the name, however words are divided: `kidney_left`, `Left Kidney`, `KidneyLeft`, `Parotid_L`.

    Example:
        >>> side_of("KidneyLeft"), side_of("Parotid_R")
        (('left', 'KidneyRight'), ('right', 'Parotid_L'))
        >>> side_of("vertebrae_L1") is side_of("lung_upper_lobe") is None
        True
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^A-Za-z\d]+", name)
    for n, word in enumerate(words):
        if words[n + 1 : n + 2] and words[n + 1].isdigit():
            continue  # L1 is a vertebra
        for side, others in _SIDES:
            if other := others.get(word.lower()):
                same_case = other.upper() if word.isupper() else other.capitalize() if word[0].isupper() else other
                return side, "".join([*words[:n], same_case, *words[n + 1 :]])
    return None


def counterpart(name: str) -> str:
    """Return the name of a structure in a mirror image: that of its counterpart, or its own if it has no side.

    Example:
        >>> counterpart("kidney_left"), counterpart("liver")
        ('kidney_right', 'liver')
    """
    found = side_of(name)
    return name if found is None else found[1]


@cache
def _other_codes() -> dict[str, tuple[str | None, str | None, str | None]]:
    """SNOMED CT code, its meaning and the laterality of structures other than the 117."""
    text = resources.files("tomoseg.data").joinpath("others.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return {row["name"]: (row["snomed"], row["snomed_meaning"], row["laterality"] or None) for row in rows}


def _rgb(text: str) -> tuple[int, int, int]:
    red, green, blue = (int(part) for part in text.split())
    return (red, green, blue)


def _spread_colour(number: int, taken: Sequence[tuple[int, int, int]]) -> tuple[int, int, int]:
    """Choose a colour by number, with hues a golden ratio apart, that is unlike those taken if possible."""
    hues = [(number * 0.618034 + turn / 12) % 1.0 for turn in range(12)]
    colours = [_bright(hue) for hue in hues]
    return next((colour for colour in colours if all(_apart(colour, other) for other in taken)), colours[0])


def _bright(hue: float) -> tuple[int, int, int]:
    import colorsys

    red, green, blue = colorsys.hsv_to_rgb(hue, 0.65, 0.95)
    return (round(red * 255), round(green * 255), round(blue * 255))


def _apart(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Whether two colours are easy to tell apart."""
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) >= LEAST_COLOUR_DISTANCE**2
