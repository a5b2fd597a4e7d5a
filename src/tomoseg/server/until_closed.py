"""Running the server of a page for as long as the page is open."""

from __future__ import annotations

import contextlib
import threading
import time
import webbrowser
from collections.abc import Callable

import uvicorn

from tomoseg.hosts import listen, url_of
from tomoseg.server.guests import Shown

GONE_SECONDS = 3.0
"""Seconds after the last page was closed until the server ends, to allow a reload."""


def run_until_closed(shown: Shown, on_address: Callable[[str], None]) -> None:
    """Serve a page until Ctrl-C, or until it is closed if `shown.ends_with_page`.

    Args:
        shown: The content, and the address to listen on.
        on_address: Called with the URL of the page once it can be opened.

    Raises:
        ConfigError: If it cannot listen there.
    """
    listening = listen(shown.options.host, shown.options.port)
    config = uvicorn.Config(
        shown.app(), log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=2
    )
    server = uvicorn.Server(config)
    address = f"{url_of(shown.options.host, listening.getsockname()[1])}/{shown.secret}/"
    watching = threading.Thread(target=_watch, args=(server, shown, address, on_address))
    watching.start()
    try:
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
    finally:
        server.should_exit = True
        watching.join()
        listening.close()


def _watch(server: uvicorn.Server, shown: Shown, address: str, on_address: Callable[[str], None]) -> None:
    """Report the URL once the server runs, and end it when the last page is closed."""
    while not server.started and not server.should_exit:
        time.sleep(0.05)
    if server.started:
        on_address(address)
        if shown.options.open:
            webbrowser.open(address)
    while not server.should_exit:
        if shown.ends_with_page and shown.guests.have_left(GONE_SECONDS):
            server.should_exit = True
        time.sleep(0.2)
    shown.guests.closing = True
