"""Nothing already made is ever lost, and a refused write is one sentence."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ganlet import files
from ganlet.errors import Busy, GanletError
from ganlet.files import (
    MOST_JSON_BYTES,
    atomic_path,
    claimed,
    read_json,
    sha256_file,
    write_bytes,
    write_json,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    write_text(path, "кот\n")
    assert path.read_bytes() == "кот\n".encode() and names(path.parent) == ["c.txt"]
    assert path.stat().st_mode & 0o777 == 0o644
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new" and names(path.parent) == ["c.txt"]


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.EIO, "Input/output error")])
def test_a_failing_body_leaves_the_old_file_and_no_temporary(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "kept.bin"
    path.write_bytes(b"old")
    expected = GanletError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), atomic_path(path) as temporary:
        assert temporary.parent == tmp_path and temporary != path
        temporary.write_bytes(b"half of the n")
        assert path.read_bytes() == b"old"
        raise error
    assert path.read_bytes() == b"old" and names(tmp_path) == ["kept.bin"]


def test_readers_never_see_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "new.bin"
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"half")
        assert not path.exists()
        temporary.write_bytes(b"whole")
    assert path.read_bytes() == b"whole"


def test_the_content_is_synced_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        events.append("folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "file")  # noqa: PTH112
        real_fsync(handle)

    def replace(self: Path, target: Path) -> Path:
        events.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_bytes(tmp_path / "a", b"x")
    assert [event for event in events if event != "folder"] == ["file", "rename"] and events[-1] != "file"


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("old")

    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(GanletError) as raised:
        write_text(path, "new")
    assert str(raised.value).startswith(f"Cannot write {path}: No space left on device;")
    assert "free some space" in str(raised.value)
    assert path.read_text() == "old" and names(tmp_path) == ["kept.txt"]


def test_a_disk_that_fills_up_at_the_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GanletError, match="No space left"):
        write_bytes(tmp_path / "a", b"x")
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GanletError, match="Cannot write"):
        write_text(tmp_path / "file" / "below" / "x.json", "")
    with pytest.raises(GanletError, match="Cannot write"):  # a folder stands where the file should be
        write_text(tmp_path, "")


def test_an_unwritable_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> tuple[int, str]:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(files.tempfile, "mkstemp", refused)  # the tests may run as root, whom no mode stops
    with pytest.raises(GanletError, match="Permission denied; choose a folder that this user may write to"):
        write_text(tmp_path / "x", "")


def test_json_goes_out_and_comes_back(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, None, True], "ключ": "значение"}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value == json.loads((tmp_path / "v.json").read_text())
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            write_json(tmp_path / "v.json", {"a": wrong})
    assert read_json(tmp_path / "v.json") == value  # still the old one


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"{'a': 1}", b"[" * 100_000])
def test_damaged_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "v.json").write_bytes(content)
    with pytest.raises(GanletError, match="not readable JSON"):
        read_json(tmp_path / "v.json")


def test_missing_json_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(GanletError, match="does not exist"):
        read_json(tmp_path / "v.json")
    with pytest.raises(GanletError, match="not readable JSON"):
        read_json(tmp_path)


def test_sha256(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "x").write_bytes(content)
    assert sha256_file(tmp_path / "x") == hashlib.sha256(content).hexdigest()


def test_a_claimed_folder_is_one_blocks_alone_and_nothing_is_left_of_it(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "run"
    with claimed(folder), pytest.raises(Busy, match=r"Another ganlet works in .*run; wait for it"), claimed(folder):
        pytest.fail("two hold it")
    assert not folder.exists()
    with pytest.raises(ValueError, match="refused"), claimed(folder):
        raise ValueError("refused")
    assert not folder.exists()
    with claimed(folder):
        (folder / "kept").touch()
    assert names(folder) == ["kept"]


def test_a_claim_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    hold = f"from ganlet.files import *\nwith claimed(Path({str(tmp_path)!r})): print(1, flush=True); input()"
    command = [sys.executable, "-c", hold]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"1\n"
        with pytest.raises(Busy), claimed(tmp_path):
            pass
        holder.kill()
    with claimed(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_is_a_refused_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GanletError, match="Cannot write"), claimed(tmp_path / "file" / "run"):
        pass


@pytest.mark.parametrize("kind", ["pipe", "folder", "huge"])
def test_json_that_is_no_file_of_ours_is_not_waited_for_or_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        with path.open("wb") as stream:
            stream.truncate(MOST_JSON_BYTES + 1)
    with pytest.raises(GanletError, match=r"is not readable JSON .*expected one of at most"):
        read_json(path)
