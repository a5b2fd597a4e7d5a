"""Processing of cases by actors on a Ray cluster, each of which opens the work once.

Ray starts and monitors them and transfers cases and records. Retries are decided here: a case whose node was lost is
repeated elsewhere, a case that ends its actor is given up after the third time. If this process ends, Ray ends the
actors.
"""

from __future__ import annotations

import logging
import os
import pickle
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Generic

from tomoseg.cases.alike import another_version
from tomoseg.cases.answers import attempt
from tomoseg.cases.folders import Folders, Seen, seen_by_all
from tomoseg.cases.processes import THREADS
from tomoseg.cases.work import MOST_TRIES, Case, Done, Opened, Waiting, Work
from tomoseg.errors import ConfigError
from tomoseg.limits import OF_WORKERS, refuse_hopeless_threads
from tomoseg.options import Spread
from tomoseg.packages import require_installed
from tomoseg.version import __version__

LOOK_SECONDS = 5.0
"""Seconds between checks of the cluster's nodes."""

_SECONDS_TO_REACH = 10.0

_OF_ANOTHER = ("No module named 'tomoseg", "Can't get attribute", "cannot import name")
"""What Python says on a node that has another version of tomoseg, or none."""


class Worker:
    """The class of the actors."""

    def __init__(self) -> None:
        self._opened: Opened[Any, Any] | None = None

    def open(self, version: str, order: bytes) -> tuple[str, Any]:
        """Open the work; return the node and what every record depends on, or the error.

        Args:
            version: The command's version of tomoseg, which is compared before anything is unpickled.
            order: The paths that must be seen, and the work, pickled.
        """
        logging.getLogger().addHandler(logging.NullHandler())  # otherwise Python prints what libraries log
        refuse_hopeless_threads()
        return attempt("ready", partial(self._ready, version, order))

    def one(self, case: Any) -> tuple[str, Any]:
        """Process a case; return its record, or the error that ends the command."""
        assert self._opened is not None  # it is open
        return attempt("done", partial(self._opened.one, case))

    def _ready(self, version: str, order: bytes) -> tuple[str, Mapping[str, Any]]:
        if version != __version__:
            raise ConfigError(another_version(version, f"{__version__} on {socket.gethostname()}"))
        seen, work = pickle.loads(order)  # noqa: S301  # our own data
        seen.check()
        self._opened = work.open()
        import ray

        return ray.get_runtime_context().get_node_id(), self._opened.about


@dataclass
class _Actor:
    """An actor, its node and its current case."""

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
    """Process cases in as many actors as the cluster has room for.

    Args:
        work: The work to do on each case.
        cases: The cases.
        address: Address of the cluster; None for the one that this machine belongs to, or else a local one.
        spread: Resources of an actor.
        on_ready: Called with what each actor's records depend on.
        folders: Folders that all machines must share.

    Yields:
        The number and the record of each case, in the order in which they are finished.

    Raises:
        TomosegError: If the work fails for a reason that does not concern a single case.
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
    """Check that an address with a port accepts connections, for which Ray takes up to two minutes.

    Raises:
        OSError: If it does not.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_REACH).close()


@contextmanager
def _terminated_as_interrupted() -> Iterator[Callable[[], object]]:
    """Take a termination request for a Ctrl-C, after which actors and a local cluster are ended.

    Yields:
        A function to call once Ray is connected, which has put a handler of its own in place by then: one that prints
        Ray's stack and leaves its processes to themselves.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield partial(signal.signal, signal.SIGTERM, _interrupt)
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@contextmanager
def _connected(address: str | None) -> Iterator[Any]:
    """Connect to Ray while the block runs; an existing connection is used and kept.

    Raises:
        ConfigError: If it is not installed or cannot be reached.
    """
    require_installed("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # otherwise Ray sends usage statistics to its makers
    import ray

    if ray.is_initialized():
        yield ray
        return
    with _terminated_as_interrupted() as again:
        _begin(ray, address)
        again()
        try:
            yield ray
        finally:
            ray.shutdown()


def _begin(ray: Any, address: str | None) -> None:
    """Connect to a cluster, or start one on this machine.

    Raises:
        ConfigError: If it cannot be reached.
    """
    local: dict[str, Any] = {} if address else {"include_dashboard": False}
    if not address:  # Ray would let its workers wait for every other program, though the command waits for them
        os.environ.setdefault("RAY_worker_niceness", "0")
    try:
        _reach(address or os.environ.get("RAY_ADDRESS", ""))
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False, **local)
    except Exception as error:
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConfigError(
            f"--on {address or 'ray'}: expected a Ray cluster that answers, got none ({reason.strip()}); check "
            "`ray status` there, that this machine can reach its port, and that both run the same versions of "
            "Ray and Python"
        ) from None


@dataclass(frozen=True)
class _Orders(Generic[Case, Done]):
    """The work, the cases, and the paths that actors must see."""

    work: Work[Case, Done]
    cases: Sequence[Case]
    seen: Seen


class _Crew(Generic[Case, Done]):
    """The actors, and the cases that are left.

    Args:
        ray: The module, connected.
        orders: The work and the cases.
        spread: Resources of an actor.
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
            enable_task_events=False,  # otherwise the head keeps a record of each case
            runtime_env={"env_vars": {THREADS: str(spread.cpus)}},
        )

    def records(self) -> Iterator[tuple[int, Done]]:
        """Yield the number and the record of each case, in the order in which they are finished."""
        while self._waiting or any(one.case is not None for one in self._actors):
            self._fill()
            asked = {one.answer: one for one in self._actors if one.answer is not None}
            answered, _ = self._ray.wait(list(asked), num_returns=1, timeout=LOOK_SECONDS)
            for answer in answered:
                done = self._hear(asked[answer])
                if done is not None:
                    yield done

    def _fill(self) -> None:
        """Send cases to idle actors, and start as many actors as there is room for.

        Raises:
            ConfigError: If no node has room for an actor.
        """
        for actor in self._actors:
            self._hand_out(actor)
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._wanted, self._looked = min(len(self._orders.cases), self._room()), time.monotonic()
        while self._waiting and len(self._actors) < self._wanted:
            handle = self._make.remote()
            self._actors.append(_Actor(handle, handle.open.remote(__version__, self._order)))

    def _room(self) -> int:
        """Return the number of actors that the live nodes could hold if they were idle.

        Raises:
            ConfigError: If there is none, and no actor runs.
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
        """Receive the answer of an actor and send it the next case; return the record if it finished one."""
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
        """Remove an actor that was lost; return the record of its case if that is given up."""
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
        """Count an actor that died before its first case.

        Raises:
            ConfigError: If it has another version of tomoseg, or too many died.
        """
        if any(sign in str(error) for sign in _OF_ANOTHER):
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
    """Return the number of actors that a node can hold.

    Example:
        >>> _held({"CPU": 8.0, "GPU": 1.0}, Spread(on="ray", cpus=2, gpus=0.5))
        2
    """
    held = resources.get("CPU", 0.0) // spread.cpus
    return int(min(held, resources.get("GPU", 0.0) // spread.gpus) if spread.gpus else held)
