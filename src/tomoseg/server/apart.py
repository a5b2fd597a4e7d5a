"""Work on what was sent, in a process of its own: what is damaged ends no more than that process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import IO, Any

import psutil

from tomoseg.errors import TomosegError
from tomoseg.server.refusals import RefusalError

LONGEST_SECONDS = 300.0
"""How long it may take."""

LOOK_SECONDS = 0.1
"""Seconds between checks of how much memory it takes."""

MOST_MEMORY = 0.8
"""Of the machine's, where nobody chose another limit."""


def done_apart(
    module: str,
    given: Mapping[str, Any],
    unreadable: str,
    sent: IO[bytes] | None = None,
    memory_bytes: int | None = None,
) -> dict[str, Any]:
    """Run a module, and return what it says; see `answer`.

    Args:
        module: Whose name says what is done.
        given: What it is told, as JSON.
        unreadable: One sentence for when it dies, or takes too long or too much.
        sent: What it reads from its standard input.
        memory_bytes: How much memory it may take; None for most of the machine's.

    Raises:
        RefusalError: If it refuses, dies, or takes too long or too much.
    """
    command = [sys.executable, "-m", module, json.dumps(given)]
    stdin = subprocess.DEVNULL if sent is None else sent
    try:
        told: dict[str, Any] = json.loads(_heard(command, stdin, most_memory(memory_bytes)))
    except ValueError:
        raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, unreadable) from None
    if "refused" in told:
        raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, told["refused"])
    return told


def _heard(command: list[str], stdin: IO[bytes] | int, memory_bytes: int) -> bytes:
    """What a process says; nothing of one that takes too long or too much."""
    began = time.monotonic()
    with subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        while True:
            try:
                return process.communicate(timeout=LOOK_SECONDS)[0]
            except subprocess.TimeoutExpired:
                if time.monotonic() - began < LONGEST_SECONDS and resident_bytes(process.pid) <= memory_bytes:
                    continue
            process.kill()
            return b""


def most_memory(memory_bytes: int | None) -> int:
    """How much memory a process may take that reads what was sent.

    Args:
        memory_bytes: As somebody chose it; None for most of the machine's, so that the server itself is never what the
            system ends for want of memory.
    """
    return int(MOST_MEMORY * psutil.virtual_memory().total) if memory_bytes is None else memory_bytes


def resident_bytes(process: int) -> int:
    """How much memory a process has; 0 if it is gone.

    Args:
        process: Its number.
    """
    try:
        return int(psutil.Process(process).memory_info().rss)
    except psutil.Error:
        return 0


def answer(do: Callable[[], Mapping[str, Any]], places: Mapping[str, str]) -> None:
    """Do something, and say on standard output what came of it, or in one sentence why nothing did.

    Args:
        do: What is done.
        places: Paths of ours, which say nothing to the sender, and what they are called instead.
    """
    try:
        told = do()
    except TomosegError as error:
        text = str(error)
        for place, what in places.items():
            text = text.replace(place, what)
        told = {"refused": text}
    sys.stdout.write(json.dumps(told))
