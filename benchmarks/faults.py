"""Commands hit by faults at random points: nothing half-written, nothing of the user's lost, the same command goes on.

    python benchmarks/faults.py --points 200                       # hours
    python benchmarks/faults.py --points 10 --commands predict train --faults kill disk-full
    python benchmarks/faults.py --again predict/kill/0/17          # one point, with all that it printed

Each point is a real process group: a command of a few seconds on small inputs, hit at a moment (or with a limit) that
its seed decides. Then: every visible file can be read whole; inputs and files of the user's are as they were; a command
that ended by itself said why, in one line; the same command again ends well, and what it leaves is what an undisturbed
run leaves, byte for byte but for what two undisturbed runs differ in (times, memory). This process loads what is slow
to load and forks, so that a point takes as long as its command. It needs Linux, a C compiler, and for two faults the
right to mount (without it they are left out, and named).
"""

from __future__ import annotations

import argparse
import ctypes
import importlib
import mmap
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from fault_kinds import FAULTS, ON_A_DISK, Before, Command, Point, small_disk
from fault_results import damaged, digest_of, is_aside, state_of
from fault_runs import Control, Place, port_is_free, start

PROJECT = Path(__file__).resolve().parents[1]
SMALL_OF_USERS = "notes of the user.txt"

COMMANDS = (
    Command(
        "preprocess",
        lambda p: ["preprocess", f"{p.work}/dataset", "-o", str(p.out), "--grid.spacing-mm", "8", "--workers", "1"],
        ("dataset",),
    ),
    Command(
        "train",
        lambda p: ["train", f"{p.work}/small", "-o", str(p.out), "--config", f"{p.work}/train.yaml"],
        ("small", "train.yaml"),
    ),
    Command(
        "predict",
        lambda p: [
            *("predict", "-i", f"{p.work}/scans", "-o", str(p.out), "-m", f"{p.work}/run"),
            *("--engine", "torch", "--device", "cpu", "--precision", "fp32", "--statistics"),
        ],
        ("scans", "run"),
    ),
    Command(
        "tune",
        lambda p: ["tune", str(p.out), f"{p.work}/many", "--engine", "torch", "--device", "cpu"],
        ("many",),
        before="run",
    ),
    Command("export", lambda p: ["export", str(p.out), "--to", "openvino"], (), before="run"),
    Command(
        "import",
        lambda p: ["import", f"{p.work}/nnunet/nnUNetTrainer__nnUNetPlans__3d_fullres", "-o", str(p.out)],
        ("nnunet",),
        takes_files_beside=False,
        refuses_what_is_there="expected a new or empty folder",
    ),
    Command(
        "download",
        lambda p: ["download", "--url", f"http://127.0.0.1:{p.port}/files/scans.zip", "-o", str(p.out)],
        (),
    ),
    Command(
        "serve",
        lambda p: [
            *("serve", "--model", f"{p.work}/run", "-o", f"{p.disk}/served", "--port", str(p.own_port)),
            *("--engine", "torch", "--device", "cpu", "and"),
            *("predict", "--server", f"http://127.0.0.1:{p.own_port}", "-i", f"{p.work}/scans", "-o", str(p.out)),
            *("-m", "run", "--ml"),
        ],
        ("scans", "run"),
        takes_files_beside=False,
    ),
)


def users_of(command: Command, place: Path, out: Path) -> dict[Path, bytes]:
    """Return the contents of the user's own files, by path: next to the output and in it."""
    texts = {out.parent / SMALL_OF_USERS: b"mine"}
    if command.takes_files_beside:
        texts |= {out / SMALL_OF_USERS: b"mine too", out / "my masks" / "liver.nii.gz": b"not a mask, but mine"}
    return texts


def set_out(command: Command, place: Place) -> None:
    """Set up the output as it is before the command."""
    for folder in (place.out, place.disk / "served"):
        shutil.rmtree(folder, ignore_errors=True)
    if command.before is not None:
        shutil.copytree(place.work / command.before, place.out)
    for path, content in users_of(command, place.work, place.out).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def theirs_only(found: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in found.items() if not key.startswith((SMALL_OF_USERS, "my masks"))}


def undisturbed(command: Command, place: Place) -> Before:
    """Run it three times: one warms caches, two are compared.

    Raises:
        SystemExit: If it does not end well.
    """
    states, seconds, most = [], [], 0
    calls = (place.control.renames, place.control.flushes)
    for number in range(3):
        set_out(command, place)
        for kind in calls:
            kind.fail(0, 0, 0)
        began = time.monotonic()
        run = start(command.words(place), place.work / "log.txt")
        first = None
        while not run.poll():
            with suppress(psutil.Error):
                for one in run.processes():  # of a server and its client, the largest
                    taken = one.memory_info().vms
                    first = first or taken
                    most = max(most, taken - first)
            time.sleep(0.02)
        seconds.append(time.monotonic() - began)
        if run.status != 0:
            raise SystemExit(f"{command.name} ends with {run.status} undisturbed:\n{run.log.read_text()}")
        if number:
            states.append(theirs_only(state_of(place.out)))
    one, two = states
    loose = {key for key in one.keys() | two.keys() if one.get(key) != two.get(key)}
    size = sum(file.stat().st_size for file in place.out.rglob("*") if file.is_file())
    return Before(min(seconds), size, one, loose, most, *(kind.calls for kind in calls))


def at_point(command: Command, fault: str, before: Before, place: Place, seed: str) -> tuple[list[str], list[str]]:
    """Hit a command, look, run it again, and compare: what went wrong, and what is left over."""
    point = Point(command, before, place, random.Random(seed))
    if fault not in ON_A_DISK:
        return _hit(point, fault)
    with small_disk(point, 1 << 30):
        return _hit(point, fault)


def _hit(point: Point, fault: str) -> tuple[list[str], list[str]]:
    command, place = point.command, point.place
    set_out(command, place)
    inputs = [place.work / name for name in command.inputs]
    known = digest_of(inputs)
    FAULTS[fault](point)
    told = point.told
    if not port_is_free(place.own_port):
        told.append("its server did not end")
    told += [f"half-written: {name}" for name in damaged(place.out) if not name.startswith("my masks")]
    _check_theirs(point, told)
    again = start(command.words(place), place.work / "again.txt")
    if not again.wait():
        told.append("the same command again did not end")
    refusal = command.refuses_what_is_there  # then what is there is compared, as always
    if again.status != 0 and (refusal is None or refusal not in again.log.read_text(errors="replace")):
        lines = again.log.read_text(errors="replace").strip().splitlines() or ["nothing"]
        told.append(f"the same command again ends with {again.status}: {lines[-1][:300]}")
    told += _differences(point.before, theirs_only(state_of(place.out)))
    _check_theirs(point, told)
    if digest_of(inputs) != known:
        told.append("inputs are not as they were")
    left = [str(p.relative_to(place.out)) for p in place.out.rglob("*") if is_aside(p.name) and p.name != ".work"]
    return told, left


def _check_theirs(point: Point, told: list[str]) -> None:
    for path, content in users_of(point.command, point.place.work, point.place.out).items():
        if not path.is_file() or path.read_bytes() != content:
            told.append(f"a file of the user's is gone or changed: {path.name}")


def _differences(before: Before, after: dict[str, str]) -> list[str]:
    keys = sorted(k for k in before.left.keys() | after.keys() if before.left.get(k) != after.get(k))
    keys = [key for key in keys if key not in before.loose]
    return [f"{len(keys)} differ from an undisturbed run: {', '.join(keys[:4])}"] if keys else []


def make_inputs(place: Place) -> None:
    """Small inputs of all commands.

    Raises:
        SystemExit: If no model can be trained.
    """
    import numpy as np

    from tests.example_files import GRID, body, write_example_files
    from tests.nnunet_files import write_training
    from tests.training.tiny import make_dataset, make_scan
    from tomoseg.files.nifti import write_nifti
    from tomoseg.volume import SourceGrid

    write_example_files(place.work)
    (place.work / "DATASET").rename(place.work / "dataset")
    (place.work / "small").mkdir()
    make_dataset(place.work / "small")
    few = {"a": "train", **{f"v{number}": "validation" for number in range(6)}}
    (place.work / "many").mkdir()
    make_dataset(place.work / "many", splits=few)
    (place.work / "scans").mkdir()
    for seed in range(3):
        hu = make_scan(seed)[0]
        write_nifti(place.work / "scans" / f"scan{seed}.nii.gz", hu, SourceGrid(hu.shape, np.eye(4)))
    (place.work / "train.yaml").write_text(
        "network: {channels: [8, 16]}\nsampling: {slices_per_case: 4}\nbatch_size: 4\nepochs: 4\nvalidate_every: 1\n"
        "precision: fp32\nworkers: 0\ndevice: cpu\nexport: false\n"
    )
    write_training(place.work / "nnunet")
    with zipfile.ZipFile(place.work / "data.zip", "w") as archive:
        for seed in range(3):
            hu, masks = body(seed)
            for name, values in {"ct": hu, **{f"segmentations/{k}": v for k, v in masks.items()}}.items():
                write_nifti(place.work / "one.nii.gz", values, GRID)
                archive.writestr(f"s{seed:04d}/{name}.nii.gz", (place.work / "one.nii.gz").read_bytes())
    run = start(
        ["train", f"{place.work}/small", "-o", f"{place.work}/run", "--config", f"{place.work}/train.yaml"],
        place.work / "log.txt",
    )
    if not run.wait() or run.status:
        raise SystemExit(f"no model was trained:\n{run.log.read_text()}")


@contextmanager
def archive_served(place: Place) -> Iterator[None]:
    """Serve the archive from another process, with ranges, over some tenths of a second."""
    from tests.datasets.download.server import FileServer, serving

    class Slow(FileServer):
        def piece(self, start: int, end: int) -> bytes:
            time.sleep(0.3)
            return super().piece(start, end)

    from_child, to_parent = os.pipe()
    pid = os.fork()
    if pid == 0:
        with serving(Slow((place.work / "data.zip").read_bytes())) as server:
            os.write(to_parent, server.url.split("/")[2].split(":")[1].encode())
            signal.pause()
    place.port = int(os.read(from_child, 10))
    try:
        yield
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@dataclass
class Row:
    """Results of a command and a fault."""

    command: str
    fault: str
    points: int = 0
    failed: list[int] = field(default_factory=list)
    left: int = 0
    said: str = ""

    def __str__(self) -> str:
        survived = self.points - len(self.failed)
        cells = (
            self.command,
            self.fault,
            self.points,
            survived,
            self.said or " ".join(map(str, self.failed)),
            self.left,
        )
        return f"| {' | '.join(map(str, cells))} |"


def campaign(place: Place, chosen: argparse.Namespace) -> int:
    """Test commands, print the results and a table, and return the number of failed points."""
    print(f"seed {chosen.seed}, {machine()}", flush=True)
    until, rows = time.monotonic() + chosen.seconds, list[Row]()
    for command in (one for one in COMMANDS if one.name in chosen.commands):
        before = undisturbed(command, place)
        print(
            f"{command.name}: {before.seconds:.2f} s, {before.bytes} bytes, {len(before.loose)} values vary", flush=True
        )
        for fault in chosen.faults:
            row = Row(command.name, fault)
            rows.append(row)
            if fault in ON_A_DISK and not place.can_mount:
                row.said = "left out: nothing can be mounted here"
            elif fault != "changed-input" or command.inputs:
                hit_often(command, before, place, row, chosen, until)
    print("\n| command | fault | points | survived | failed | with files left over |\n|---|---|---|---|---|---|")
    print("\n".join(str(row) for row in rows if row.points or row.said))
    return sum(len(row.failed) for row in rows)


def hit_often(
    command: Command, before: Before, place: Place, row: Row, chosen: argparse.Namespace, until: float
) -> None:
    """Test all points of a command and a fault, within the time limit."""
    for number in chosen.numbers:
        if time.monotonic() > until:
            return
        name = f"{command.name}/{row.fault}/{chosen.seed}/{number}"
        told, over = at_point(command, row.fault, before, place, name)
        row.points += 1
        row.left += bool(over)
        if told:
            row.failed.append(number)
            print(f"  {name}: {'; '.join(told)}", flush=True)
        if chosen.again:
            print(*(f"--- {log.name}\n{log.read_text()}" for log in sorted(place.work.glob("*.txt"))))
            print("left over:", over, "\nvary:", *sorted(before.loose), sep="\n")
    print(f"{command.name}, {row.fault}: {row.points - len(row.failed)} of {row.points}", flush=True)


def machine() -> str:
    import platform

    from tomoseg.version import __version__

    return f"tomoseg {__version__}, Python {platform.python_version()}, {os.cpu_count()} cores, {platform.platform()}"


def with_library(words: list[str]) -> None:
    """Start this script anew with `faults.c` in all of its processes."""
    if os.environ.get("FAULTS_CONTROL"):
        return
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    library = folder / "faults.so"
    source = PROJECT / "benchmarks" / "faults.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    control = folder / "control"
    control.write_bytes(bytes(ctypes.sizeof(Control)))
    settings = {
        "FAULTS_CONTROL": str(control),
        "LD_PRELOAD": str(library),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_DATA_HOME": str(folder / "data"),
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "src"), os.environ.get("PYTHONPATH", "")]),
    }
    os.execve(sys.executable, [sys.executable, *words], os.environ | settings)


def opened(folder: Path) -> Place:
    with (folder / "control").open("r+b") as file:
        shared = mmap.mmap(file.fileno(), ctypes.sizeof(Control))
    work = folder / "work"
    (work / "disk").mkdir(parents=True)
    tried = subprocess.run(["mount", "-t", "tmpfs", "tmpfs", f"{work}/disk"], capture_output=True, check=False)
    if tried.returncode == 0:
        subprocess.run(["umount", f"{work}/disk"], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        own_port = free.getsockname()[1]
    return Place(work, Control.from_buffer(shared), tried.returncode == 0, own_port=own_port)


def load_all() -> None:
    """Import the modules that commands need, before forking."""
    for name in ("evaluate", "export", "import_model", "predict", "preprocess", "train", "tune", "download"):
        importlib.import_module(f"tomoseg.workflows.{name}")
    importlib.import_module("torch").set_num_threads(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200, help="of each command and fault")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--commands", nargs="+", default=[one.name for one in COMMANDS])
    parser.add_argument("--faults", nargs="+", default=list(FAULTS))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after the point at which it is over")
    parser.add_argument("--again", help="one point, COMMAND/FAULT/SEED/NUMBER, as a failure is printed")
    chosen = parser.parse_args()
    with_library(sys.argv)
    chosen.numbers = range(chosen.points)
    if chosen.again:
        command, fault, chosen.seed, number = chosen.again.split("/")
        chosen.commands, chosen.faults, chosen.numbers = [command], [fault], [int(number)]
    folder = Path(os.environ["FAULTS_CONTROL"]).parent
    place = opened(folder)
    load_all()
    make_inputs(place)
    try:
        with archive_served(place):
            raise SystemExit(1 if campaign(place, chosen) else 0)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
