"""Standard input, output and error as they come: closed, a pipe whose reader has left, a full disk."""

import io
import os
import stat
import sys
from collections.abc import Iterable
from errno import EIO, EPIPE
from pathlib import Path
from typing import TextIO

from ganlet.errors import GanletError

READER_LEFT = (EPIPE, EIO)
"""errno of a write to a pipe that nobody reads, and to a terminal that was closed."""


class PatientText(io.TextIOWrapper):
    """A text stream that goes on where it cannot write: `lost` is then the first error, and what follows is dropped.

    A command so finishes its work when `| head -1` has read enough. `buffer` still raises, for commands whose work is
    to fill a pipe.
    """

    lost: OSError | None = None

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        if self.closed:
            return
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Point the file number to nowhere, so that bytes that wait in the buffer disturb nobody later."""
        self.lost = self.lost or error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)


def prepare_streams() -> None:
    """Make the standard streams safe to use.

    A closed one is opened on nothing: the next file that is opened would otherwise take its number, and receive what is
    printed. Output and error become `PatientText`, and print the bytes of a file name that is no text as escapes.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
    sys.stdout = _patient(sys.stdout, 1)
    sys.stderr = _patient(sys.stderr, 2)


def _patient(stream: TextIO | None, number: int) -> TextIO:
    if stream is None:  # Python found it closed
        stream = open(number, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - lives as long as the process
    if type(stream) is not io.TextIOWrapper:  # another program's own, such as a test's
        return stream
    encoding, lines = stream.encoding, stream.line_buffering
    return PatientText(stream.detach(), encoding=encoding, errors="backslashreplace", line_buffering=lines)


def refuse_pipes(words: Iterable[str]) -> None:
    """Raise GanletError where an argument names a pipe or a device.

    Reading one can last for ever, and no file format here can be written to one. Every command is covered at once.
    """
    for word in words:
        path = word.partition("=")[2] if word.startswith("--") else word
        try:
            mode = Path(path).stat().st_mode if path else 0
        except (OSError, ValueError):  # no path at all, or one that its command has a sentence for
            continue
        if stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode) or stat.S_ISSOCK(mode):
            raise GanletError(f"{path} is a pipe or a device, expected an ordinary file or folder; name one of these.")


def lost_output() -> OSError | None:
    """Why standard output did not take everything; None where it did, and where its reader had read enough."""
    sys.stdout.flush()
    error = sys.stdout.lost if isinstance(sys.stdout, PatientText) else None
    return None if error is None or error.errno in READER_LEFT else error
