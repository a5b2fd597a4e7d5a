"""A Ray cluster at whose address nobody listens: said at once, without Ray's own two minutes."""

import socket

import pytest

from tests.cases.works import Noting
from tomoseg.cases import ray_cluster
from tomoseg.cases.run import run_cases
from tomoseg.errors import ConfigError
from tomoseg.options import Spread


@pytest.mark.parametrize("by_variable", [False, True])
def test_nobody_listens(tmp_path, monkeypatch, by_variable):
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    on = "ray" if by_variable else f"ray://127.0.0.1:{port}"
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}" if by_variable else "")
    with pytest.raises(ConfigError, match=rf"--on {on}: expected a Ray cluster that answers, got none \(.*refused\)"):
        list(run_cases(Noting(tmp_path), ["a"], Spread(on=on)))


@pytest.mark.parametrize("address", ["", "auto", "local", "ray://head", "head"])
def test_an_address_without_a_port_is_left_to_ray(address):
    ray_cluster._reach(address)
