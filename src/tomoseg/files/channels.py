"""Masks as the channels of one file with four axes of 0 and 1 (one-hot), which may overlap.

The channels are the last axis of a NIfTI file, the first or the last of NRRD and MetaImage. Names come from elsewhere,
in the order of the channels; if there is one channel more than names, the first is the background.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from tomoseg.errors import InputError, LabelError, TomosegError
from tomoseg.files import nifti
from tomoseg.files.itk.layered import Layered
from tomoseg.files.itk.metaimage import SUFFIXES as META_SUFFIXES
from tomoseg.files.itk.metaimage import layers_of_metaimage
from tomoseg.files.itk.nrrd import MAGIC as NRRD_MAGIC
from tomoseg.files.itk.read_seg_nrrd import grid_of, layers_of_nrrd
from tomoseg.files.segments import Mask, Segments
from tomoseg.volume import SourceGrid


def count_channels(path: Path) -> int:
    """Return the number of volumes in a NIfTI, NRRD or MetaImage file; 1 if it cannot be read."""
    try:
        layers = _layers(path)
        return nifti.count_volumes(path) if layers is None else layers.count
    except TomosegError:
        return 1


def channel_names(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Return the structures of a file's channels, without the background; numbered if they have no names.

    Args:
        path: The file.
        names: Names in the order of the channels; empty if there are none.

    Returns:
        One name per structure; empty for a file of one volume.

    Raises:
        LabelError: If there are neither as many channels as names, nor one more.

    Example:
        >>> channel_names(Path("map.nii.gz"), ["spleen", "liver"])
        ()
    """
    count = count_channels(path)
    if count == 1:
        return ()
    if names and count - len(names) not in {0, 1}:
        raise LabelError(
            f"{path}: expected as many channels as the {len(names)} names, or one more with the background first, got "
            f"{count}; correct the names"
        )
    return tuple(names) or tuple(f"structure_{number}" for number in range(1, count + 1))


def read_channels(path: Path, names: Sequence[str]) -> Segments:
    """Open a file of several masks; its voxels are read when the first mask is requested.

    Args:
        path: The file.
        names: Names from `channel_names`.

    Raises:
        InputError: If it cannot be read; when a mask is requested, if it holds values other than 0 and 1.
        GridError: If its geometry is unknown, or cannot be used.
        LabelError: When a mask is requested, if a structure overlaps the background.
    """
    file = _File(path, names)
    return Segments(str(path), tuple(names), file.grid, file.mask)


class _File:
    """A file whose masks are kept in memory with one bit per voxel once they have been read."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self.names = path, names
        self.layers = _layers(path)
        self.grid: SourceGrid = (
            nifti.read_masks_of_volumes(path)[0] if self.layers is None else grid_of(self.layers, str(path))
        )

    def mask(self, structure: str) -> Mask:
        packed = self._packed[self.names.index(structure)]
        flat = np.unpackbits(packed, count=int(np.prod(self.grid.canonical_shape)))
        return flat.view(bool).reshape(self.grid.canonical_shape)

    @cached_property
    def _packed(self) -> list[UInt8[np.ndarray, "b"]]:
        masks = self._masks()
        try:
            packed = [np.packbits(mask) for mask in masks]
        except MemoryError:
            raise InputError(f"{self.path}: expected masks that fit in memory, got more; crop them") from None
        if len(packed) == len(self.names):
            return packed
        background, *structures = packed
        for name, one in zip(self.names, structures, strict=True):
            if (background & one).any():
                raise LabelError(
                    f"{self.path}: expected the background as the first of {len(packed)} channels for "
                    f"{len(self.names)} names, got one that {name} overlaps; name all channels"
                )
        return structures

    def _masks(self) -> Iterator[Bool[np.ndarray, "x y z"]]:
        if self.layers is None:
            yield from nifti.read_masks_of_volumes(self.path)[1]
            return
        for values in self.layers.read(self.path):
            if values.max() > 1:
                found = ", ".join(map(str, np.unique(values)[:6]))
                raise InputError(f"{self.path}: expected only 0 and 1 in each channel, got {found}; export it again")
            yield self.grid.to_canonical(values.astype(bool))


def _layers(path: Path) -> Layered | None:
    """Return the layers of an NRRD or MetaImage file; None for any other file, which is taken for NIfTI.

    Raises:
        InputError: If it cannot be read.
        GridError: If its geometry is unknown.
    """
    try:
        with path.open("rb") as stream:
            is_nrrd = stream.read(len(NRRD_MAGIC)) == NRRD_MAGIC
    except OSError:
        return None  # reading it raises the error
    if is_nrrd:
        return layers_of_nrrd(path)
    return layers_of_metaimage(path) if path.name.lower().endswith(META_SUFFIXES) else None
