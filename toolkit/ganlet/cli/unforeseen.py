"""The sentence for an exception that nobody foresaw, and the file that its traceback is kept in."""

import os
import tempfile
import traceback
from pathlib import Path

from ganlet.errors import printable, shortened
from ganlet.files import os_reason

MOST_CHARACTERS = 300  # of another library's message


def unforeseen(error: BaseException) -> str:
    """One sentence for `error`: what happened, and where its traceback is."""
    return f"{_what_happened(error)}; {_where_the_traceback_is(error)}."


def _what_happened(error: BaseException) -> str:
    if isinstance(error, MemoryError):
        return "This took more memory than the process may have: use a smaller batch, size or number of pictures"
    if isinstance(error, OSError) and error.errno is not None:
        about = f" {printable(error.filename)}" if error.filename is not None else ""
        return f"The system refused to read or write{about}: {os_reason(error)}"
    message = shortened(" ".join(printable(error).split()), MOST_CHARACTERS)
    return f"Ganlet met a fault of its own ({type(error).__name__}{': ' * bool(message)}{message})"


def _where_the_traceback_is(error: BaseException) -> str:
    try:
        path = keep_traceback(error)
    except OSError:
        return "the traceback could not be written to a file, run the command again with --debug to see it"
    return f"the traceback is in {printable(path)}"


def keep_traceback(error: BaseException) -> Path:
    """Write the traceback of `error` to a new file among the temporary ones, for its owner alone. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix="ganlet-traceback-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
        stream.write("".join(traceback.format_exception(error)))
    return Path(name)
