"""What a person sees of long work: a bar on a terminal, plain lines elsewhere."""

import io
import time

import pytest
from rich.console import Console

from ganlet.ui import Clock, Terminal


def terminal(is_terminal: bool) -> tuple[Terminal, io.StringIO]:
    stream = io.StringIO()
    shown = Terminal()
    shown.console = Console(file=stream, force_terminal=is_terminal, width=90, highlight=False, color_system=None)
    return shown, stream


def test_plain_lines_end_with_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    shown, stream = terminal(False)
    with shown.watch("teacher", "pictures") as update:
        for done in range(0, 101, 10):
            update(done, 100)
            now[0] += 4.0
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("teacher: 30/100 pictures, 2 per second, 28 s left")
    assert len(lines) == 4 and lines[-1].startswith("teacher: 100/100 pictures")


def test_nothing_to_do_prints_no_line_and_a_full_bar() -> None:
    shown, stream = terminal(False)
    with shown.watch("data", "pictures"):
        pass
    assert stream.getvalue() == ""
    shown, stream = terminal(True)
    with shown.watch("data", "pictures"):
        pass
    assert "100 %" in stream.getvalue()


def test_the_bar_names_work_and_rate() -> None:
    shown, stream = terminal(True)
    with shown.watch("student", "pictures") as update:
        update(0, 10)
        update(10, 10)
    text = stream.getvalue()
    assert "student" in text and "pictures/s" in text and "100 %" in text


def test_rate_of_a_resumed_stage_counts_this_sitting_only(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock()
    assert clock.rate(900) == 0.0 and clock.seconds_left(900, 1000) == 0.0
    now[0] = 10.0
    assert clock.rate(950) == pytest.approx(5.0) and clock.seconds_left(950, 1000) == pytest.approx(10.0)


def test_brackets_of_advice_survive() -> None:
    shown, stream = terminal(True)
    shown.say('pip install "ganlet[train]"')
    assert "ganlet[train]" in stream.getvalue()


def test_names_in_a_line_steer_no_terminal() -> None:
    for is_terminal in (False, True):
        shown, stream = terminal(is_terminal)
        shown.say("read pic\x1b[2J[red]\n\u202e.png, :smile: кот.png")
        with shown.watch("a\x1b[31m[red]", "pictures") as update:
            update(0, 2)
            update(2, 2)
        text = stream.getvalue()
        assert "read pic\\x1b[2J[red]\\n\\u202e.png, :smile: кот.png\n" in text
        assert "a\\x1b[31m[red]" in text and "\x1b[2J[red]" not in text and "\x1b[31m" not in text
