"""What a person is told of a server that answers, and of scans that one segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.control import Control
from rich.segment import ControlType

from tomoseg.language.words import all_later, pointed, say, say_many
from tomoseg.notices import Notice, gathered
from tomoseg.terminal.console import fail, out, warn_all
from tomoseg.terminal.predicting import Predicting
from tomoseg.terminal.predictions import show_failed
from tomoseg.terminal.rows import SCANS_OF, Clock, Screen


def show_ready(url: str, folder: Path, models: str, token: str | None, is_guarded: bool, is_reachable: bool) -> None:
    """Where a server answers, what it offers, and the token if it was made just now.

    Args:
        url: The URL of its page.
        folder: Where everything lies.
        models: In words.
        token: Made just now, and shown this once.
        is_guarded: Whether a token is asked for.
        is_reachable: Whether others than this machine reach it.
    """
    out.print(say("The server is at {url}; Ctrl-C stops it.", url=url))
    out.print(say("models: {models}", models=models))
    out.print(say("scans and results: {folder}", folder=folder))
    if token is not None:
        out.print(say("token: {token}", token=token))
        out.print(say("It is shown only this once, and only its digest is kept; --new-token makes another."))
    elif is_guarded:
        out.print(say("token: the one that was shown when it was made; --new-token makes another"))
    if is_reachable and not is_guarded:
        warn_all(["Whoever reaches this address may see all scans and results, and remove them."])


def show_stopped(jobs: int, training: bool) -> None:
    """That a server has stopped, and what is unfinished.

    Args:
        jobs: How many jobs the next start continues with.
        training: Whether a training was stopped with it.
    """
    out.control(Control(ControlType.CARRIAGE_RETURN))  # over the ^C that a terminal writes
    if jobs == 0:
        out.print(say("The server has stopped; no job is unfinished."))
    else:
        out.print(
            say_many(
                jobs,
                "The server has stopped; 1 job waits for the next start.",
                "The server has stopped; {count} jobs wait for the next start.",
            )
        )
    if training:
        out.print(say("Its training has been stopped too and is not continued: start it again."))


_STATES = all_later("received", "checking", "queued", "running", "done", "failed", "cancelled", "expired")
"""The states of a job."""


class Remote(Predicting):
    """Rows for all scans and for the one that is waited for; a line now and then where there is no terminal.

    Args:
        screen: Where rows are drawn.
    """

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen)
        screen.show("scan", say("sending"), 0, None, "", Clock(0, None, self._began))

    def on_sent(self, name: str, done: int) -> None:
        """A scan has been sent, the first of all being segmented meanwhile.

        Args:
            name: Its name.
            done: How many have been sent.
        """
        count = say(SCANS_OF, done=done, total=self._scans)
        self._screen.show("scan", say("sending"), done, self._scans, count, Clock(0, None, self._began), name)

    def on_change(self, name: str, job: Mapping[str, Any]) -> None:
        """A job has changed.

        Args:
            name: The name of its scan.
            job: As the server sends it.
        """
        self._name = name
        share = job["share"] or 0.0
        state = job["state"]
        words = say(state) if state in _STATES else str(state)
        if job["position"]:
            words = say("{state}, {count} before it", state=words, count=job["position"])
        self._screen.show("scan", say("scan"), round(100 * share), 100, words, self._clock(share), name)
        self._show_all(share)


def show_received(name: str, output: Path, error: str | None, seconds: float) -> None:
    """What became of a scan that a server segmented, as soon as that is known.

    Args:
        name: The name of the scan.
        output: Where its result is.
        error: Why it failed, if it did.
        seconds: What the server took.
    """
    if error is None:
        out.print(say("{name}: {text}", name=name, text=f"{output} ({pointed(f'{seconds:.1f}')} s)"))
    else:
        fail({name: error})


def show_remote(results: Sequence[tuple[str, str | None, tuple[Notice, ...]]]) -> None:
    """What was noticed of scans that a server segmented, and which failed.

    Args:
        results: Of each its name, why it failed, if it did, and what was noticed.
    """
    warn_all(gathered((name, notice) for name, _, notices in results for notice in notices))
    show_failed([name for name, error, _ in results if error is not None], len(results))
