"""Whether half precision, or int8, pays on this machine: measured once for each way of computing, then known.

That a processor has the instructions does not say so: what bf16 gains differs between processors with AVX-512 alone
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
"""How much faster a lower precision must be to be worth its rounding."""

ROUNDS = 5

MEASURED = Cache("precision")


def half_pays(way: str, plain: Callable[[], object], half: Callable[[], object]) -> bool:
    """Whether a lower precision is so much faster here; measured where it is not known yet.

    Args:
        way: What computes, with its version: measured anew where that changes.
        plain: Computes something in fp32 on one thread, in some milliseconds.
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
    """How many times as fast the second is as the first, each at its best.

    The time is the processor's: other programs slow that down by little, and what is kept has to be right.

    Args:
        plain: In fp32; the first call of each warms up.
        half: In the lower precision.
        clock: Tells seconds.
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
    """What this machine's processor is and can do; a name alone may stand for several."""
    names = Path("/proc/cpuinfo")
    if not names.is_file():
        return f"{platform.machine()} {platform.processor()}"
    told = ("vendor_id", "cpu family", "model", "model name", "flags", "Features", "CPU part")
    first = names.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    return "\n".join(line for line in first.splitlines() if line.split(":")[0].strip() in told)
