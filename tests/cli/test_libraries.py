import subprocess
import sys

import pytest

SAYS = """
import logging, sys, warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from tomoseg.cli.libraries import silence_libraries

def says():
    warnings.warn("invalid value for 1.2.3 of Miller", stacklevel=1)
    logging.getLogger("library").warning("cannot read 1.2.3 of Miller")

if __name__ == "__main__":
    if "silent" in sys.argv:
        silence_libraries()
    if "worker" in sys.argv:
        silent = (logging.getLogger().addHandler, (logging.NullHandler(),))
        with ProcessPoolExecutor(1, get_context("spawn"), *(silent if "silent" in sys.argv else ())) as pool:
            pool.submit(says).result()
    else:
        says()
"""


@pytest.fixture
def said(tmp_path):
    """What is written to standard error by a program whose library warns and logs."""
    (tmp_path / "says.py").write_text(SAYS)

    def run(*words, options=()):
        command = [sys.executable, *options, str(tmp_path / "says.py"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stderr

    return run


@pytest.mark.parametrize("where", ["here", "worker"])
def test_libraries_say_nothing(said, where):
    assert "UserWarning: invalid value for 1.2.3 of Miller" in said(where)
    assert "cannot read 1.2.3 of Miller" in said(where)
    assert said(where, "silent") == ""


def test_unless_warnings_are_asked_for(said):
    assert "UserWarning: invalid" in said("here", "silent", options=("-W", "default"))


@pytest.mark.parametrize("words", [["labels", "nowhere"]])
def test_a_command_of_the_process_is_silent(words):
    code = "import sys, warnings, tomoseg.cli as c; c.main(); warnings.warn('of a library')"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.stderr.count("\n") == 1
    assert "of a library" not in done.stderr
