"""Answers of servers over HTTP."""

from __future__ import annotations

import re

MAY_PASS = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Failures that may be over when asked again."""


def why_untrusted(error: Exception) -> str | None:
    """Return OpenSSL's reason to refuse a server's certificate; None if the error is another one.

    Example:
        >>> why_untrusted(OSError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: expired (_ssl.c:10)"))
        'expired'
    """
    found = re.search(r"certificate verify failed: (.+?)\.?( \(_ssl|$)", str(error))
    return found and found[1]
