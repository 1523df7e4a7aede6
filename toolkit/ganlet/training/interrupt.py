"""Ctrl-C, SIGTERM and SIGHUP: finish the step, write a checkpoint, then stop."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

AGAIN_SECONDS = 0.1

_asked = threading.Event()


def stopping_signals() -> list[int]:
    """Signals that stop the work. SIGHUP is none where the process was told to ignore it, as `nohup` does."""
    hang_up = getattr(signal, "SIGHUP", None)  # Windows has none
    if hang_up is None or signal.getsignal(hang_up) is signal.SIG_IGN:
        return [signal.SIGINT, signal.SIGTERM]
    return [signal.SIGINT, signal.SIGTERM, hang_up]


@dataclass
class Stop:
    requested: bool = False


def interrupt(number: int, frame: FrameType | None) -> None:
    """The handler outside of training: raises KeyboardInterrupt, and remembers that it did.

    A library that is called back may swallow the exception; training then stops at its first step. While modules are
    being imported the exception waits: half an extension module can crash the interpreter.
    """
    _asked.set()
    if _is_importing(frame):
        again = threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()
        return
    raise KeyboardInterrupt


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def install() -> None:
    """Take Ctrl-C, SIGTERM and SIGHUP for this process."""
    _asked.clear()
    for number in stopping_signals():
        signal.signal(number, interrupt)


@contextmanager
def catch_stop() -> Iterator[Stop]:
    """Within: the first signal only sets `requested`, a second one interrupts at once. Inert off the main thread."""
    stop = Stop(requested=_asked.is_set())
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, frame: FrameType | None) -> None:
        if stop.requested:
            raise KeyboardInterrupt
        stop.requested = True

    before = {number: signal.signal(number, note) for number in stopping_signals()}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
