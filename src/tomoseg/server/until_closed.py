"""Running the server of a page for as long as somebody looks at it."""

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
"""Hosts that stand for all addresses of this machine."""

GONE_SECONDS = 3.0
"""After the last page was closed, so that one may be loaded again."""


def run_until_closed(shown: Shown, on_address: Callable[[str], None]) -> None:
    """Serve a page until somebody stops it with Ctrl-C, or until it is closed where it ends with that.

    Args:
        shown: What it shows, and where it listens.
        on_address: Called with the address of the page once it can be opened.

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
    """A socket that is bound, so that a port in use is found before anything begins.

    Raises:
        InputError: If it is in use, or not an address of this machine.
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
    """Where a browser finds what listens, without a slash at the end.

    Args:
        host: What it listens on; for all addresses of this machine its name is given, which others can open, too.
        port: What it listens on.

    Example:
        >>> url_of("127.0.0.1", 8117), url_of("::1", 8117)
        ('http://127.0.0.1:8117', 'http://[::1]:8117')
    """
    name = socket.gethostname() if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}"


def _watch(server: uvicorn.Server, shown: Shown, address: str, on_address: Callable[[str], None]) -> None:
    """Tell the address once the server runs, and end it when the last page has been closed."""
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
