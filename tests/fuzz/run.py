"""Coverage-guided fuzzing of the readers: each runs for some seconds in a process of its own (`make fuzz`).

    python -m tests.fuzz.run --seconds 600 nifti dicom

What was tried and reached is kept in `.fuzz/READER`, so that a later run goes on from there. An input that breaks a
promise is kept as `.fuzz/READER-crash-...`, and the exit status is 1; `--again FILE` tries it once more.
"""

import argparse
import os
import re
import resource
import subprocess
import sys
import time
import zlib
from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
KEPT = PROJECT / ".fuzz"
READERS = ("nifti", "nrrd", "mha", "dicom", "zip")

SECONDS_AN_INPUT = 10
LARGEST_INPUT_BYTES = 16 << 10
LARGEST_PROCESS_MIB = 3000
TRACED = 8
"""Memory is measured for one in so many inputs; the limit of the process holds for all."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(READERS)}; all without one")
    parser.add_argument("--seconds", type=float, default=25, help="for all readers together")
    parser.add_argument("--seed", type=int, default=1, help="of the first inputs that are tried; 0 draws one")
    parser.add_argument("--again", type=Path, help="an input to be tried once, with a single READER")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    readers = chosen.readers or list(READERS)
    if unknown := set(readers) - set(READERS):
        parser.error(f"expected readers of {', '.join(READERS)}, got {', '.join(unknown)}")
    if chosen.inside:
        _fuzz(readers[0], chosen.seconds, chosen.seed)
    if chosen.again:
        return _again(readers[0], chosen.again)
    if find_spec("atheris") is None:
        print("expected atheris, which has builds for Linux on x86-64 alone, found none; nothing was tried")
        return 0
    return max(_in_process(reader, chosen.seconds / len(readers), chosen.seed) for reader in readers)


def _again(reader: str, path: Path) -> int:
    from tests.fuzz.promises import check, sandbox

    with sandbox() as folder:
        print("read" if check(reader, path.read_bytes(), folder) else "refused")
    return 0


def _in_process(reader: str, seconds: float, seed: int) -> int:
    """Fuzz one reader in a process of its own, which a crash ends, and print one line about it."""
    budget = ["--seconds", f"{seconds:.0f}", "--seed", str(seed)]
    command = [sys.executable, "-m", "tests.fuzz.run", reader, "--inside", *budget]
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    alone = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # matrices of 3 x 3 gain nothing by more
    ended = subprocess.run(command, cwd=PROJECT, env=alone, capture_output=True, text=True, errors="replace")
    took = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    log = ended.stderr
    runs = re.findall(r"Done (\d+) runs|^#(\d+)", log, re.M)
    reached = re.findall(r"cov: (\d+)", log)
    done = next((max(found) for found in reversed(runs)), "0")
    spent = f"{took:5.0f} s ({used:.0f} s of processor time)"
    print(f"{reader:6} {int(done):9,} inputs in {spent}, {reached[-1] if reached else 0} branches reached", end="")
    if ended.returncode == 0:
        print("; every promise kept", flush=True)
        return 0
    kept = re.findall(r"written to (\S+)", log)
    print(f"; BROKEN, exit status {ended.returncode}: {' '.join(kept)}", flush=True)
    print(ended.stdout[-4000:] or log[-4000:])
    return 1


def _fuzz(reader: str, seconds: float, seed: int) -> None:
    """Never returns."""
    import atheris

    with atheris.instrument_imports(include=["tomoseg.files", "pydicom", "zipfile"]):
        from tests.fuzz.promises import check, sandbox
    from tests.fuzz.seeds import real_seeds, seeds

    corpus = KEPT / reader
    corpus.mkdir(parents=True, exist_ok=True)
    data = Path(os.environ.get("TOMOSEG_TEST_DATA") or PROJECT.parent / "shared" / "data")
    for name, content in (seeds(reader) | real_seeds(reader, data)).items():
        (corpus / f"seed-{name}").write_bytes(content)
    resource.setrlimit(resource.RLIMIT_AS, (LARGEST_PROCESS_MIB << 20, LARGEST_PROCESS_MIB << 20))
    with sandbox() as folder:
        options = {
            "max_total_time": f"{seconds:.0f}",
            "seed": seed,
            "timeout": SECONDS_AN_INPUT,
            "max_len": LARGEST_INPUT_BYTES,
            "rss_limit_mb": LARGEST_PROCESS_MIB,
            "artifact_prefix": KEPT / f"{reader}-",
            "print_final_stats": 1,
        }
        flags = [f"-{name}={value}" for name, value in options.items()]

        def try_one(given: bytes) -> None:
            check(reader, given, folder, traced=zlib.crc32(given) % TRACED == 0)

        atheris.Setup([sys.argv[0], *flags, str(corpus)], try_one)
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
