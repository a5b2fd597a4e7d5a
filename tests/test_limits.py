import errno
import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest

from tomoseg.cli import COMMANDS, main
from tomoseg.limits import LEAST_BYTES, OF_FILES, OF_MEMORY, OF_THREADS, OF_WORKERS, ROOM_BYTES, refusal


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), OF_MEMORY),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), OF_MEMORY),
        (ImportError("libx.so: failed to map segment from shared object"), OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), OF_MEMORY),
        (RuntimeError("can't allocate lock"), OF_MEMORY),
        (RuntimeError("can't start new thread"), OF_THREADS),
        (BrokenProcessPool("A process in the process pool was terminated abruptly"), OF_WORKERS),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed."), OF_WORKERS),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), OF_THREADS),
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "ct.nii"), OF_FILES),
        (RuntimeError("a fault of ours"), None),
        (KeyError("out"), None),
    ],
)
def test_each_kind_has_its_sentence(error, sentence):
    assert refusal(error) == sentence


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), f"error: {OF_MEMORY}\n"),
        (
            OSError(errno.EIO, "Input/output error", "ct.nii"),
            "error: ct.nii: expected a readable and writable file, got: Input/output error; check the path, the "
            "disk and the permissions\n",
        ),
    ],
)
def test_a_command_ends_with_it(monkeypatch, capsys, error, told):
    def refuse(*words):
        raise error

    monkeypatch.setattr("tomoseg.cli.running.read", refuse)
    assert main(["labels"]) == 2
    assert capsys.readouterr().err == told


def test_what_is_a_fault_keeps_its_traceback(monkeypatch):
    def fail(*words):
        raise RuntimeError("of ours")

    monkeypatch.setattr("tomoseg.cli.running.read", fail)
    with pytest.raises(RuntimeError, match="of ours"):
        main(["labels"])


@pytest.mark.skipif(sys.platform == "win32", reason="needs the limits of POSIX")
@pytest.mark.parametrize("command", sorted(LEAST_BYTES))
def test_a_limit_below_what_libraries_take_is_told_before_they_are_loaded(command):
    assert command in COMMANDS
    code = f"""
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (250_000_000, resource.RLIM_INFINITY))
import functools
import tomoseg.cli.running as running
running.read = lambda *words: functools.partial(lambda: 1 / 0)
running.command_of = lambda name: lambda: 0
sys.exit(running.run({command!r}, []))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    needed = f"{LEAST_BYTES[command] / 1e9:g} GB"
    assert done.returncode == 2
    assert done.stderr == (
        f"error: expected {needed} of address space, which {command} needs to start, got a limit "
        "of 0.25 GB; raise it (`ulimit -v`, or the job's limit)\n"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads do not count as processes")
def test_threads_that_libraries_could_not_start_are_told_before_they_are_loaded():
    """As another user where the tests run as root, whom no such limit stops."""
    code = """
import os, resource, sys
from tomoseg.errors import ConfigError
from tomoseg.limits import refuse_too_little
refuse_too_little("predict")
if os.geteuid() == 0:
    os.setuid(65534)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
refuse_too_little("labels")
try:
    refuse_too_little("predict")
except ConfigError as error:
    sys.exit(str(error))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, OF_THREADS + "\n")


ROOM = """
import resource, sys, threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tomoseg.limits import refuse_hopeless_threads, refusal
threading.stack_size(1 << 18)
thread, pool = threading.Thread(target=print, args=("ran",)), ThreadPoolExecutor(1)
refuse_hopeless_threads()
room = int(sys.argv[1])
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (taken + room, resource.RLIM_INFINITY))
try:
    thread.start() if sys.argv[2] == "thread" else pool.submit(print, "ran")
except RuntimeError as error:
    sys.exit(refusal(error))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the limit of Linux")
@pytest.mark.parametrize("of", ["thread", "pool"])
def test_a_thread_that_would_find_no_memory_to_begin_with_is_refused(of):
    """There is room for its stack, and little more: Python itself would wait for it for ever."""

    def with_room(room):
        return subprocess.run(
            [sys.executable, "-c", ROOM, str(room), of], capture_output=True, text=True, check=False, timeout=60
        )

    for further in (8 << 10, 12 << 10, 16 << 10):
        done = with_room((1 << 18) + further)
        assert (done.returncode, done.stdout, done.stderr) == (1, "", OF_THREADS + "\n")
    done = with_room((1 << 18) + ROOM_BYTES + (1 << 20))
    assert (done.returncode, done.stdout, done.stderr) == (0, "ran\n", "")
