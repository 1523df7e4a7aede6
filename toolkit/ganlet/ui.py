"""How the command line shows long work, on stderr: a progress bar on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from ganlet.errors import printable
from ganlet.observer import Update

if TYPE_CHECKING:
    from rich.console import Console

PLAIN_SECONDS = 10.0  # between two plain lines


class Terminal:
    """The pipeline's observer."""

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet

    @cached_property
    def console(self) -> "Console":
        from rich.console import Console  # a tenth of the time that a device takes to its first picture

        return Console(stderr=True, quiet=self.quiet, highlight=False)

    def _plain(self) -> bool:
        return "console" not in vars(self) and not sys.stderr.isatty()

    def say(self, text: str) -> None:
        """Print one line; control characters of names in it are escaped."""
        text = printable(text)
        if not self._plain():
            self.console.print(text, markup=False, emoji=False, soft_wrap=True)
        elif not self.quiet:
            print(text, file=sys.stderr, flush=True)

    @contextmanager
    def watch(self, label: str, unit: str) -> Iterator[Update]:
        """Yield `update(done, in all)`; the rate is of this sitting, so that a resumed stage does not look fast."""
        on_terminal = not self._plain() and self.console.is_terminal
        with (self._bar if on_terminal else self._lines)(label, unit) as update:
            yield update

    @contextmanager
    def _bar(self, label: str, unit: str) -> Iterator[Update]:
        from rich.markup import escape
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        columns = [
            SpinnerColumn(),
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=30),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(compact=True),
        ]
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task(escape(printable(label)), total=None, rate="")
            clock = Clock()

            def update(done: int, total: int) -> None:
                rate = f"{clock.rate(done):,.0f} {unit}/s"
                progress.update(task, completed=done, total=total, rate=rate)

            yield update
            if progress.tasks[task].total is None:  # there was nothing to do, such as pictures decoded before
                progress.update(task, completed=1, total=1)

    @contextmanager
    def _lines(self, label: str, unit: str) -> Iterator[Update]:
        clock = Clock()
        last_line = time.monotonic()
        seen = (0, 0)

        def line(done: int, total: int) -> None:
            left = clock.seconds_left(done, total)
            self.say(f"{label}: {done}/{total} {unit}, {clock.rate(done):,.0f} per second, {left:.0f} s left")

        def update(done: int, total: int) -> None:
            nonlocal last_line, seen
            seen = (done, total)
            rate_known = clock.rate(done) > 0
            if rate_known and done < total and time.monotonic() - last_line >= PLAIN_SECONDS:
                last_line = time.monotonic()
                line(done, total)

        yield update
        if seen[1]:
            line(*seen)


class Clock:
    """Rate since the first call."""

    def __init__(self) -> None:
        self.first: tuple[float, int] | None = None

    def rate(self, done: int) -> float:
        now = time.monotonic()
        if self.first is None:
            self.first = (now, done)
        started, at_start = self.first
        return (done - at_start) / max(now - started, 1e-9) if done > at_start else 0.0

    def seconds_left(self, done: int, total: int) -> float:
        rate = self.rate(done)
        return (total - done) / rate if rate else 0.0
