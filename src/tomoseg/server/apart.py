"""Work on what was sent, in a process of its own: what is damaged ends no more than that process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import IO, Any

from tomoseg.errors import TomosegError
from tomoseg.server.refusals import RefusalError

LONGEST_SECONDS = 300.0
"""How long it may take."""


def done_apart(module: str, given: Mapping[str, Any], unreadable: str, sent: IO[bytes] | None = None) -> dict[str, Any]:
    """Run a module, and return what it says; see `answer`.

    Args:
        module: Whose name says what is done.
        given: What it is told, as JSON.
        unreadable: One sentence for when it dies, or takes too long.
        sent: What it reads from its standard input.

    Raises:
        RefusalError: If it refuses, dies, or takes too long.
    """
    command = [sys.executable, "-m", module, json.dumps(given)]
    stdin = subprocess.DEVNULL if sent is None else sent
    try:
        done = subprocess.run(command, stdin=stdin, capture_output=True, timeout=LONGEST_SECONDS, check=False)
        told: dict[str, Any] = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, unreadable) from None
    if "refused" in told:
        raise RefusalError(HTTPStatus.UNPROCESSABLE_ENTITY, told["refused"])
    return told


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
