"""Many clients of one server: are all jobs done in order, does it answer meanwhile, what does it cost beside `predict`?

    python benchmarks/serving.py                      # 200 jobs from 20 clients, one worker: some five minutes
    python benchmarks/serving.py --jobs 20 --clients 4

Makes a phantom's scans, serves the packaged model `head-neck` on a free port, lets clients send scans at once, and asks
`/health` ten times a second meanwhile. Afterwards `tomoseg predict` does the same folder of scans; its seconds, model
loading left out on both sides, stand beside those between the first start and the last end of a job. Where time goes
is shown by stage, and by process in processor seconds a job, which other work on the machine changes less.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil

from tomoseg import Client, __version__
from tomoseg.files.nifti import write_nifti
from tomoseg.volume import SourceGrid


def make_scans(folder: Path, count: int, edge: int) -> list[Path]:
    """Write scans of an ellipse of soft tissue with noise, each with another seed."""
    folder.mkdir()
    grid = SourceGrid((edge, edge, edge // 2), np.diag([3.0, 3.0, 3.0, 1.0]))
    x, y, _ = np.indices(grid.shape) / (edge - 1) - 0.5
    inside = (x / 0.42) ** 2 + (y / 0.3) ** 2 < 1
    paths = []
    for seed in range(count):
        noise = np.random.default_rng(seed).normal(0, 15, grid.shape)
        paths.append(folder / f"scan{seed:03d}.nii.gz")
        write_nifti(paths[-1], (np.where(inside, 40.0, -1000.0) + noise).astype(np.int16), grid)
    return paths


class Health:
    """A thread that requests `/health` repeatedly and keeps the response times."""

    def __init__(self, url: str, process: int) -> None:
        self.seconds: list[float] = []
        self.resident = 0
        self._url, self._process = url, psutil.Process(process)
        self._began = self._times()
        self.spent: dict[str, float] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        import httpx

        with httpx.Client(timeout=60) as client:
            while not self._end.wait(0.1):
                began = time.perf_counter()
                client.get(f"{self._url}/health").raise_for_status()
                self.seconds.append(time.perf_counter() - began)
                self.resident = max(self.resident, self._process.memory_info().rss)

    def _times(self) -> dict[str, float]:
        """Return processor seconds so far of the server, the upload checker, the worker and the clients."""
        names = {"server": self._process, "clients": psutil.Process()}
        for child in self._process.children():
            names["checks" if '"role": "check"' in child.cmdline()[-1] else "worker"] = child
        return {name: sum(one.cpu_times()[:2]) for name, one in names.items()}

    def stop(self) -> None:
        self._end.set()
        self._thread.join()
        self.spent = {name: seconds - self._began[name] for name, seconds in self._times().items()}


def serve(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """Start a server; return its process and URL."""
    command = [sys.executable, "-m", "tomoseg", "serve", "--model", "head-neck", "-o", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    found = re.search(r"http://[^\s;]+", process.stdout.readline())
    assert found is not None
    return process, found[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--edge", type=int, default=160, help="voxels of 3 mm across; half as many are high")
    asked = parser.parse_args()
    print(f"tomoseg {__version__}, Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        scans = make_scans(work / "scans", asked.jobs, asked.edge)
        process, url = serve(work / "server")
        try:
            jobs, health, stages = run(url, process.pid, scans, asked.clients)
        finally:
            process.terminate()
            process.wait()
        done = [job for job in jobs if job["state"] == "done"]
        ends = [job["finished"] for job in sorted(jobs, key=lambda job: job["number"])]
        print(f"done: {len(done)} of {len(jobs)}; in order of arrival: {ends == sorted(ends)}")
        p99 = float(np.percentile(health.seconds, 99)) * 1000
        median = statistics.median(health.seconds) * 1000
        print(f"/health: median {median:.1f} ms, 99th percentile {p99:.1f} ms of {len(health.seconds)}")
        print(f"resident memory of the server at most: {health.resident / 1e6:.0f} MB")
        served = max(ends) - min(job["started"] for job in jobs)
        alone = predict(work / "scans", work / "predicted")
        show_stages(stages, stages_of(work / "predicted"))
        print("processor seconds a job: " + ", ".join(f"{n} {s / len(jobs):.3f}" for n, s in health.spent.items()))
        print(
            f"a scan: {served / len(jobs):.3f} s served, {alone / len(jobs):.3f} s by predict, "
            f"{served / alone - 1:+.1%}"
        )


def show_stages(served: dict[str, float], predicted: dict[str, float]) -> None:
    """Print the mean seconds per scan by stage; reading and writing overlap with the network."""
    for name in ("read", "segment", "statistics", "write"):
        print(f"{name}: {served.get(name, 0):.3f} s served, {predicted.get(name, 0):.3f} s by predict")


def mean_stages(records: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.fmean(one.get(name, 0.0) for one in records) for name in records[0]}


def stages_of(output: Path) -> dict[str, float]:
    """Return the mean seconds by stage of all results of `tomoseg predict`."""
    return mean_stages([json.loads(path.read_text())["seconds"] for path in output.glob("*/prediction.json")])


def run(url: str, process: int, scans: list[Path], clients: int) -> tuple[list[dict], Health, dict[str, float]]:
    """Send every scan from one of the clients; the first job waits until the model is loaded."""
    with Client(url, timeout=600) as client:
        warm = scans[0].with_name("warm.nii.gz")
        warm.write_bytes(scans[0].read_bytes())
        client.segment(warm, options={"smoothing": 0.5})
        warm.unlink()
        health = Health(url, process)

        def send(scan: Path) -> dict:
            with Client(url, timeout=600) as own:
                return dict(own.wait(own.submit([own.upload(scan)], options={"statistics": True})))

        with ThreadPoolExecutor(clients) as pool:
            jobs = list(pool.map(send, scans))
        health.stop()
        stages = mean_stages([client.result(job)["seconds"] for job in jobs if job["state"] == "done"])
    return jobs, health, stages


def predict(scans: Path, output: Path) -> float:
    """Return the seconds of `tomoseg predict` from the first scan to the last by its records, without model loading."""
    command = [sys.executable, "-m", "tomoseg", "predict", "-i", str(scans), "-o", str(output), "-m", "head-neck"]
    subprocess.run([*command, "--statistics"], check=True, capture_output=True)
    paths = sorted(output.glob("*/prediction.json"), key=lambda path: path.stat().st_mtime)
    first = json.loads(paths[0].read_text())["seconds"]
    before = sum(first[stage] for stage in ("read", "segment", "write", "statistics") if stage in first)
    return paths[-1].stat().st_mtime - paths[0].stat().st_mtime + before


if __name__ == "__main__":
    main()
