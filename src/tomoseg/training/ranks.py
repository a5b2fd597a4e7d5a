"""Distributed training of one network by several processes, on one machine or many.

`torchrun` starts them and sets their ranks in the environment; without it there is one process. The backend is gloo
on CPUs and NCCL on GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from tomoseg.errors import TrainingError

Item = TypeVar("Item")


@dataclass(frozen=True)
class Ranks:
    """Rank of this process among those that train together.

    Attributes:
        rank: Its rank, from 0; rank 0 writes files and messages.
        count: Number of processes.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and messages."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this process's consecutive share of the items.

        Example:
            >>> [list(Ranks(rank, 2).share([1, 2, 3])) for rank in (0, 1)]
            [[1, 2], [3]]
        """
        first, end = (-(-rank * len(items) // self.count) for rank in (self.rank, self.rank + 1))
        return items[first:end]

    def sum(self, tensor: Tensor) -> Tensor:
        """Sum a tensor over all processes, in place, and return it."""
        if self.count > 1:
            distributed.all_reduce(tensor)
        return tensor

    def all_gather_values(self, values: Sequence[float], device: torch.device) -> Float[Tensor, "ranks values"]:
        """Return the values of all processes, one row each, in CPU memory."""
        own = torch.tensor([values], dtype=torch.float64)
        if self.count == 1:  # also avoids float64 on an Apple GPU
            return own
        rows = torch.zeros((self.count, len(values)), dtype=torch.float64, device=device)
        rows[self.rank] = own[0]
        return self.sum(rows).cpu()

    def gather(self, item: Item) -> list[Item]:
        """Return the items of all processes, by rank."""
        items: list[Item] = [item] * self.count
        if self.count > 1:
            distributed.all_gather_object(items, item)
        return items

    def first(self, item: Item) -> Item:
        """Return the item of the first process."""
        items = [item]
        if self.count > 1:
            distributed.broadcast_object_list(items)
        return items[0]


ALONE = Ranks()
"""One process."""


@contextmanager
def launched_ranks(*, on_gpu: bool) -> Iterator[Ranks]:
    """Join the processes that `torchrun` started, if it did, for the block.

    Args:
        on_gpu: Whether they train on GPUs, one each.

    Raises:
        TrainingError: If another process is lost.
        RuntimeError: Any other that the block raises.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    if on_gpu:
        torch.cuda.set_device(local_rank())
    distributed.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    except RuntimeError as error:
        if isinstance(error, distributed.DistError) or "peer" in str(error):
            raise TrainingError(
                f"expected all processes to train, got: {str(error).splitlines()[0]}; run the same command "
                "again to continue from the last saved state"
            ) from error
        raise
    finally:
        distributed.destroy_process_group()


def local_rank() -> int:
    """Return this process's rank on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))
