"""Memory budget and use of a prediction."""

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
    """Return the number of slices that fit into one forward pass.

    Args:
        limit: Bytes that the process may take.
        result: Bytes of the result, and of everything else that does not grow with the batch.
        each: Bytes per slice in a batch.
        most: Largest batch.

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
"""Upper bound of an open network's memory relative to its weights' file: weights as read, and as packed."""


def may_stay_open(weights: int, limit: int | None) -> bool:
    """Return True if several networks may stay open between scans.

    They may if they fit into a quarter of the available memory, and no limit is given.

    Args:
        weights: Bytes of all their weights.
        limit: Bytes that the process may take; None for no limit.
    """
    return limit is None and OPENED * weights <= psutil.virtual_memory().available // 4


def activation_bytes(network: NetworkConfig | NnunetNetwork) -> int:
    """Return the upper bound of a network's feature maps in bytes per pixel of a slice, in fp32."""
    if isinstance(network, NnunetNetwork):  # as for a U-Net: at most nine maps of the first stage's width at once
        return 4 * 9 * network.channels[0]
    return network.record.activation_bytes(network)


def give_back() -> None:
    """Return freed memory to the system, where the C library keeps it (glibc)."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # a C library without it
            ctypes.CDLL(None).malloc_trim(0)


def peak_memory_bytes() -> int:
    """Return the peak resident memory of this process so far, in bytes."""
    on_windows = getattr(psutil.Process().memory_info(), "peak_wset", None)
    if on_windows is not None:
        return int(on_windows)
    status = Path("/proc/self/status")
    if status.exists():  # on Linux `getrusage` includes the parent process before exec
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
