"""What other packages would print on the terminal: warnings and log lines that are no business of the user's."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def third_parties_silenced(debug: bool) -> Iterator[None]:
    """Keep warnings and log lines of other packages off the terminal, of child processes too.

    What the user has to know is said by Ganlet in its own sentence. With `debug` nothing is held back, and where Python
    was told by -W or PYTHONWARNINGS what to do with warnings, that holds.
    """
    if debug or sys.warnoptions:
        yield
        return
    handler, before = logging.NullHandler(), os.environ.get("PYTHONWARNINGS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger().addHandler(handler)  # without a handler Python prints warnings of loggers by itself
        os.environ["PYTHONWARNINGS"] = "ignore"
        try:
            yield
        finally:
            logging.getLogger().removeHandler(handler)
            os.environ.pop("PYTHONWARNINGS")
            if before is not None:
                os.environ["PYTHONWARNINGS"] = before
