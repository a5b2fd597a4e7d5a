"""`predict` gives the same whoever does the scans."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.workflows.predicting import ON_CPU, run, told, write_scans
from tomoseg.cli import main
from tomoseg.errors import ConfigError, LabelError
from tomoseg.options import PredictOptions
from tomoseg.workflows.predict import predict


@pytest.fixture
def scans(tmp_path):
    return write_scans(tmp_path / "scans", 5)


def test_processes_give_the_same(scans, model, tmp_path, as_here):
    done = run(scans, tmp_path / "out", model, statistics=True, triage=True, on="processes:2")
    assert told(tmp_path / "out") == as_here
    assert [one.state for one in done] == ["done"] * 5 + ["failed"]
    again = run(scans, tmp_path / "out", model, statistics=True, triage=True, on="processes:3")
    assert [one.state for one in again] == ["done before"] * 5 + ["failed"]


def test_what_all_would_fail_by_is_refused(scans, model, tmp_path):
    with pytest.raises(LabelError, match="got 'livr'"):
        run(scans, tmp_path / "out", model, roi_subset=("livr",), on="processes:2")
    assert not list(tmp_path.glob("out/*"))


def test_a_share_of_the_memory(scans, model, tmp_path):
    compute = ON_CPU.model_copy(update={"max_memory": 200_000_000})
    done = predict(scans, tmp_path / "out", model, PredictOptions(on="processes:2"), compute)
    assert done[0].error is not None
    assert "expected a scan that fits into 0.10 GB, got one that needs" in done[0].error


@pytest.mark.parametrize("on", ["there", "processes", "processes:0", "processes:-1", "rays", "Here", ""])
def test_no_such_place(on):
    with pytest.raises(ConfigError, match=r"on: expected here, processes:4 \(for 4 processes\), ray, ray://"):
        PredictOptions(on=on)


def test_the_command(scans, model, tmp_path, capsys):
    command = ["predict", "-i", str(scans), "-o", str(tmp_path / "out"), "-m", str(model), "--on", "processes:2"]
    assert main([*command, "--device", "cpu"]) == 1
    told_out, told_err = capsys.readouterr()
    assert told_out.count("s0: ") == 1
    assert "s5: " in told_err
    assert main([*command, "--server", "http://127.0.0.1:1"]) == 2
    assert "expected --server or --on, got both" in capsys.readouterr().err


def test_a_killed_command_goes_on_where_it_was(scans, model, tmp_path, as_here):
    """The driver is gone in the middle: the same command does what is left, and all is as if it had not been."""
    flags = ["-i", str(scans), "-o", str(tmp_path / "out"), "-m", str(model), "--device", "cpu", "--precision", "fp32"]
    command = [sys.executable, "-m", "tomoseg", "predict", *flags, "--statistics", "--triage", "--on", "processes:2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        until = time.monotonic() + 60
        while not list((tmp_path / "out").glob("*/prediction.json")) and time.monotonic() < until:
            time.sleep(0.01)
        os.kill(driver.pid, signal.SIGKILL)
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
    deadline = time.monotonic() + 10
    while list((tmp_path / "out").rglob(".*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert told(tmp_path / "out") == as_here
