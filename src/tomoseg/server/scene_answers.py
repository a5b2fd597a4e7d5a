"""Encoding of a case for the page: a description in JSON, and volumes as raw bytes, x fastest."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from fastapi import Response
from jaxtyping import Bool, Shaped

from tomoseg.errors import GridError, InputError
from tomoseg.language.sentences import sentence
from tomoseg.language.words import later, say
from tomoseg.notices import Notice
from tomoseg.pictures.structure_names import readable, readable_group
from tomoseg.workflows.scenes import Entry, Scene


def described(scene: Scene, name: str, scan: Path | None = None) -> dict[str, Any]:
    """Describe a case for the page.

    Args:
        scene: The case.
        name: Name of the case.
        scan: Path of the scan, which is removed from notices.
    """
    notices = [one if scan is None else one.without(scan) for one in scene.notices]
    return {
        "name": name,
        "shape": list(scene.hu.shape),
        "spacing_mm": [edge * scene.step for edge in scene.grid.spacing_mm],
        "affine": scene.affine.tolist(),
        "structures": [_entry(entry) for entry in scene.entries],
        "cells": [list(inside) for inside in scene.cells.table],
        "reference": None if scene.reference is None else {"cells": [list(one) for one in scene.reference.table]},
        "notices": [_told(one) for one in notices],
        "not_correctable": None if scene.step == 1 else _in_both(_STEPPED),
    }


def _told(notice: Notice) -> dict[str, Any]:
    text = str(notice)
    return {"text": {"en": text, "fr": sentence(text, "fr")}, "level": notice.level}


_STEPPED = later("The scan is large and shown at every other voxel: its masks cannot be corrected here.")


def _in_both(text: str) -> dict[str, str]:
    return {"en": say(text, "en"), "fr": say(text, "fr")}


def _entry(entry: Entry) -> dict[str, Any]:
    structure = entry.structure
    return {
        "name": structure.name,
        "title": {"en": readable(structure.name), "fr": readable(structure.name, "fr")},
        "group": {"en": readable_group(structure.group), "fr": readable_group(structure.group, "fr")},
        "colour": list(structure.colour),
        "volume_ml": entry.measured.volume_ml,
        "mean_hu": entry.measured.mean_hu,
        "middle": entry.middle,
        "warnings": list(entry.warnings),
        "dice": entry.dice,
        "version": entry.version,
    }


def volume_answer(values: Shaped[np.ndarray, "x y z"]) -> Response:
    """Return a volume as raw little-endian values, x fastest."""
    little = values.T.astype(values.dtype.newbyteorder("<"), copy=False)
    return Response(little.tobytes(), media_type="application/octet-stream", headers={"cache-control": "no-store"})


def unpacked_mask(packed: bytes, shape: tuple[int, int, int]) -> Bool[np.ndarray, "x y z"]:
    """Decode a mask from the page: one byte per voxel, 0 or 1, x fastest, compressed with gzip.

    Args:
        packed: The compressed mask.
        shape: Number of voxels of the scan along x, y and z.

    Raises:
        GridError: If it has another number of voxels.
        InputError: If it is not gzip data, or contains other values.
    """
    voxels = int(np.prod(shape))
    unpacking = zlib.decompressobj(wbits=31)
    try:
        values = np.frombuffer(unpacking.decompress(packed, voxels + 1), np.uint8)
    except zlib.error as error:
        raise InputError(f"expected a mask compressed with gzip, got: {error}; reload the page") from None
    if values.size != voxels or not unpacking.eof:
        raise GridError(f"expected a mask of the scan's {voxels} voxels, got another one; reload the page")
    if values.max(initial=0) > 1:
        raise InputError(f"expected a mask of 0 and 1, got {int(values.max())}; reload the page")
    return values.view(bool).reshape(shape, order="F")
