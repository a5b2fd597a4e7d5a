"""Running work on uploaded files in a separate process, so that damaged files end only that process."""

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
"""Time limit of the process."""

LOOK_SECONDS = 0.1
"""Seconds between checks of its memory."""

MOST_MEMORY = 0.8
"""Default memory limit as a fraction of the machine's memory."""


def done_apart(
    module: str,
    given: Mapping[str, Any],
    unreadable: str,
    sent: IO[bytes] | None = None,
    memory_bytes: int | None = None,
) -> dict[str, Any]:
    """Run a module in a process, and return its answer; see `answer`.

    Args:
        module: Name of the module.
        given: Arguments, passed as JSON.
        unreadable: Message if it dies, or takes too long or too much memory.
        sent: Its standard input.
        memory_bytes: Memory limit; None for most of the machine's memory.

    Raises:
        RefusalError: If it refuses, dies, or takes too long or too much memory.
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
    """Return a process's output; empty if it takes too long or too much memory."""
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
    """Return the memory limit of a process that reads uploaded files.

    Args:
        memory_bytes: The configured limit; None for most of the machine's memory, so that the system does not kill the
            server itself for lack of memory.
    """
    return int(MOST_MEMORY * psutil.virtual_memory().total) if memory_bytes is None else memory_bytes


def resident_bytes(process: int) -> int:
    """Return the resident memory of a process; 0 if it has ended.

    Args:
        process: Its PID.
    """
    try:
        return int(psutil.Process(process).memory_info().rss)
    except psutil.Error:
        return 0


def answer(do: Callable[[], Mapping[str, Any]], places: Mapping[str, str]) -> None:
    """Call a function, and print its result, or the reason of its failure, as JSON on standard output.

    Args:
        do: The function.
        places: Replacements for the server's paths in messages.
    """
    try:
        told = do()
    except TomosegError as error:
        text = str(error)
        for place, what in places.items():
            text = text.replace(place, what)
        told = {"refused": text}
    sys.stdout.write(json.dumps(told))
