import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tomoseg.cli import streams
from tomoseg.cli.exits import STOPPED
from tomoseg.cli.streams import with_streams

needs_posix = pytest.mark.skipif(sys.platform == "win32", reason="needs a shell of POSIX")
needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")

FULL = "error: expected to print, got: No space left on device; choose another place for standard output\n"
PRINTS = ["--help", "--version", "labels", "models --help"]


def shell(line, **environment):
    """What `tomoseg` in a line of the shell stands for ends with, and writes to standard error."""
    line = line.replace("tomoseg", f"{sys.executable} -m tomoseg", 1)
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        check=False,
        timeout=120,
        env=os.environ | environment,
    )
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


@needs_posix
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", PRINTS)
class TestStandardOutput:
    def test_nobody_reads_it(self, words, unbuffered):
        status, _, told = shell(f"tomoseg {words} | true", PYTHONUNBUFFERED=unbuffered)
        assert (status, told) == (141, "")

    def test_is_closed(self, words, unbuffered):
        assert shell(f"tomoseg {words} >&-", PYTHONUNBUFFERED=unbuffered) == (0, b"", "")

    @needs_full
    def test_is_full(self, words, unbuffered):
        assert shell(f"tomoseg {words} >/dev/full", PYTHONUNBUFFERED=unbuffered) == (2, b"", FULL)


@needs_posix
class TestStandardError:
    @pytest.mark.parametrize("stream", ["2>&-", pytest.param("2>/dev/full", marks=needs_full)])
    def test_a_command_goes_on_without(self, stream):
        assert shell(f"tomoseg labels {stream}")[0] == 0
        assert shell(f"tomoseg labels nowhere {stream}") == (2, b"", "")

    def test_of_all_streams_closed_a_file_takes_no_place(self, tmp_path):
        status, _, _ = shell(f"tomoseg inspect nowhere -o {tmp_path / 'found.json'} <&- >&- 2>&-")
        assert status == 2
        assert json.loads((tmp_path / "found.json").read_text())["scan"] == "nowhere"


@needs_posix
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("name", ["背骨", "no\udcff"])
class TestLettersThatAStreamLacks:
    def test_a_message_has_their_codes(self, encoding, name):
        status, _, told = shell(f"tomoseg labels {name}", PYTHONIOENCODING=encoding)
        assert status == 2
        assert "expected a dataset folder" in told

    def test_json_can_be_read(self, encoding, name):
        status, printed, _ = shell(f"tomoseg inspect --json {name}", PYTHONIOENCODING=encoding)
        assert status == 2
        assert json.loads(printed)["scan"] == name


def test_ctrl_c_twice_is_told(capsys):
    """The second one comes while the first is being told, which then nobody sees."""

    def command():
        raise KeyboardInterrupt

    assert with_streams(command) == STOPPED
    assert capsys.readouterr().err == "error: stopped\n"


@pytest.mark.parametrize("interrupted", ["_ignore_further", "_flushed"])
def test_ctrl_c_again_after_the_command_has_ended_is_told(interrupted, monkeypatch, capsys):
    """The first one has ended the command, and the second comes before further ones are ignored."""
    real, left = getattr(streams, interrupted), iter([KeyboardInterrupt])

    def once(*given):
        for one in left:
            raise one
        return real(*given)

    monkeypatch.setattr(streams, interrupted, once)
    assert with_streams(lambda: STOPPED) == STOPPED
    assert capsys.readouterr().err == "error: stopped\n"


def test_ctrl_c_while_the_process_ends_is_passed_over():
    command = """
import os, signal, sys
from tomoseg.cli.streams import with_streams
def stopped():
    raise KeyboardInterrupt
status = with_streams(stopped, ends_process=True)
os.kill(os.getpid(), signal.SIGINT)
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (STOPPED, "error: stopped\n")
