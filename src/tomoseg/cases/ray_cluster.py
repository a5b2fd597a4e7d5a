"""Actors of a Ray cluster, each with what the work needs loaded once, which take one case after the other.

Ray starts and watches them and carries cases and records; what is done again, and how often, is decided here: a case
whose node was lost is done elsewhere, a case that ends its actor is set aside after the third. Where this process ends,
Ray ends the actors.
"""

from __future__ import annotations

import logging
import os
import pickle
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic

from tomoseg.cases.alike import another_version
from tomoseg.cases.answers import attempt
from tomoseg.cases.folders import Folders, Seen, seen_by_all
from tomoseg.cases.processes import THREADS
from tomoseg.cases.work import MOST_TRIES, Case, Done, Opened, Waiting, Work
from tomoseg.errors import ConfigError
from tomoseg.limits import OF_WORKERS
from tomoseg.options import Spread
from tomoseg.packages import require_installed
from tomoseg.version import __version__

LOOK_SECONDS = 5.0
"""Seconds between checks of which nodes there are."""

_SECONDS_TO_REACH = 10.0


class Worker:
    """What lives in an actor."""

    def __init__(self) -> None:
        self._opened: Opened[Any, Any] | None = None

    def open(self, version: str, order: bytes) -> tuple[str, Any]:
        """Get ready: the node, and what every record depends on; or why not.

        Args:
            version: The version of the command's tomoseg; anything else is read only once this one is found to be the
                same.
            order: What must be seen, and the work, pickled.
        """
        logging.getLogger().addHandler(logging.NullHandler())  # else Python prints what libraries log
        return attempt("ready", partial(self._ready, version, order))

    def one(self, case: Any) -> tuple[str, Any]:
        """Do a case: its record, or the error that ends the command."""
        assert self._opened is not None  # it is open
        return attempt("done", partial(self._opened.one, case))

    def _ready(self, version: str, order: bytes) -> tuple[str, Mapping[str, Any]]:
        if version != __version__:
            raise ConfigError(another_version(version, f"{__version__} on {socket.gethostname()}"))
        seen, work = pickle.loads(order)  # noqa: S301  # of our own
        seen.check()
        self._opened = work.open()
        import ray

        return ray.get_runtime_context().get_node_id(), self._opened.about


@dataclass
class _Actor:
    """An actor, where it is, and what it is at."""

    handle: Any
    answer: Any
    node: str | None = None
    case: int | None = None
    is_ready: bool = False


def in_ray(
    work: Work[Case, Done],
    cases: Sequence[Case],
    address: str | None,
    spread: Spread,
    on_ready: Callable[[Mapping[str, Any]], None],
    folders: Folders,
) -> Iterator[tuple[int, Done]]:
    """Do each case in one of as many actors as the cluster has room for.

    Args:
        work: What is done to each.
        cases: The cases.
        address: The address of the cluster; None is the one that this machine is part of, else one of this machine
            alone.
        spread: What an actor takes.
        on_ready: Called with what each actor's records depend on.
        folders: What all machines must see.

    Yields:
        The number and the record of each case, as they come.

    Raises:
        TomosegError: Whatever the work raises that is not of one case.
        ConfigError: If Ray is not installed or cannot be reached, no node has room for an actor, or a machine has
            another tomoseg or other folders.
    """
    with _connected(address) as ray, seen_by_all(folders) as seen:
        crew = _Crew(ray, _Orders(work, cases, seen), spread, on_ready)
        try:
            yield from crew.records()
        finally:
            crew.end()


def _reach(address: str) -> None:
    """See at once whether anybody listens at an address with a port; Ray takes up to two minutes for that.

    Raises:
        OSError: If nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_REACH).close()


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Ray, connected; by whom it was connected before, it stays so.

    Raises:
        ConfigError: If it is not installed or cannot be reached.
    """
    require_installed("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else it tells its makers about this machine
    import ray

    if ray.is_initialized():
        yield ray
        return
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    try:
        _reach(address or os.environ.get("RAY_ADDRESS", ""))
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **local)
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConfigError(
            f"--on {address or 'ray'}: expected a Ray cluster that answers, got none ({reason.strip()}); see `ray "
            "status` there, that its port is open to this machine, and that Ray and Python are of one version on both"
        ) from None
    try:
        yield ray
    finally:
        ray.shutdown()


@dataclass(frozen=True)
class _Orders(Generic[Case, Done]):
    """What is to be done."""

    work: Work[Case, Done]
    cases: Sequence[Case]
    seen: Seen


class _Crew(Generic[Case, Done]):
    """The actors, and what is left for them.

    Args:
        ray: The module, connected.
        orders: What is to be done.
        spread: What an actor takes.
        on_ready: Called with what each actor's records depend on.
    """

    def __init__(
        self, ray: Any, orders: _Orders[Case, Done], spread: Spread, on_ready: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._ray, self._orders, self._spread, self._on_ready = ray, orders, spread, on_ready
        self._order = pickle.dumps((orders.seen, orders.work))
        self._waiting = Waiting(len(orders.cases))
        self._actors: list[_Actor] = []
        self._died_unready, self._wanted, self._looked = 0, 0, -LOOK_SECONDS
        self._make = ray.remote(Worker).options(
            num_cpus=spread.cpus,
            num_gpus=spread.gpus,
            max_restarts=0,
            max_task_retries=0,
            runtime_env={"env_vars": {THREADS: str(spread.cpus)}},
        )

    def records(self) -> Iterator[tuple[int, Done]]:
        """The number and the record of each case, as they come."""
        while self._waiting or any(one.case is not None for one in self._actors):
            self._fill()
            asked = {one.answer: one for one in self._actors if one.answer is not None}
            answered, _ = self._ray.wait(list(asked), num_returns=1, timeout=LOOK_SECONDS)
            for answer in answered:
                done = self._hear(asked[answer])
                if done is not None:
                    yield done

    def _fill(self) -> None:
        """As many actors as there is room for, and each that is ready with a case.

        Raises:
            ConfigError: If there is room for none.
        """
        for actor in self._actors:
            self._hand_out(actor)
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._wanted, self._looked = min(len(self._orders.cases), self._room()), time.monotonic()
        while self._waiting and len(self._actors) < self._wanted:
            handle = self._make.remote()
            self._actors.append(_Actor(handle, handle.open.remote(__version__, self._order)))

    def _room(self) -> int:
        """How many actors the nodes that live could hold, were they empty.

        Raises:
            ConfigError: If none.
        """
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        room = sum(_held(node, self._spread) for node in nodes)
        if not room and not self._actors:
            most: dict[str, float] = max(nodes, key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)), default={})
            raise ConfigError(
                f"expected a node of the Ray cluster with {self._spread.cpus} cores and {self._spread.gpus:g} GPUs, "
                f"got at most {most.get('CPU', 0):g} and {most.get('GPU', 0):g}; lower --cpus or --gpus"
            )
        return room

    def _hand_out(self, actor: _Actor) -> None:
        if self._waiting and actor.is_ready and actor.case is None:
            actor.case = self._waiting.take()
            actor.answer = actor.handle.one.remote(self._orders.cases[actor.case])

    def _hear(self, actor: _Actor) -> tuple[int, Done] | None:
        """What an actor has done, if that is the end of a case; it begins the next at once."""
        number, actor.case = actor.case, None
        try:
            kind, what = self._ray.get(actor.answer)
        except self._ray.exceptions.RayError as error:
            return self._lost(actor, number, error)
        actor.answer = None
        if kind == "error":
            raise what
        if not actor.is_ready:
            actor.is_ready, self._died_unready = True, 0
            actor.node, about = what
            self._on_ready(about)
        self._hand_out(actor)
        return None if number is None else (number, what)

    def _lost(self, actor: _Actor, number: int | None, error: Exception) -> tuple[int, Done] | None:
        """Do without an actor; its case is done again, or set aside."""
        self._actors.remove(actor)
        self._looked = -LOOK_SECONDS  # there may be room for fewer now
        self._ray.kill(actor.handle)
        if number is None:
            self._refuse_unready(error)
            return None
        if actor.node is not None and not self._lives(actor.node):
            self._waiting.give_back(number)
            return None
        reason = self._waiting.ended_its_worker(number, "Ray lost it")
        return None if reason is None else (number, self._orders.work.lost(self._orders.cases[number], reason))

    def _refuse_unready(self, error: Exception) -> None:
        """Take note of an actor that died before its first case.

        Raises:
            ConfigError: If that is no accident.
        """
        for of_another in ("No module named 'tomoseg", "Can't get attribute", "cannot import name"):
            if of_another in str(error):
                raise ConfigError(another_version(__version__, "another or none on a node")) from None
        self._died_unready += 1
        if self._died_unready >= MOST_TRIES:
            raise ConfigError(OF_WORKERS) from None

    def _lives(self, node: str) -> bool:
        return any(one["NodeID"] == node and one["Alive"] for one in self._ray.nodes())

    def end(self) -> None:
        """End the actors."""
        for actor in self._actors:
            self._ray.kill(actor.handle)


def _held(resources: Mapping[str, float], spread: Spread) -> int:
    """How many actors a node can hold.

    Example:
        >>> _held({"CPU": 8.0, "GPU": 1.0}, Spread(on="ray", cpus=2, gpus=0.5))
        2
    """
    held = resources.get("CPU", 0.0) // spread.cpus
    return int(min(held, resources.get("GPU", 0.0) // spread.gpus) if spread.gpus else held)
