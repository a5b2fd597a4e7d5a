import errno
import os

import pytest

from tomoseg.cli import main
from tomoseg.limits import OF_FILES, OF_MEMORY, OF_THREADS, refusal


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (MemoryError(), OF_MEMORY),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), OF_MEMORY),
        (ImportError("libx.so: failed to map segment from shared object"), OF_MEMORY),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"), OF_MEMORY),
        (RuntimeError("can't start new thread"), OF_THREADS),
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
            "error: ct.nii: expected to read or write it, got: Input/output error; check the path, the disk and what "
            "is allowed there\n",
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
