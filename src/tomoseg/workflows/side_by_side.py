"""Training of several views at the same time, each in a process of its own with its share of the threads.

A small network gains little from a second thread; two processes of one thread each see more slices together than one
process of two threads (`benchmarks/side_by_side.py`).
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tomoseg.cases.answers import attempt
from tomoseg.cases.processes import how_it_ended, start_with_threads
from tomoseg.config import TrainConfig
from tomoseg.errors import TrainingError
from tomoseg.inference.threads import thread_count
from tomoseg.limits import refuse_hopeless_threads
from tomoseg.preprocessed.read import Preprocessed
from tomoseg.training.listener import Listener, StepReport, TrainingOutcome
from tomoseg.training.ranks import ALONE
from tomoseg.workflows.one_run import train_one

END_SECONDS = 20.0
"""Seconds after which a process that was asked to end is killed."""


@dataclass(frozen=True)
class ViewJob:
    """What one process trains.

    Attributes:
        data: Folder of the dataset in the view's axis order.
        output: The run folder of the view.
        config: Its settings.
        force: Continue a run that began with other settings.
    """

    data: Path
    output: Path
    config: TrainConfig
    force: bool


def train_side_by_side(jobs: Mapping[str, ViewJob], told: Listener) -> dict[str, TrainingOutcome]:
    """Train a network for each view at the same time, or continue the runs in their folders.

    Args:
        jobs: What to train, by view.
        told: Callbacks for progress, and for stopping early.

    Returns:
        The outcome of each view.

    Raises:
        TomosegError: As `train_one` raises it in any of the processes; the others are stopped, and can be continued.
        TrainingError: If a process is lost.
    """
    stop = get_context("spawn").Event()
    threads = max(1, thread_count() // len(jobs))
    crew: dict[Connection, tuple[str, BaseProcess]] = {}
    try:
        for view, job in jobs.items():
            pipe, process = _started(view, job, stop, threads)
            crew[pipe] = view, process
        outcomes = _followed(crew, stop, told)
        return {view: outcomes[view] for view in jobs}
    finally:
        stop.set()
        _end([process for _, process in crew.values()], at_once=isinstance(sys.exc_info()[1], KeyboardInterrupt))


def _started(view: str, job: ViewJob, stop: Any, threads: int) -> tuple[Connection, BaseProcess]:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    # no daemon, which may not start the processes that read for it
    process = context.Process(target=_train, args=(job, theirs, stop), name=f"tomoseg-{view}", daemon=False)
    start_with_threads(process, threads)
    theirs.close()
    return ours, process


def _followed(
    crew: Mapping[Connection, tuple[str, BaseProcess]], stop: Any, told: Listener
) -> dict[str, TrainingOutcome]:
    """Pass on what the processes tell until each has ended, and return their outcomes.

    Raises:
        TrainingError: If a process is lost.
        Exception: Any that one of them sent.
    """
    outcomes: dict[str, TrainingOutcome] = {}
    teller = _Teller(told)
    while len(outcomes) < len(crew):
        if told.should_stop():
            stop.set()
        still = [pipe for pipe, (view, _) in crew.items() if view not in outcomes]
        ready = wait(still, timeout=0.2)
        for pipe in (pipe for pipe in still if pipe in ready):
            view, process = crew[pipe]
            kind, what = _received(pipe, view, process)
            if kind == "outcome":
                outcomes[view] = what
            else:
                teller.tell(view, kind, what)
    return outcomes


def _received(pipe: Connection, view: str, process: BaseProcess) -> tuple[str, Any]:
    """Return what a process sent.

    Raises:
        TrainingError: If it was lost.
        Exception: Any that it sent.
    """
    try:
        kind, what = pipe.recv()
    except (EOFError, OSError):
        process.join(END_SECONDS)
        how: str = how_it_ended(process.exitcode)
        raise TrainingError(
            f"expected all views to train, but the process of the {view} one ended: {how}; run the same command again "
            "to continue from the last saved state; if memory ran out, lower batch_size or train one view after the "
            "other"
        ) from None
    if kind == "error":
        raise what
    return kind, what


def _end(crew: list[BaseProcess], *, at_once: bool) -> None:
    """Wait for the processes, which save their state; what does not end is ended."""
    for process in crew:
        process.join(0 if at_once else END_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


class _Teller:
    """Passes on what several runs tell as if they were one.

    Steps are those of the view that is the furthest behind, with the speed of all together.
    """

    def __init__(self, told: Listener) -> None:
        self._told = told
        self._steps: dict[str, StepReport] = {}
        self._warned: set[str] = set()
        self._begun = False

    def tell(self, view: str, kind: str, what: Any) -> None:
        """Pass on an event of a view."""
        getattr(self, f"_{kind}")(view, *what)

    def _on_begin(self, view: str, beginning: Any) -> None:
        if not self._begun:
            self._told.on_begin(beginning)
        self._begun = True

    def _on_step(self, view: str, step: StepReport) -> None:
        self._steps[view] = step
        behind = min(self._steps, key=lambda name: self._steps[name].progress)
        if view == behind:
            together = sum(one.slices_per_second for one in self._steps.values() if one.progress < 1)
            self._told.on_step(replace(step, slices_per_second=together))

    def _on_epoch(self, view: str, record: dict[str, Any]) -> None:
        self._told.on_epoch(record | {"view": view})

    def _on_warning(self, view: str, message: str) -> None:
        if message not in self._warned:
            self._told.on_warning(message)
        self._warned.add(message)

    def _on_stage(self, view: str, stage: str) -> None:
        if not self._steps:
            self._told.on_stage(stage)


def _train(job: ViewJob, pipe: Connection, stop: Any) -> None:
    """Train one view and send what happens; it ends early, its state saved, if its parent is gone or it is asked to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes of a terminal; the parent handles it
    lost = False

    def lose(*_: object) -> None:
        nonlocal lost
        lost = True

    signal.signal(signal.SIGTERM, lose)  # that of a cluster's manager or of `timeout` reaches all processes too
    refuse_hopeless_threads()

    def send(kind: str, *what: Any) -> None:
        nonlocal lost
        try:
            pipe.send((kind, what))
        except OSError:
            lost = True

    def run() -> TrainingOutcome:
        told = Listener(
            should_stop=lambda: lost or stop.is_set(),
            on_begin=partial(send, "on_begin"),
            on_step=partial(send, "on_step"),
            on_epoch=partial(send, "on_epoch"),
            on_warning=partial(send, "on_warning"),
            on_stage=partial(send, "on_stage"),
        )
        return train_one(Preprocessed(job.data), job.output, job.config, told, None, ALONE, force=job.force)

    with suppress(OSError):
        pipe.send(attempt("outcome", run))
