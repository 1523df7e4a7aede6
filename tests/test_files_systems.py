"""File systems that refuse calls although they hold the file: shares, sticks, buckets, other users' folders."""

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ganlet.errors import GanletError
from ganlet.files import UNSUPPORTED, claimed, os_reason, rename, write_bytes


def refusing(number: int) -> Any:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    return refuse


@pytest.mark.parametrize("number", [errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
@pytest.mark.parametrize("call", ["os.chmod", "os.fsync", "os.rename", "os.replace"])
def test_a_refused_call_that_the_content_does_not_need_loses_nothing(
    call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"before")
    monkeypatch.setattr(call, refusing(number))
    write_bytes(path, b"after")
    assert path.read_bytes() == b"after"
    assert [file.name for file in tmp_path.iterdir()] == ["file.bin"]


def test_a_folder_that_cannot_be_opened_or_synced_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open

    def no_folders(path: Any, *more: Any, **named: Any) -> int:
        if Path(path).is_dir():
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        return opened(path, *more, **named)

    monkeypatch.setattr(os, "open", no_folders)
    with claimed(tmp_path / "run") as _:
        write_bytes(tmp_path / "run/file.bin", b"content")
    assert (tmp_path / "run/file.bin").read_bytes() == b"content"


def test_a_disk_error_is_no_missing_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"before")
    monkeypatch.setattr("os.fsync", refusing(errno.EIO))
    with pytest.raises(GanletError, match="Input/output error; check the disk"):
        write_bytes(path, b"after")
    assert path.read_bytes() == b"before"


@pytest.mark.parametrize("before", [b"before", None])
def test_a_copy_that_fails_in_place_of_a_renaming_leaves_the_target_as_it_was(
    before: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"after")
    if before is not None:
        target.write_bytes(before)

    def half(source: Path, target: Path) -> None:
        target.write_bytes(b"af")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.rename", refusing(errno.ENOSYS))
    monkeypatch.setattr("os.replace", refusing(errno.ENOSYS))
    monkeypatch.setattr(shutil, "copyfile", half)
    with pytest.raises(OSError, match="No space left"):
        rename(source, target)
    assert (target.read_bytes() if target.exists() else None) == before
    assert source.read_bytes() == b"after"


@pytest.mark.parametrize("name", ["x" * 240, "я" * 120, "😀" * 60, "a" * 200 + ".onnx"])
def test_a_name_as_long_as_the_file_system_allows_is_written(name: str, tmp_path: Path) -> None:
    write_bytes(tmp_path / name, b"content")
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_a_name_that_is_too_long_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(GanletError, match="File name too long; choose a shorter name"):
        write_bytes(tmp_path / ("x" * 300), b"content")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EDQUOT, "free some space"),
        (errno.EROFS, "can be written to"),
        (errno.EACCES, "this user may write to"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENOTDIR, "check the path"),
        (errno.ESPIPE, "ordinary file"),
    ],
)
def test_the_remedy_is_that_of_the_cause(number: int, remedy: str) -> None:
    reason = os_reason(OSError(number, os.strerror(number)))
    assert reason.startswith(os.strerror(number)) and remedy in reason
    assert ("space" in reason.split("; ")[1]) == (number in (errno.ENOSPC, errno.EDQUOT))


def test_what_may_be_refused_never_means_that_the_content_is_lost() -> None:
    assert not UNSUPPORTED & {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG, errno.EROFS}
