"""Warnings of other packages stay off the terminal; --debug shows them."""

import logging
import subprocess
import sys
import warnings

import pytest


def speak() -> None:
    warnings.warn("sklearn says", stacklevel=1)
    logging.getLogger("matplotlib.font_manager").warning("matplotlib says")
    subprocess.run([sys.executable, "-c", "import warnings; warnings.warn('child says')"], check=True)


SCRIPT = (
    "from ganlet.cli.third_parties import third_parties_silenced as silenced\n"
    "from test_cli_third_parties import speak\n"
    "with silenced(debug={debug}): speak()\n"
    "print('after', flush=True)\n"
    "speak()"
)


@pytest.mark.parametrize("debug", [False, True])
def test_warnings_log_lines_and_those_of_child_processes(debug: bool, request: pytest.FixtureRequest) -> None:
    words = [sys.executable, "-c", SCRIPT.format(debug=debug)]
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=request.path.parent, check=True
    )
    within, after = done.stdout.split("after")
    for speaker in ("matplotlib says", "child says"):
        assert (speaker in within) == debug and speaker in after, done.stdout  # afterwards all is as before
    assert ("sklearn says" in within) == debug
