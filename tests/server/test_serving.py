"""Addresses and folders are taken before anything begins; what cannot be is one sentence."""

import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.server.running import ended, make_job, send, served, started
from tomoseg.cli import main
from tomoseg.errors import ConfigError, OutputError
from tomoseg.hosts import is_loopback, listen, url_of
from tomoseg.limits import OF_THREADS
from tomoseg.options import ServeOptions
from tomoseg.server.command import rules_of
from tomoseg.server.offers import offers_of
from tomoseg.server.serving import Left, ServerSettings, check_own, locked, make_app


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("ct.local", False),
    ],
)
def test_which_addresses_are_this_machines_alone(host, local):
    assert is_loopback(host) == local


def test_the_address_that_is_told_can_be_opened_from_elsewhere():
    assert url_of("0.0.0.0", 8117) == url_of("::", 8117) == f"http://{socket.gethostname()}:8117"


def test_a_port_in_use_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port}: expected a free port, got one in use"):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_refused():
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1:8117: expected an address of this machine, got: "):
        listen("192.0.2.1", 8117)


@pytest.mark.parametrize("name", ["uploads", "jobs", "training"])
def test_a_folder_of_the_users_is_refused_and_nothing_in_it_removed(tmp_path, name, capsys):
    """A server removes from its subfolders what it does not know."""
    mine = tmp_path / "research" / name / "mine" / "ct.nii.gz"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert main(["serve", "--model", "head-neck", "-o", str(tmp_path / "research"), "--port", "0"]) == 2
    told = f"expected a new folder, or one of a server with jobs.sqlite3, got one with {name} that no server made"
    assert told in " ".join(capsys.readouterr().err.split())
    assert mine.read_text() == "mine"
    (tmp_path / "research" / "jobs.sqlite3").touch()
    check_own(tmp_path / "research")


def test_a_folder_with_other_things_of_the_users_is_taken(tmp_path):
    (tmp_path / "notes").mkdir()
    check_own(tmp_path)
    check_own(tmp_path / "absent")


def test_what_is_unfinished_is_known_when_it_stops(tmp_path, model, scan):
    app = make_app(ServerSettings(tmp_path, offers_of([model])), page=None)
    with served(app) as client:
        make_job(client, send(client, ("ct.nii.gz", scan.read_bytes())))  # its workers have hardly started
    assert app.state.left == Left(1, False)


def test_a_folder_is_one_servers(tmp_path):
    refused = pytest.raises(ConfigError, match="expected a folder that no server uses, got one in use")
    with locked(tmp_path), refused, locked(tmp_path):
        pass
    with locked(tmp_path):
        pass


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose a folder, not a file"), locked(tmp_path / "file" / "server"):
        pass


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="choose a folder that you may write to"), locked(tmp_path / "server"):
        pass


def test_a_model_that_is_not_there_is_refused_at_the_start(tmp_path, capsys):
    assert main(["serve", "--model", "head-nek", "-o", str(tmp_path)]) == 2
    assert "did you mean 'head-neck'?" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_two_models_of_one_name_are_refused(tmp_path, model, capsys):
    assert main(["serve", "--model", str(model), str(model), "-o", str(tmp_path)]) == 2
    assert "expected models of different names, got 'hu' twice" in capsys.readouterr().err


def test_options_become_rules():
    rules = rules_of(ServeOptions(quota="20GB", keep_hours=2, job_minutes=3, job_memory="1GB"))
    assert (rules.quota_bytes, rules.keep_seconds, rules.job_seconds) == (20_000_000_000, 7200, 180)
    assert rules.job_memory_bytes == 1_000_000_000


def test_a_model_that_goes_away_fails_its_jobs_alone(tmp_path, scan):
    from tests.workflows.hu_models import make_model

    models = [make_model(tmp_path / name) for name in ("one", "two")]
    with started(tmp_path / "server", models) as server:
        for path in models[1].iterdir():
            path.unlink()
        upload = send(server, ("ct.nii.gz", scan.read_bytes()))
        gone = server.post("/api/v1/jobs", json={"uploads": [upload], "model": "two"}).json()
        reason = ended(server, gone["id"])["reason"]
        assert reason.startswith("model: expected 'two' as it was when the server was started, got: expected a model")
        assert str(tmp_path) not in reason
        assert ended(server, make_job(server, upload)["id"])["state"] == "done"


def test_what_a_page_shows_is_made_when_it_is_first_asked_for(tmp_path, model, scan):
    with started(tmp_path / "server", [model]) as server:
        job = ended(server, make_job(server, send(server, ("ct.nii.gz", scan.read_bytes())))["id"])["id"]
        for _ in range(600):
            case = server.get(f"/api/v1/jobs/{job}/view/case.json")
            if case.status_code != 202:
                break
            assert case.json() == {"state": "preparing"}
            time.sleep(0.1)
        assert {one["name"] for one in case.json()["structures"]} == {"ball", "cube", "both"}
        hu = np.frombuffer(server.get(f"/api/v1/jobs/{job}/view/hu").content, "<i2")
        cells = np.frombuffer(server.get(f"/api/v1/jobs/{job}/view/cells").content, np.uint8)
        assert hu.size == cells.size == 24 * 22 * 8
        assert cells.max() < len(case.json()["cells"])
        assert server.get(f"/api/v1/jobs/{job}/view/other").status_code == 422


def test_of_a_server_that_cannot_start_nothing_is_left(tmp_path, model, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["serve", "--model", str(model), "-o", str(tmp_path / "server"), "--port", port]) == 2
    assert "got one in use" in capsys.readouterr().err
    assert not (tmp_path / "server").exists()


def test_the_server_itself_loads_nothing_that_reads_scans():
    heavy = {"torch", "openvino", "scipy", "blosc2", "nibabel", "pydicom", "highdicom", "matplotlib", "httpx", "numba"}
    code = "import sys, tomoseg.cli.serve, tomoseg.server.command; print({n.split('.')[0] for n in sys.modules} & %s)"
    done = subprocess.run([sys.executable, "-c", code % heavy], capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.strip() == "set()"


LITTLE = """
import resource, sys
from pathlib import Path
from tomoseg.cli.libraries import silence_libraries
from tomoseg.limits import refusal, refuse_hopeless_threads
from tomoseg.options import AUTO, ServeOptions
from tomoseg.server import serving
from tomoseg.server.command import serve_until_stopped
from tomoseg.server.trainer import Learning
silence_libraries()
refuse_hopeless_threads()
run = serving._Server.run
def run_with_little(*given):  # all is loaded; what is left is too little for one thread
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (20 << 20), resource.RLIM_INFINITY))
    return run(*given)
serving._Server.run = run_with_little
try:
    serve_until_stopped([Path(sys.argv[1])], Path(sys.argv[2]), ServeOptions(port=0), AUTO, Learning(), print)
except Exception as error:
    sys.exit(refusal(error) or repr(error))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs the limit of Linux")
def test_a_server_that_can_start_no_thread_ends_with_one_line(tmp_path, model):
    command = [sys.executable, "-c", LITTLE, str(model), str(tmp_path / "served")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", OF_THREADS + "\n")
