"""What libraries say on standard error while a command runs: nothing.

Their warnings are written for programmers: of their own next versions, or of a header's value, which they quote, names
and identifiers of patients among them. What matters of it to a user comes from the readers as a notice, with advice.
`PYTHONWARNINGS=default` shows what else there is.
"""

from __future__ import annotations

import logging
import sys
import warnings


def silence_libraries() -> None:
    """Let neither warnings nor log messages reach standard error, in this process and in those that it starts.

    A process of `multiprocessing` takes over the options of warnings. For log messages call this in it as well.
    """
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        sys.warnoptions.append("ignore")
        logging.getLogger().addHandler(logging.NullHandler())  # without one, Python prints what is a warning or more
