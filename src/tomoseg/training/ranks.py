"""Several processes that train one network together, on one machine or on many.

`torchrun` starts them and says in the environment who is who; without it there is one. gloo carries what is exchanged
between CPUs, NCCL between GPUs.
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
    """This process among those that train together.

    Attributes:
        rank: Its number, from 0; 0 writes and speaks.
        count: How many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and speaks."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """This process's run of the items; together the processes have all of them, in order.

        Example:
            >>> [list(Ranks(rank, 2).share([1, 2, 3])) for rank in (0, 1)]
            [[1, 2], [3]]
        """
        first, end = (-(-rank * len(items) // self.count) for rank in (self.rank, self.rank + 1))
        return items[first:end]

    def sum(self, tensor: Tensor) -> Tensor:
        """The tensor, summed in place over all processes."""
        if self.count > 1:
            distributed.all_reduce(tensor)
        return tensor

    def all_gather_values(self, values: Sequence[float], device: torch.device) -> Float[Tensor, "ranks values"]:
        """The values of all processes, a row each, in the memory of the CPU."""
        own = torch.tensor([values], dtype=torch.float64)
        if self.count == 1:  # an Apple GPU, which has no 64 bits, is alone
            return own
        rows = torch.zeros((self.count, len(values)), dtype=torch.float64, device=device)
        rows[self.rank] = own[0]
        return self.sum(rows).cpu()

    def gather(self, item: Item) -> list[Item]:
        """The items of all processes, in their order."""
        items: list[Item] = [item] * self.count
        if self.count > 1:
            distributed.all_gather_object(items, item)
        return items

    def first(self, item: Item) -> Item:
        """The item of the first process."""
        items = [item]
        if self.count > 1:
            distributed.broadcast_object_list(items)
        return items[0]


ALONE = Ranks()
"""One process."""


@contextmanager
def launched_ranks(*, on_gpu: bool) -> Iterator[Ranks]:
    """The processes that `torchrun` has started; one if it has not.

    Args:
        on_gpu: Whether they train on GPUs, one each.

    Raises:
        TrainingError: If another process is lost.
        RuntimeError: What the block raises otherwise.
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
                f"expected all processes to train, got: {str(error).splitlines()[0]}; "
                "the same command goes on from the last saved state"
            ) from error
        raise
    finally:
        distributed.destroy_process_group()


def local_rank() -> int:
    """This process's number on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))
