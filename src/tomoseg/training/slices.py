"""Reading training slices and blocks from the preprocessed dataset, in batches."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int16, UInt8
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from tomoseg.config import TrainConfig
from tomoseg.grid import AIR_HU
from tomoseg.interrupts import interrupts_blocked
from tomoseg.masks import packed_bytes, structure_mask
from tomoseg.networks.images import neighbours
from tomoseg.preprocessed.read import PreprocessedCase
from tomoseg.training.ranks import ALONE, Ranks
from tomoseg.training.sampling import Draw
from tomoseg.training.sides import Sides
from tomoseg.training.stacks import Stacks

Sample = tuple[Int16[np.ndarray, "s *xyz"], UInt8[np.ndarray, "b *xyz"]]


@dataclass(frozen=True)
class Batch:
    """A batch of slices or blocks: HU and packed masks, 17 bytes per voxel with 117 structures.

    Attributes:
        hu: `(n, s, x, y)` int16, each slice among its neighbours, or blocks `(n, 1, x, y, z)`.
        packed: `(n, ceil(C / 8), x, y[, z])` uint8.
        annotated: `(n, C)`, whether each structure is annotated in each sample's case.
        keys: Unique key of each draw; seeds its augmentation.
        positions_mm: `(n,)`, distance of each slice from the body's middle; None if the network does not have it as an
            input.
    """

    hu: Int16[Tensor, "n s *xyz"]
    packed: UInt8[Tensor, "n b *xyz"]
    annotated: Bool[Tensor, "n c"]
    keys: tuple[tuple[int, int, int], ...]
    positions_mm: Float[Tensor, "n"] | None = None

    def to(self, device: torch.device) -> Batch:
        """Move the batch to another device; copies from pinned memory are asynchronous."""
        return self._each(lambda part: part.to(device, non_blocking=True))

    def pin_memory(self) -> Batch:
        """Copy the batch to page-locked memory."""
        return self._each(lambda part: part.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        positions_mm = None if self.positions_mm is None else change(self.positions_mm)
        return Batch(change(self.hu), change(self.packed), change(self.annotated), self.keys, positions_mm)


class DrawnSlices(Dataset[Batch]):
    """Slices by draw, or the blocks around them, cropped or padded to one size.

    Args:
        cases: The cases that draws refer to.
        structures: Number of structures in the label set.
        size: Pixels along x and y of a slice, or voxels along x, y and z of a block.
        reach: Neighbours of each slice on either side.
        centred: Crop and pad around the middle instead of at random.
        sides: Mirroring of slices; if omitted, none.
        stacks: Shortening of slices; if omitted, none.
        placed: Include each slice's position.
    """

    def __init__(
        self,
        cases: Sequence[PreprocessedCase],
        structures: int,
        size: tuple[int, ...],
        reach: int = 0,
        centred: bool = False,
        sides: Sides | None = None,
        stacks: Stacks | None = None,
        placed: bool = False,
    ) -> None:
        self.cases = cases
        self.structures = structures
        self.size = size
        self.reach = reach
        self.centred = centred
        self.sides = sides
        self.stacks = stacks
        self.placed = placed

    def __getitem__(self, draw: Draw) -> Batch:
        case = self.cases[draw.case]
        annotated = np.zeros(self.structures, bool)
        annotated[list(case.record.annotated)] = True
        hu, packed = self._block(case, draw) if len(self.size) == 3 else self._slice(case, draw.slice)
        if self.stacks is not None:
            kept = self.stacks.kept(packed, case.grid_spacing_mm[1], draw.key, draw.structure)
            hu, packed = hu[:, :, kept], packed[:, :, kept]
        shown = packed if packed.ndim == 3 else case.masks_slice(draw.slice)
        into, out_of = self._place(hu.shape[1:], draw.key, self._held(shown, draw))
        framed_hu = np.full((len(hu), *self.size), AIR_HU, np.int16)
        framed_hu[:, *into] = hu[:, *out_of]
        framed = np.zeros((len(packed), *self.size), np.uint8)
        framed[:, *into] = packed[:, *out_of]
        position_mm = float(case.positions_mm[draw.slice]) if self.placed else 0.0
        if self.sides is not None and self.sides.drawn(draw.key):
            framed_hu, framed, annotated = self.sides.exchange(framed_hu, framed, annotated)
            position_mm = self.sides.position(position_mm)
        tensor_hu, tensor_packed, tensor_annotated = (torch.from_numpy(a)[None] for a in (framed_hu, framed, annotated))
        return Batch(tensor_hu, tensor_packed, tensor_annotated, (draw.key,), self._told([position_mm]))

    def _told(self, positions_mm: list[float]) -> Float[Tensor, "n"] | None:
        return torch.tensor(positions_mm, dtype=torch.float32) if self.placed else None

    def _slice(self, case: PreprocessedCase, k: int) -> Sample:
        near = [case.ct_slice(j) for j in neighbours(k, self.reach, case.slices)]
        return np.stack(near), case.masks_slice(k)

    def _block(self, case: PreprocessedCase, draw: Draw) -> Sample:
        """Read as many slices as the frame is deep, or all, with the drawn one at a random place among them."""
        depth = min(self.size[2], case.slices)
        lowest, highest = max(0, draw.slice - depth + 1), min(draw.slice, case.slices - depth)
        random = int(np.random.default_rng((*draw.key, 3)).integers(lowest, highest + 1))
        first = min(max(draw.slice - depth // 2, lowest), highest) if self.centred else random
        return case.ct_block(first, first + depth)[None], case.masks_block(first, first + depth)

    def _held(self, packed: UInt8[np.ndarray, "b x y"], draw: Draw) -> tuple[int, ...] | None:
        """Return a random pixel of the drawn structure, which the crop must contain; None if nothing is cropped."""
        fits = all(length <= frame for length, frame in zip(packed.shape[1:], self.size[:2], strict=True))
        if draw.structure is None or self.centred or fits:
            return None
        there = np.argwhere(structure_mask(packed, draw.structure))
        return tuple(there[np.random.default_rng((*draw.key, 4)).integers(len(there))].tolist())

    def _place(
        self, shape: tuple[int, ...], key: tuple[int, int, int], held: tuple[int, ...] | None = None
    ) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
        """Return the place in the frame, and the part of the slice that goes there."""
        rng = np.random.default_rng((*key, 1))
        into, out_of = [], []
        for axis, (length, frame) in enumerate(zip(shape, self.size, strict=True)):
            room = abs(length - frame)
            lowest, highest = 0, room
            if held is not None and axis < len(held) and length > frame:
                lowest, highest = max(0, held[axis] - frame + 1), min(held[axis], room)
            offset = room // 2 if self.centred else int(rng.integers(lowest, highest + 1))
            used = min(length, frame)
            padded = length < frame
            into.append(slice(offset, offset + used) if padded else slice(0, used))
            out_of.append(slice(0, used) if padded else slice(offset, offset + used))
        return tuple(into), tuple(out_of)

    def collate(self, slices: Sequence[Batch]) -> Batch:
        """Collate slices to a batch; none to a batch of air without annotations, which has no loss."""
        return collate(slices or [self._nothing()])

    def _nothing(self) -> Batch:
        planes = packed_bytes(self.structures)
        hu = torch.full((1, 2 * self.reach + 1, *self.size), AIR_HU, dtype=torch.int16)
        packed = torch.zeros((1, planes, *self.size), dtype=torch.uint8)
        return Batch(hu, packed, torch.zeros((1, self.structures), dtype=torch.bool), ((0, 0, 0),), self._told([0.0]))


def collate(slices: Sequence[Batch]) -> Batch:
    """Collate slices to a batch."""
    hu, packed, annotated = (torch.cat([getattr(s, name) for s in slices]) for name in ("hu", "packed", "annotated"))
    positions = [s.positions_mm for s in slices if s.positions_mm is not None]
    keys = tuple(key for s in slices for key in s.keys)
    return Batch(hu, packed, annotated, keys, torch.cat(positions) if positions else None)


class EpochLoader:
    """Loads batches epoch by epoch; worker processes persist, since starting one takes seconds.

    Args:
        slices: The dataset.
        config: Batch size, workers (no more than the machine has cores), prefetch and pinning.
        device: Device of the batches.
        ranks: The processes that share each batch.
    """

    def __init__(self, slices: DrawnSlices, config: TrainConfig, device: torch.device, ranks: Ranks = ALONE) -> None:
        self._batch_size, self._ranks = config.batch_size, ranks
        self._batches: list[Sequence[Draw]] = []
        workers = min(config.workers, os.cpu_count() or 1)
        self._loader = DataLoader(
            slices,
            batch_sampler=self._batches,  # type: ignore[arg-type]  # draws take the place of indices
            num_workers=workers,
            collate_fn=slices.collate,
            pin_memory=config.pin_memory and device.type == "cuda",
            prefetch_factor=config.prefetch_factor if workers else None,
            multiprocessing_context="spawn" if workers else None,
            persistent_workers=workers > 0,
            generator=torch.Generator(),  # else each pass would advance the global one, also when an epoch is resumed
        )

    def batches(self, draws: Sequence[Draw]) -> Iterator[Batch]:
        """Yield this process's share of each batch of the draws, in order; a last smaller batch is kept."""
        size = self._batch_size
        batches = [draws[first : first + size] for first in range(0, len(draws), size)]
        self._batches[:] = [self._ranks.share(batch) for batch in batches]
        with interrupts_blocked(signal.SIGTERM):  # for the processes that read, which the first pass starts
            read = iter(self._loader)
        yield from read


def windowed(
    images: Float[Tensor, "n k *xyz"], windows_hu: tuple[tuple[float, float], ...]
) -> Float[Tensor, "n c *xyz"]:
    """Map HU windows to 0..1: all channels in the first window, then in the next."""
    return torch.cat([((images - low) / (high - low)).clamp_(0, 1) for low, high in windows_hu], dim=1)
