"""Standard streams that are closed, full or without a reader, and how a command ends."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table

from ganlet.cli.app import print_tables
from ganlet.cli.unforeseen import unforeseen
from ganlet.errors import GanletError
from support import Answer, expect_refused

HELPED = 'import sys; sys.argv = ["ganlet", "fid", "a", "b"]\nfrom ganlet import cli\n'
CALLS = "cli.app = lambda **words: {}\ncli.main()"


def ended(body: str, shell: str = 'exec "$@"', **more: Any) -> "subprocess.CompletedProcess[str]":
    """A process whose command is `body`, an expression; its streams are arranged by `shell`."""
    words = ["sh", "-c", shell, "sh", sys.executable, "-c", HELPED + CALLS.format(body)]
    return subprocess.run(words, capture_output=True, text=True, timeout=60, **more)


@pytest.mark.parametrize("shell", ['exec "$@" >&-', 'exec "$@" >&- 2>&-', 'exec "$@" <&- >&- 2>&-'])
def test_a_file_that_is_opened_does_not_receive_what_is_printed(shell: str, tmp_path: Path) -> None:
    """It would, with the number of the closed stream."""
    path = tmp_path / "file.txt"
    done = ended(f"[open({str(path)!r}, 'w').write('content'), print('printed'), sys.stderr.write('said')]", shell)
    assert done.returncode == 0
    assert path.read_text() == "content"


def test_a_full_disk_behind_the_output_is_a_fault_in_one_sentence() -> None:
    done = ended("print('figures')", 'exec "$@" > /dev/full')
    assert done.returncode == 2
    assert done.stderr.startswith("ganlet: Cannot write to standard output: No space left on device;")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_reader_that_left_changes_no_exit_code(code: int) -> None:
    """The command finishes its work: a training behind `| head -1` too."""
    reader, writer = os.pipe()
    os.close(reader)
    body = f"[print('line', flush=True), print('x' * 10**6), sys.exit({code})]"
    words = [sys.executable, "-c", HELPED + CALLS.format(body)]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (code, "")


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (KeyError("widths"), "a fault of its own (KeyError: 'widths')"),
        (RecursionError("deep"), "a fault of its own (RecursionError: deep)"),
        (MemoryError(), "more memory than the process may have"),
        (PermissionError(13, "Permission denied", "a\x1bfile"), "a\\x1bfile: Permission denied; choose a folder"),
        (BrokenPipeError(32, "Broken pipe"), "Broken pipe"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "UnicodeDecodeError"),
    ],
)
def test_what_nobody_foresaw_is_one_sentence_and_exit_code_2(
    raised: Exception, words: str, ganlet: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr("ganlet.commands.fid.compare.compare_paths", fail)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code, out, err = ganlet("fid", "a", "b")
    assert code == 2 and out == "" and len(err.splitlines()) == 1, err
    assert err.startswith("ganlet: ") and words in err and "Traceback" not in err
    [kept] = tmp_path.glob("ganlet-traceback-*.txt")
    assert str(kept) in err and type(raised).__name__ in kept.read_text()


def test_a_traceback_that_cannot_be_kept_is_no_second_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/proc/none")
    assert "could not be written to a file, run the command again with --debug" in unforeseen(ValueError("odd"))


def test_debug_shows_the_traceback_and_exits_with_2(
    ganlet: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise GanletError("Got this, expected that.")

    monkeypatch.setattr("ganlet.commands.fid.compare.compare_paths", fail)
    code, _, err = ganlet("--debug", "fid", "a", "b")
    assert code == 2 and "Traceback" in err and err.splitlines()[-1] == "ganlet: Got this, expected that."


def test_the_end_of_standard_input_is_no_verdict(
    ganlet: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(*_: Any, **__: Any) -> None:
        raise EOFError

    monkeypatch.setattr("ganlet.commands.fid.compare.compare_paths", ask)
    assert ganlet("fid", "a", "b")[0] == 2


def test_hang_up_stops_like_sigterm_unless_it_is_ignored() -> None:
    body = "[__import__('os').kill(__import__('os').getpid(), __import__('signal').SIGHUP), print('went on')]"
    stopped = ended(body)
    assert stopped.returncode == 130 and "Stopped" in stopped.stderr and not stopped.stdout
    under_nohup = ended(body, 'trap "" HUP; exec "$@"')
    assert (under_nohup.returncode, under_nohup.stdout) == (0, "went on\n")


@pytest.mark.parametrize("columns", ["20", "40", "300"])
def test_a_table_in_a_pipe_is_whole(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    table = Table("what", "figure", "reason")
    table.add_row("distance to the data", "1,234.56 (1,200.00 to 1,300.00)", "measured on 5,000 samples of two sets")
    print_tables(table)
    out = capsys.readouterr().out
    assert "1,234.56 (1,200.00 to 1,300.00)" in out and "measured on 5,000 samples of two sets" in out


@pytest.mark.parametrize("command", ["run", "verify", "export", "sample", "report", "budget", "fid", "import"])
@pytest.mark.parametrize("kind", ["pipe", "device", "socket"])
def test_a_pipe_or_a_device_is_refused_by_every_command(
    command: str, kind: str, ganlet: Callable[..., Answer], tmp_path: Path
) -> None:
    path = Path("/dev/zero")
    if kind == "pipe":
        path = tmp_path / "pipe.toml"
        os.mkfifo(path)
    if kind == "socket":
        path = tmp_path / "s"
        socket.socket(socket.AF_UNIX).bind(os.path.relpath(path))
    expect_refused(ganlet(command, path, *([tmp_path] * (command == "fid"))), "pipe or a device")


def test_a_recipe_of_many_megabytes_is_refused_unread(ganlet: Callable[..., Answer], tmp_path: Path) -> None:
    (tmp_path / "big.toml").write_text("#" * 4_000_000)
    expect_refused(ganlet("train", tmp_path / "big.toml"), "4,000,000 bytes")


@pytest.mark.parametrize("key", ["teacher.widths", "teacher.critic.widths", "distill.widths"])
def test_widths_beyond_any_network_are_a_fault_of_the_recipe(
    key: str, ganlet: Callable[..., Answer], tmp_path: Path
) -> None:
    recipe = Path(__file__).parents[2] / "recipes/digits-smoke.toml"
    code, _, err = ganlet("budget", recipe, "--set", f"{key}=[1000000000, 1000000000]")
    assert code == 2 and key in err and "65536" in err and "traceback" not in err.lower()
    assert "at least 1 item" not in err
