"""Which value of a label map is which structure, as JSON files say it.

Read are `{"1": "spleen", "2": "liver"}` and `{"spleen": 1, "liver": 2}`, both in use in the field; 0 is background and
left out, whatever it is called. Written is the first.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8, UInt16

from tomoseg.errors import InputError, LabelError
from tomoseg.labels import LabelSet, composed

LONGEST_NAME_BYTES = 200
"""Of a structure's name: files are named after it, with endings, and a name of 255 bytes is the longest there is."""

_CHUNK = 1 << 20
_LARGEST_JSON_BYTES = 64_000_000


def read_json(path: Path) -> Any:
    """Any JSON file, where an object that says a key twice is refused.

    Raises:
        InputError: If it cannot be read or is no JSON.
        LabelError: If an object in it has a key twice.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON_BYTES:
            raise InputError(
                f"{path}: expected at most {_LARGEST_JSON_BYTES} bytes, got more; this is no list of labels"
            )
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, object_pairs_hook=lambda pairs: _unique_keys(pairs, path))
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got: {error.strerror or error}; check it") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, got: {error}; correct the file") from None


def parse_label_names(data: Any, name: str) -> dict[int, str]:
    """Label map value to structure name, in order of the values, without background.

    Args:
        data: A JSON object of one of the two kinds.
        name: What to call it in messages.

    Raises:
        LabelError: If it is neither, a name or value comes twice, or a name could not be a file's.

    Example:
        >>> parse_label_names({"background": 0, "spleen": 2, "liver": 1}, "labels.json")
        {1: 'liver', 2: 'spleen'}
    """
    if not isinstance(data, dict) or not data:
        raise LabelError(f'{name}: expected {{"1": "spleen", ...}}, got {str(data)[:80]}; correct the file')
    pairs = [_value_and_name(key, value, name) for key, value in data.items()]
    _check_once([str(value) for value, _ in pairs], "value", name)
    _check_once([structure for _, structure in pairs], "name", name)
    names = {value: structure_name(structure, name) for value, structure in pairs if value != 0}
    check_told_apart(names.values(), name)
    return dict(sorted(names.items()))


def _check_once(words: Sequence[str], what: str, name: str) -> None:
    twice = sorted(word for word, times in Counter(words).items() if times > 1)
    if twice:
        raise LabelError(f"{name}: expected each {what} once, got twice: {', '.join(twice)}; correct the file")


def read_label_names(path: Path) -> dict[int, str]:
    """Label map value to structure name from a JSON file.

    Raises:
        InputError: If it cannot be read or is no JSON.
        LabelError: If it does not map values to names, or one comes twice.
    """
    return parse_label_names(read_json(path), str(path))


def format_label_names(names: Mapping[int, str]) -> str:
    """JSON text that `read_label_names` reads back."""
    return json.dumps({str(value): name for value, name in names.items()}, indent=1, ensure_ascii=False) + "\n"


def label_set_of(names: Mapping[int, str]) -> LabelSet:
    """A label set with these values as ids: part of the 117 where all agree with them, else a set of its own.

    Raises:
        LabelError: If there are none, or a value is below 1.
    """
    total = LabelSet.total()
    if names and all(name in total and total[name].id == value for value, name in names.items()):
        return total.subset(list(names.values()))
    known = LabelSet.from_names(list(names.values()))
    return LabelSet(tuple(replace(s, id=value) for s, value in zip(known, names, strict=True)))


def label_set_named(names: Sequence[str], ids: Mapping[str, int] | None = None) -> LabelSet:
    """A label set of these names: part of the 117 where all are among them, else sorted with ids from 1.

    Args:
        names: The structures.
        ids: Ids of some or all of them, each once, instead of those; the order of the structures stays. Where they and
            the names are those of the 117, the rest has the ids of the 117, else numbers above the largest.

    Raises:
        LabelError: If there are no names, or one comes twice.

    Example:
        >>> [(s.name, s.id) for s in label_set_named(["jaw", "cord", "tooth"], {"jaw": 1, "cord": 2})]
        [('cord', 2), ('jaw', 1), ('tooth', 3)]
    """
    total = LabelSet.total()
    is_of_total = bool(names) and set(names) <= set(total.names)
    plain = total.subset(names) if is_of_total else LabelSet.from_names(sorted(names))
    given = {name: value for name, value in (ids or {}).items() if name in plain}
    if not given or (is_of_total and given.items() <= dict(zip(total.names, total.ids, strict=True)).items()):
        return plain
    return _with_ids(plain, given, max((ids or given).values()) + 1)


def _with_ids(labels: LabelSet, given: Mapping[str, int], first_free: int) -> LabelSet:
    """The structures with the ids that are given, the others numbered from the first that is free."""
    others = [name for name in labels.names if name not in given]
    numbered = dict(given) | {name: number for number, name in enumerate(others, start=first_free)}
    return LabelSet(tuple(replace(structure, id=numbered[structure.name]) for structure in labels))


def values_in(labels: UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"]) -> tuple[int, ...]:
    """The values that a label map holds, 0 included, in order.

    Example:
        >>> values_in(np.array([[[7, 0, 7]]], np.uint8))
        (0, 7)
    """
    seen = np.zeros(np.iinfo(labels.dtype).max + 1, bool)
    flat = labels.ravel(order="K")
    for start in range(0, flat.size, _CHUNK):  # an index is eight bytes a voxel: not for all of them at once
        seen[flat[start : start + _CHUNK]] = True
    return tuple(np.flatnonzero(seen).tolist())


def structure_name(text: str, name: str) -> str:
    """A structure's name as it is used throughout: `composed`, and fit for a file.

    Args:
        text: As a file or its name has it.
        name: What to call where it was found in messages.

    Raises:
        LabelError: As of `check_file_name`.
    """
    structure = composed(text)
    check_file_name(structure, name)
    return structure


def check_told_apart(names: Iterable[str], name: str) -> None:
    """Refuse names of structures that differ in nothing but capitals, which are one file on many disks.

    Args:
        names: The structures.
        name: What to call where they were found in messages.

    Raises:
        LabelError: With both.
    """
    seen: dict[str, str] = {}
    for structure in names:
        first = seen.setdefault(structure.casefold(), structure)
        if first != structure:
            raise LabelError(
                f"{name}: expected names that differ in more than capitals, got {first} and {structure}; "
                "give one structure one name"
            )


def check_file_name(structure: str, name: str) -> None:
    """Refuse a structure's name that would not name a file in the folder it is written to.

    Raises:
        LabelError: If it is empty, hidden, too long, or has a separator or a control character in it, or bytes that are
            no UTF-8.
    """
    if len(structure.encode("utf-8", "replace")) > LONGEST_NAME_BYTES:
        raise LabelError(
            f"{name}: expected names of up to {LONGEST_NAME_BYTES} bytes, got {structure[:40]!r}...; rename it"
        )
    if not structure or structure.startswith(".") or not structure.isprintable() or set(structure) & set('/\\:*?"<>|'):
        raise LabelError(f"{name}: expected names that can be file names, got {structure!r}; rename the structure")


def _unique_keys(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise LabelError(f"{path}: expected each key once, got twice: {', '.join(twice)}; correct the file")
    return dict(pairs)


def _value_and_name(key: str, value: Any, name: str) -> tuple[int, str]:
    if isinstance(value, str) and key.strip().isdecimal():
        number, structure = int(key), value
    elif isinstance(value, int) and not isinstance(value, bool):
        number, structure = value, key
    else:
        raise LabelError(f'{name}: expected pairs like "1": "spleen", got {key!r}: {value!r}; correct the file')
    if not 0 <= number <= 65535:
        raise LabelError(f"{name}: expected values from 0 to 65535, got {number} for {structure!r}; renumber")
    return number, structure
