"""Text of unknown origin as it is printed: what steers a terminal is escaped, every alphabet stays readable."""

import copy
import os

import pytest

from ganlet.errors import Busy, GanletError, printable


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]8;;http://a\x07link", "\\x1b]8;;http://a\\x07link"),
        ("\x9b31m", "\\x9b31m"),  # the one-character form of the same escape sequence
        ("a\nganlet: passed\r\tb\x00\x7f", "a\\nganlet: passed\\r\\tb\\x00\\x7f"),
        ("gpj.\u202eexe", "gpj.\\u202eexe"),
        ("a\u2066b\u2069\u200f\u061c", "a\\u2066b\\u2069\\u200f\\u061c"),
        ("\u2028\u2029\ufeff\u200b", "\\u2028\\u2029\\ufeff\\u200b"),
        (os.fsdecode(b"caf\xe9.png"), "caf\\xe9.png"),
        ("\ud83d", "\\ud83d"),
    ],
)
def test_what_steers_a_terminal_is_escaped(text: str, expected: str) -> None:
    assert printable(text) == expected
    assert printable(printable(text)) == expected
    printable(text).encode("utf-8")


@pytest.mark.parametrize(
    "name",
    [
        "котята",
        "小猫",
        "ไทย",
        "cafe\u0301",
        "עברית",
        "👩\u200d👧",
        "می\u200cروم",
        "[red]a[/red]",
        "C:\\new\\x1b",
        "naïve 1 µm",
    ],
)
def test_every_alphabet_stays_as_it_is(name: str) -> None:
    assert printable(name) == name


def test_an_error_shows_names_escaped_and_keeps_its_own_lines() -> None:
    error = GanletError("Recipe \x1b[2J has 2 faults:", "data.\nx: unknown", "run: missing")
    assert str(error) == "Recipe \\x1b[2J has 2 faults:\n  data.\\nx: unknown\n  run: missing"
    assert str(copy.copy(error)) == str(error)
    assert f"{Busy(chr(10))}" == "\\n"


def test_newlines_and_tabs_can_be_kept() -> None:
    assert printable("Model\n\tMB\x07\r", keep_layout=True) == "Model\n\tMB\\x07\\r"
