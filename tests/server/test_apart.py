"""What is done in a process of its own: what takes too long or too much ends there."""

import sys
import time

import psutil
import pytest

from tomoseg.server import apart
from tomoseg.server.apart import done_apart, most_memory, resident_bytes
from tomoseg.server.refusals import RefusalError

ENDLESS = "tests.server.endless"


@pytest.fixture
def here(monkeypatch):
    """Where the modules of the tests are found."""
    monkeypatch.setenv("PYTHONPATH", ":".join(sys.path))


@pytest.mark.parametrize(("memory", "seconds"), [(60_000_000, 300.0), (None, 1.0)])
def test_what_takes_too_much_or_too_long_is_ended_and_refused(here, monkeypatch, memory, seconds):
    monkeypatch.setattr(apart, "LONGEST_SECONDS", seconds)
    began = time.monotonic()
    with pytest.raises(RefusalError, match="expected a mask, got another") as refused:
        done_apart(ENDLESS, {"grows": memory is not None}, "expected a mask, got another", memory_bytes=memory)
    assert refused.value.status == 422
    assert time.monotonic() - began < 60
    assert not [one for one in psutil.Process().children() if ENDLESS in one.cmdline()]


def test_most_of_the_machines_memory_is_the_limit_where_none_was_chosen():
    assert most_memory(5) == 5
    assert 0.7 * psutil.virtual_memory().total < most_memory(None) < 0.9 * psutil.virtual_memory().total


def test_memory_of_a_process_that_is_gone_is_none():
    assert resident_bytes(psutil.Process().pid) > 1_000_000
    assert resident_bytes(2**31 - 1) == 0
