"""Silencing of libraries on standard error.

Their warnings are written for programmers: about their next versions, or about values in headers, which they quote,
including names and identifiers of patients. Readers of files turn those that matter to users into notices with advice.
`PYTHONWARNINGS=default` shows the others.
"""

from __future__ import annotations

import logging
import sys
import warnings


def silence_libraries() -> None:
    """Keep warnings and log messages off standard error, in this process and in those that it starts.

    A process of `multiprocessing` inherits the warning options. For log messages, call this in it as well.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        sys.warnoptions.append("ignore")
        logging.getLogger().addHandler(logging.NullHandler())  # without a handler, Python prints warnings and errors
