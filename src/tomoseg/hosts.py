"""Addresses of this machine that servers listen on, and their URLs."""

from __future__ import annotations

import errno
import ipaddress
import socket

from tomoseg.errors import ConfigError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Hosts that mean this machine, and only from itself."""

EVERYWHERE = ("0.0.0.0", "::")
"""Hosts that mean all addresses of this machine."""


def is_loopback(host: str) -> bool:
    """Return True if an address is a loopback address.

    Args:
        host: A name or an address.

    Example:
        >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
        (True, True, False)
    """
    if host in LOOPBACK:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket.

    Args:
        host: A host name or an address.
        port: Port; 0 for any free one.

    Raises:
        ConfigError: If the address is in use, or is not one of this machine.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            text = (
                f"{host}:{port}: expected a free port, got one in use; give another --port, or stop the program that "
                "uses it"
            )
        else:
            text = f"{host}:{port}: expected an address of this machine, got: {error}; correct --host and --port"
        raise ConfigError(text) from None


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
