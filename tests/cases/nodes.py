"""What the tests of clusters have in common: their commands run in other processes."""

import os
import subprocess
import sys
import time
from pathlib import Path


def environment(**more):
    """Of all commands: this Python, and the source that is tested."""
    return os.environ | {
        "PYTHONPATH": os.pathsep.join((str(Path("src").absolute()), str(Path().absolute()))),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        **more,
    }


def begin(scans, out, model, env, *flags):
    flags = ("-i", scans, "-o", out, "-m", model, "--device", "cpu", "--precision", "fp32", "--statistics", *flags)
    return subprocess.Popen([sys.executable, "-m", "tomoseg", "predict", *map(str, flags)], env=env)


def done(out):
    return len(list(out.rglob("*prediction.json")))


def wait_for(out, count):
    until = time.monotonic() + 200
    while done(out) < count and time.monotonic() < until:
        time.sleep(0.05)
