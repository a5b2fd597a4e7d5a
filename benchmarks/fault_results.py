"""Output of commands: checks for damaged files, and digests to compare runs; for faults.py."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_VARY = ("/state", "/peak_memory_bytes", "/modified_ns", "/input/sha256", "/slices_per_second")
_MINUTES = re.compile(r"[\d.]+ min\b")


def state_of(folder: Path) -> dict[str, str]:
    """Return a digest of each visible file of a folder, or of each value of JSON files."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        inside = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") for part in inside.parts):
            continue
        content = path.read_bytes()
        if path.suffix == ".json":
            values = _values(json.loads(content))
            found |= {f"{inside}:{key}": value for key, value in values if not _may_vary(key)}
        elif path.suffix in {".jsonl", ".csv", ".md", ".yaml", ".html"}:
            for number, line in enumerate(content.decode(errors="replace").splitlines()):
                is_json = line.startswith("{")
                pairs = _values(json.loads(line)) if is_json else enumerate(_MINUTES.sub("", line).split(","))
                found |= {f"{inside}:{number}:{key}": str(value) for key, value in pairs if not _may_vary(str(key))}
        else:
            found[str(inside)] = hashlib.sha256(content).hexdigest()
    return found


def _may_vary(key: str) -> bool:
    """Return whether a value may differ between runs (times, earlier progress, modification times of inputs)."""
    return "/seconds" in key or "/minutes" in key or key.endswith(_VARY)


def _values(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _values(inner, f"{at}/{key}")
    elif isinstance(value, list):
        yield f"{at}#", str(len(value))
        for number, inner in enumerate(value):
            yield from _values(inner, f"{at}/{number}")
    else:
        yield at, repr(value)


def damaged(folder: Path) -> list[str]:
    """Return visible files that are not whole."""
    found = []
    for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
        inside = path.relative_to(folder)
        if path.is_file() and not any(is_aside(part) for part in inside.parts):
            try:
                _read_whole(path)
            except Exception as error:
                found.append(f"{inside}: {type(error).__name__}")
    return found


def is_aside(name: str) -> bool:
    return name.startswith(".") or name.endswith((".part", ".part.json"))


def _read_whole(path: Path) -> None:
    """Read a file as its ending says it is.

    Raises:
        ValueError: If it is not whole; so do others of the readers.
    """
    if path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix == ".jsonl":
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    elif path.suffix == ".gz":
        gzip.decompress(path.read_bytes())
    elif path.suffix == ".zip":
        assert zipfile.ZipFile(path).testzip() is None
    elif path.suffix == ".safetensors":
        from safetensors.numpy import load

        load(path.read_bytes())
    elif path.suffix == ".b2nd":
        import blosc2

        blosc2.ndarray_from_cframe(path.read_bytes())[:]
    elif path.suffix in {".pt", ".pth"}:
        import torch

        torch.load(path, weights_only=True, map_location="cpu")
    elif path.suffix == ".xml" and path.stat().st_size == 0:
        raise ValueError("empty")


def digest_of(paths: list[Path]) -> str:
    """Return a digest of all files of inputs."""
    one = hashlib.sha256()
    for path in paths:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                one.update(str(file).encode() + file.read_bytes())
    return one.hexdigest()
