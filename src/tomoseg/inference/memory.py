"""How much memory a prediction may take, and has taken."""

from __future__ import annotations

import ctypes
import sys
from contextlib import suppress
from pathlib import Path

import psutil

from tomoseg.errors import InputError
from tomoseg.network_kinds import NetworkConfig
from tomoseg.nnunet import NnunetNetwork


def batch_that_fits(limit: int, result: int, each: int, most: int) -> int:
    """How many slices may be in one forward pass.

    Args:
        limit: Bytes that the process may take.
        result: Bytes that the result will take, and what else does not grow with the batch.
        each: Bytes of a slice in a batch.
        most: The largest batch asked for.

    Raises:
        InputError: If not even one slice fits.
    """
    taken = psutil.Process().memory_info().rss
    batch = (limit - taken - result) // each
    if batch < 1:
        raise InputError(
            f"expected a scan that fits into {limit / 1e9:.2f} GB, got one that needs "
            f"{(taken + result + each) / 1e9:.2f} GB; raise --max-memory"
        )
    return int(min(batch, most))


OPENED = 3
"""What an open network takes at most, beside its weights' file: weights read, and packed for the processor."""


def may_stay_open(weights: int, limit: int | None) -> bool:
    """Whether several networks may be open at once, so that they need not be opened anew for each scan.

    They may if a quarter of the memory that is free holds them, and nobody said how much may be taken.

    Args:
        weights: Bytes of all their weights.
        limit: Bytes that the process may take; None for any.
    """
    return limit is None and OPENED * weights <= psutil.virtual_memory().available // 4


def activation_bytes(network: NetworkConfig | NnunetNetwork) -> int:
    """What a network's feature maps take at most for a pixel of a slice, in fp32, as its kind's record says."""
    if isinstance(network, NnunetNetwork):  # as of a U-Net: at most nine widths of the first stage at once
        return 4 * 9 * network.channels[0]
    return network.record.activation_bytes(network)


def give_back() -> None:
    """Give memory that was freed back to the system, where the C library keeps it for later."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # a C library without it
            ctypes.CDLL(None).malloc_trim(0)


def peak_memory_bytes() -> int:
    """The most memory that this process has had so far, resident."""
    on_windows = getattr(psutil.Process().memory_info(), "peak_wset", None)
    if on_windows is not None:
        return int(on_windows)
    status = Path("/proc/self/status")
    if status.exists():  # on Linux `getrusage` starts from what the parent process had
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
