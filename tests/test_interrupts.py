import signal
import subprocess
import sys

import pytest

from tomoseg.interrupts import interrupts_blocked

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs masks of signals")

STARTS_ONE = """
import multiprocessing, os, signal, sys
from tomoseg.interrupts import interrupts_blocked

def work(ready, number):
    ready.send(number in signal.pthread_sigmask(signal.SIG_BLOCK, []))

if __name__ == "__main__":
    number = signal.Signals[sys.argv[1]]
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, number))
    with interrupts_blocked(*{number} - {signal.SIGINT}):
        process.start()
        os.kill(process.pid, number)  # while it starts
    is_blocked = ours.recv()
    process.join()
    print(is_blocked, process.exitcode)
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_process_that_is_started_in_the_block_is_not_interrupted(tmp_path, name):
    """Also by the first start of one, which starts a helper of Python's that unblocks signals."""
    (tmp_path / "starts_one.py").write_text(STARTS_ONE)
    done = subprocess.run(
        [sys.executable, tmp_path / "starts_one.py", name], capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.stdout, done.stderr) == ("True 0\n", "")


def test_an_interrupt_in_the_block_arrives_after_it():
    passed = []

    def blocks():
        with interrupts_blocked():
            signal.raise_signal(signal.SIGINT)
            passed.append("not interrupted")
        passed.append("interrupted here")

    with pytest.raises(KeyboardInterrupt):
        blocks()
    assert passed == ["not interrupted"]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])
