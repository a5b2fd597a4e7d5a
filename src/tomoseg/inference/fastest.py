"""Measurement of whether half precision or int8 is faster on this machine, once for each way of computing.

Having the instructions is not enough: the gain of bf16 differs between processors that have AVX-512 alike
(benchmarks/notebook.md).
"""

from __future__ import annotations

import hashlib
import platform
import time
from collections.abc import Callable
from pathlib import Path

from tomoseg.cache import Cache

LEAST_GAIN = 1.15
"""Least speedup of a lower precision that justifies its rounding."""

ROUNDS = 5

MEASURED = Cache("precision")


def half_pays(way: str, plain: Callable[[], object], half: Callable[[], object]) -> bool:
    """Return True if a lower precision is at least `LEAST_GAIN` times as fast; measured once and cached.

    Args:
        way: Library and version that compute; a change causes a new measurement.
        plain: A computation in fp32 on one thread, of some milliseconds.
        half: The same in the lower precision.
    """
    key = hashlib.sha256(f"{way} {_processor()}".encode()).hexdigest()
    known = MEASURED.get(key)
    gain = gain_of(plain, half) if known is None else float(known)
    if known is None:
        MEASURED.put(key, f"{gain:.3f}".encode())
    return gain >= LEAST_GAIN


def gain_of(
    plain: Callable[[], object], half: Callable[[], object], clock: Callable[[], float] = time.process_time
) -> float:
    """Return the speedup of the second computation over the first, each at its fastest.

    CPU time is measured, which other programs hardly affect: the result is cached for good.

    Args:
        plain: The computation in fp32; the first call of each warms up.
        half: The same in the lower precision.
        clock: Returns seconds.
    """
    best = []
    for run in (plain, half):
        run()
    for run in (plain, half) * ROUNDS:
        began = clock()
        run()
        best.append(clock() - began)
    return min(best[::2]) / min(best[1::2])


def _processor() -> str:
    """Return the processor's model and features; a name alone may stand for several processors."""
    names = Path("/proc/cpuinfo")
    if not names.is_file():
        return f"{platform.machine()} {platform.processor()}"
    told = ("vendor_id", "cpu family", "model", "model name", "flags", "Features", "CPU part")
    first = names.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    return "\n".join(line for line in first.splitlines() if line.split(":")[0].strip() in told)
