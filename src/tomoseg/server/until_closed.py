"""Running the server of a page for as long as the page is open."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
import time
import webbrowser
from collections.abc import Callable

import uvicorn

from tomoseg.errors import InputError
from tomoseg.server.guests import Shown

EVERYWHERE = ("0.0.0.0", "::")
"""Hosts that mean all addresses of this machine."""

GONE_SECONDS = 3.0
"""Seconds after the last page was closed until the server ends, to allow a reload."""


def run_until_closed(shown: Shown, on_address: Callable[[str], None]) -> None:
    """Serve a page until Ctrl-C, or until it is closed if `shown.ends_with_page`.

    Args:
        shown: The content, and the address to listen on.
        on_address: Called with the URL of the page once it can be opened.

    Raises:
        InputError: If it cannot listen there.
    """
    listening = _listen(shown.options.host, shown.options.port)
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


def _listen(host: str, port: int) -> socket.socket:
    """Open a listening socket, so that a port in use is found before anything starts.

    Raises:
        InputError: If the address is in use, or not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)  # a second one on the same port is refused here and not at the first request
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"expected a free port, got {port}, which is in use; leave --port off") from None
        raise InputError(
            f"expected an address of this machine, got {host!r}, port {port}: {error.strerror or error}; correct --host"
        ) from None
    return listening


def url_of(host: str, port: int) -> str:
    """Return the URL of a server, without a trailing slash.

    Args:
        host: Host that it listens on; all addresses are replaced by this machine's name, which others can open, too.
        port: Port that it listens on.

    Example:
        >>> url_of("127.0.0.1", 8117), url_of("::1", 8117)
        ('http://127.0.0.1:8117', 'http://[::1]:8117')
    """
    name = socket.gethostname() if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"


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
