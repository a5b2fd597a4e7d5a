"""Writing one case of a preprocessed dataset."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import blosc2
import numpy as np
from jaxtyping import Bool, Float64, UInt8

from tomoseg.checks.in_distribution import tissue_hu_of
from tomoseg.config import GridConfig
from tomoseg.grid import Placement, mask_from_grid, mask_to_grid, place_grid, to_grid
from tomoseg.masks import BoxedMask, add_mask, by_byte, packed_bytes
from tomoseg.notices import Notice, by_weight
from tomoseg.preprocessed.difficulty import rim_shares, slice_difficulties
from tomoseg.preprocessed.format import CASE_RECORD, CHUNK_SLICES, COMPRESSION, CT, MASKS, NATIVE, CaseRecord
from tomoseg.volume import Volume, as_axial

MaskLoader = Callable[[int], Bool[np.ndarray, "x y z"]]
"""Returns the mask of a channel on the scan's grid in RAS+ order; called from several threads."""


@dataclass(frozen=True)
class CaseInput:
    """A labelled scan to be preprocessed.

    Attributes:
        name: Unique name in the dataset.
        patient: Name of the patient.
        volume: The scan, in the axis order of the grid's view.
        load_mask: Returns the mask of an annotated channel, in the same axis order.
        annotated: Channels that are annotated.
        structures: Number of structures in the label set.
        fingerprint: Digest of its sources.
        warnings: Notices from reading it.
        parts: Parts of the body that the scan shows.
    """

    name: str
    patient: str
    volume: Volume
    load_mask: MaskLoader
    annotated: tuple[int, ...]
    structures: int
    fingerprint: str
    warnings: tuple[Notice, ...] = ()
    parts: tuple[str, ...] = ()


@dataclass
class _Measured:
    """Entries of the record for one structure."""

    occurrence: tuple[tuple[int, int], ...]
    voxels: int
    ceiling: float | None
    rim_shares: Float64[np.ndarray, "z"]


def write_case(case: CaseInput, folder: Path, config: GridConfig, *, keep_native: bool, threads: int) -> CaseRecord:
    """Write a case's arrays and record into an empty folder.

    Masks are read, measured and compressed eight at a time (one byte of the packed masks), so that memory
    stays at a few volumes whatever the number of structures.

    Args:
        case: The labelled scan.
        folder: Empty; it becomes the case's folder.
        config: The network's grid.
        keep_native: Also keep the masks on the scan's own grid, for scoring.
        threads: Groups of eight masks worked on at once.

    Returns:
        The record, as written.

    Raises:
        GridError: If the grid would be too large.
        OSError: If the disk is full.
        TomosegError: Whatever `load_mask` raises.
    """
    volume = case.volume
    placement = place_grid(volume.hu, volume.spacing_mm, config)
    on_grid = to_grid(volume.hu, placement).T
    ct = _empty_array(CT, on_grid.shape, np.int16)
    ct[:] = on_grid
    planes = packed_bytes(case.structures)
    native = keep_native and not placement.is_whole(volume.shape)
    arrays = {CT: ct, MASKS: _empty_array(MASKS, (planes, *placement.shape[::-1]))}
    if native:
        arrays[NATIVE] = _empty_array(NATIVE, (planes, *volume.shape[::-1]))
    lock = Lock()

    def write_plane(plane: int) -> dict[int, _Measured]:
        channels = by_byte(case.annotated).get(plane)
        if not channels:
            return {}
        on_grid, on_scan, measured = _pack_plane(case.load_mask, channels, placement, volume.shape)
        with lock:
            arrays[MASKS][plane] = on_grid.T
            if native:
                arrays[NATIVE][plane] = on_scan.T
        return measured

    with ThreadPoolExecutor(max(1, threads)) as pool:
        measured = {c: m for found in pool.map(write_plane, range(planes)) for c, m in found.items()}
    contents = hashlib.sha256()
    for name, array in arrays.items():
        packed = array.to_cframe()
        contents.update(packed)
        (folder / name).write_bytes(packed)
    record = _record(case, config, placement, measured, contents.hexdigest())
    record.save(folder / CASE_RECORD)
    return record


def _record(
    case: CaseInput, config: GridConfig, placement: Placement, measured: dict[int, _Measured], contents: str
) -> CaseRecord:
    volume = case.volume
    return CaseRecord(
        name=case.name,
        patient=case.patient,
        shape=volume.source.shape,
        affine=tuple(tuple(float(v) for v in row) for row in volume.source.affine),
        placement=placement,
        annotated=tuple(sorted(measured)),
        occurrence={c: m.occurrence for c, m in measured.items()},
        voxels={c: m.voxels for c, m in measured.items()},
        ceiling={c: m.ceiling for c, m in measured.items() if m.ceiling is not None},
        fingerprint=case.fingerprint,
        warnings=by_weight((*volume.warnings, *case.warnings)),
        parts=case.parts,
        difficulty=slice_difficulties((m.rim_shares for m in measured.values()), placement.shape[2]),
        contents=contents,
        tissue_hu=tissue_hu_of(as_axial(volume.hu, config.view)) or (),
    )


def _pack_plane(
    load_mask: MaskLoader, channels: Sequence[int], placement: Placement, shape: tuple[int, int, int]
) -> tuple[UInt8[np.ndarray, "gx gy gz"], UInt8[np.ndarray, "x y z"], dict[int, _Measured]]:
    """Pack up to eight structures on the grid and on the scan, one bit each, and measure them."""
    on_grid = np.zeros(placement.shape, np.uint8, order="F")
    on_scan = np.zeros(shape, np.uint8, order="F")
    measured = {}
    for channel in channels:
        mask = BoxedMask.of(load_mask(channel))
        small = mask_to_grid(mask, placement)
        add_mask(on_scan, channel, mask)
        add_mask(on_grid, channel, small)
        surviving = _surviving_dice(mask, small, placement)
        measured[channel] = _Measured(_runs(small), small.voxels, surviving, rim_shares(small))
    return on_grid, on_scan, measured


def _surviving_dice(mask: BoxedMask, small: BoxedMask, placement: Placement) -> float | None:
    """Return the Dice of a mask with itself after resampling to the grid and back; None if it is empty."""
    voxels = mask.voxels
    if voxels == 0:
        return None
    back = mask_from_grid(small, placement, mask.shape)
    return 2 * mask.overlap(back) / (voxels + back.voxels)


def _runs(mask: BoxedMask) -> tuple[tuple[int, int], ...]:
    """Return the runs `[first, past last]` of slices that contain any of the mask."""
    inside = np.pad(mask.inside.any(axis=(0, 1)).astype(np.int8), 1)
    edges = np.flatnonzero(np.diff(inside)) + mask.start[2]
    return tuple((int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True))


def _empty_array(name: str, shape: tuple[int, ...], dtype: Any = np.uint8) -> Any:
    """Make a compressed array of zeros in memory; compressed, a case's masks take a few MB."""
    ahead = [1] * (len(shape) - 3)
    return blosc2.zeros(
        shape,
        dtype,
        chunks=(*ahead, min(CHUNK_SLICES, shape[-3]), *shape[-2:]),
        blocks=(*ahead, 1, *shape[-2:]),
        cparams={**COMPRESSION[name], "nthreads": 1},
    )
