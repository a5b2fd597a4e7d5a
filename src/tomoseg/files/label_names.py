"""Names of the values of a label map in JSON files.

Both `{"1": "spleen", "2": "liver"}` and `{"spleen": 1, "liver": 2}` are read, since both are in use; 0 is background
and left out, whatever its name. The first is written.
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
"""Maximum bytes of a structure's name: files are named after it, with endings, and file names have up to 255 bytes."""

_CHUNK = 1 << 20
_LARGEST_JSON_BYTES = 64_000_000


def read_json(path: Path) -> Any:
    """Read a JSON file, refusing objects with duplicate keys.

    Raises:
        InputError: If it cannot be read or is not JSON.
        LabelError: If an object in it has a key twice.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON_BYTES:
            raise InputError(
                f"{path}: expected at most {_LARGEST_JSON_BYTES} bytes, got more; this is not a list of labels"
            )
        text = path.read_text(encoding="utf-8-sig")
        return json.loads(text, object_pairs_hook=lambda pairs: _unique_keys(pairs, path))
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, got: {error.strerror or error}; check it") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON, got: {error}; correct the file") from None


def parse_label_names(data: Any, name: str) -> dict[int, str]:
    """Parse structure names by label map value, in order of the values, without background.

    Args:
        data: A JSON object of one of the two kinds.
        name: Name of the file in messages.

    Raises:
        LabelError: If it is neither, a name or value occurs twice, or a name is not valid as a file name.

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
    """Read structure names by label map value from a JSON file.

    Raises:
        InputError: If it cannot be read or is not JSON.
        LabelError: If it does not map values to names, or one occurs twice.
    """
    return parse_label_names(read_json(path), str(path))


def format_label_names(names: Mapping[int, str]) -> str:
    """Return the JSON text of names, which `read_label_names` reads back."""
    return json.dumps({str(value): name for value, name in names.items()}, indent=1, ensure_ascii=False) + "\n"


def label_set_of(names: Mapping[int, str]) -> LabelSet:
    """Make a label set with these values as ids: a part of the 117 if all agree with them, otherwise a new one.

    Raises:
        LabelError: If there are none, or a value is below 1.
    """
    total = LabelSet.total()
    if names and all(name in total and total[name].id == value for value, name in names.items()):
        return total.subset(list(names.values()))
    known = LabelSet.from_names(list(names.values()))
    return LabelSet(tuple(replace(s, id=value) for s, value in zip(known, names, strict=True)))


def label_set_named(names: Sequence[str], ids: Mapping[str, int] | None = None) -> LabelSet:
    """Make a label set of names: a part of the 117 if all are among them, otherwise sorted, with ids from 1.

    Args:
        names: The structures.
        ids: Ids of some or all of them that replace those ids, but not the order. The other structures get the ids of
            the 117 if the names and the given ids are among these, otherwise numbers above the largest given id.

    Raises:
        LabelError: If there are no names, or one occurs twice.

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
    """Replace the ids of structures by the given ones, and number the others from the first free one."""
    others = [name for name in labels.names if name not in given]
    numbered = dict(given) | {name: number for number, name in enumerate(others, start=first_free)}
    return LabelSet(tuple(replace(structure, id=numbered[structure.name]) for structure in labels))


def values_in(labels: UInt8[np.ndarray, "x y z"] | UInt16[np.ndarray, "x y z"]) -> tuple[int, ...]:
    """Return the values that occur in a label map, including 0, in order.

    Example:
        >>> values_in(np.array([[[7, 0, 7]]], np.uint8))
        (0, 7)
    """
    seen = np.zeros(np.iinfo(labels.dtype).max + 1, bool)
    flat = labels.ravel(order="K")
    for start in range(0, flat.size, _CHUNK):  # in chunks, since an index takes eight bytes per voxel
        seen[flat[start : start + _CHUNK]] = True
    return tuple(np.flatnonzero(seen).tolist())


def structure_name(text: str, name: str) -> str:
    """Normalise a structure's name to Unicode form C, and check that it is valid as a file name.

    Args:
        text: The name in a file or of a file.
        name: Name of that file in messages.

    Raises:
        LabelError: If it is not valid as a file name.
    """
    structure = composed(text)
    check_file_name(structure, name)
    return structure


def check_told_apart(names: Iterable[str], name: str) -> None:
    """Check that names do not differ only in case, which makes them one file on many file systems.

    Args:
        names: Names of the structures.
        name: Name of their file or folder in messages.

    Raises:
        LabelError: If two names do.
    """
    seen: dict[str, str] = {}
    for structure in names:
        first = seen.setdefault(structure.casefold(), structure)
        if first != structure:
            raise LabelError(
                f"{name}: expected names that differ in more than capital letters, got {first} and "
                f"{structure}; use one name per structure"
            )


def check_file_name(structure: str, name: str) -> None:
    """Check that a structure's name is valid as a file name.

    Raises:
        LabelError: If it is empty, hidden or too long, or has a separator, a control character or invalid UTF-8.
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
