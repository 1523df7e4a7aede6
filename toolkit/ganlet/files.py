"""Reading and writing files so that nothing already made is ever lost. Standard library only: every room may use it."""

import codecs
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ganlet.errors import Busy, GanletError, words_of

MB = 10**6
MIB = 2**20
MOST_JSON_BYTES = 64 * MIB  # of a file of ours: a search of a thousand trials has some MiB
FULL = {errno.ENOSPC, errno.EDQUOT}
"""errno where no space is left: advice to free some is for these alone."""
MOST_PREFIX_BYTES = 100  # of a temporary name: some file systems allow 143 bytes in all

UNSUPPORTED = {
    errno.EPERM,
    errno.EACCES,
    errno.EINVAL,
    errno.ENOSYS,
    errno.ENOTSUP,
    errno.EOPNOTSUPP,
    errno.ENOTTY,
    errno.EXDEV,
    errno.EISDIR,
}
"""errno of calls that shares (CIFS, NFS), sticks (FAT, NTFS) and buckets refuse although they hold the file."""

REMEDIES: list[tuple[set[int], str]] = [
    (FULL, "free some space, or choose a folder on another disk"),
    ({errno.EACCES, errno.EPERM}, "choose a folder that this user may write to"),
    ({errno.EROFS}, "choose a folder on a disk that can be written to"),
    ({errno.ENAMETOOLONG}, "choose a shorter name"),
    (
        {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP},
        "check the path: a part of it is missing, or is of another kind",
    ),
    ({errno.EFBIG}, "raise the limit of a file's size (`ulimit -f`), or choose another file system"),
    ({errno.EMFILE, errno.ENFILE}, "raise the limit of open files (`ulimit -n`)"),
    ({errno.ESPIPE, errno.ENXIO}, "choose an ordinary file: this one cannot be written piece by piece"),
    ({errno.EIO}, "check the disk or the connection to it"),
]
"""What helps against a refused call, by its errno."""


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success fsync and rename it onto `path`, on failure remove it.

    Raises GanletError when the folder cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = handle = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_temporary_prefix(path.name), suffix=".tmp", dir=path.parent)
        temporary = Path(name)
        if os.name == "posix":  # held and locked, so that nobody takes it for a leftover
            with suppress(OSError):
                try_lock(handle)
            yield temporary
            os.close(handle)
            handle = None
        else:
            os.close(handle)
            handle = None
            yield temporary
        with temporary.open("r+b") as stream, _unless_unsupported():
            os.fsync(stream.fileno())
        with _unless_unsupported():
            temporary.chmod(0o644)
        rename(temporary, path)
        _fsync_folder(path.parent)
    except OSError as error:
        raise write_failed(path, error) from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)


def _temporary_prefix(name: str) -> str:
    """ ".NAME.PROCESS.", or of a long name only its beginning: random letters and the suffix have to fit behind it."""
    beginning = os.fsencode(name)[:MOST_PREFIX_BYTES].decode("utf-8", "ignore")
    return f".{name if os.fsencode(name) == os.fsencode(beginning) else beginning}.{os.getpid()}."


@contextmanager
def _unless_unsupported() -> Iterator[None]:
    """Go on where a share, a stick or a bucket does not know a call; the content is whole without it."""
    try:
        yield
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise


def rename(source: Path, target: Path) -> None:
    """Rename a file onto `target`. Where the file system knows no renaming, copy it there and remove `source`.

    Raises OSError; the target is then what it was before.
    """
    try:
        source.replace(target)
        return
    except OSError as error:
        if error.errno not in UNSUPPORTED or source.is_dir():
            raise
        refused = error
    before = target.read_bytes() if target.exists() else None
    try:
        shutil.copyfile(source, target)
    except OSError as error:
        with suppress(OSError):
            target.unlink(missing_ok=True) if before is None else target.write_bytes(before)
        raise error from refused
    with suppress(OSError):
        source.unlink()


def write_failed(path: Path, error: OSError) -> GanletError:
    """The one sentence for a write that the system refused: the path, the cause and the remedy for that cause."""
    return GanletError(f"Cannot write {path}: {os_reason(error)}.")


def os_reason(error: OSError) -> str:
    """Cause and remedy of a call that the system refused, such as "No space left on device; free some space"."""
    cause = error.strerror or str(error)
    remedy = next((remedy for numbers, remedy in REMEDIES if error.errno in numbers), "choose another place")
    return f"{cause}; {remedy}"


def _fsync_folder(folder: Path) -> None:
    """Make a renaming last. Many file systems refuse to open or to sync a folder: the file itself is whole by then."""
    if os.name != "posix":
        return
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """The folder, made where it is missing, is this block's alone; a process that dies gives it back.

    Nothing is written for it: the folder itself is locked. One that is still empty in the end is removed.
    Raises Busy where another block holds it, GanletError where it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = _open_to_lock(folder)
    except OSError as error:
        raise write_failed(folder, error) from error
    try:
        if handle is not None:
            _lock(handle, folder)
        try:
            yield
        finally:
            with suppress(OSError):
                folder.rmdir()
    finally:
        if handle is not None:
            os.close(handle)


def _open_to_lock(folder: Path) -> int | None:
    """A file number of `folder`; None where folders cannot be opened, and so not be locked either."""
    if os.name != "posix":
        return None
    try:
        return os.open(folder, os.O_RDONLY)
    except OSError as error:
        if error.errno in UNSUPPORTED:
            return None
        raise


def _lock(handle: int, folder: Path) -> None:
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise Busy(f"Another ganlet works in {folder}; wait for it, or give this one a folder with --out.") from error
    except OSError:  # a file system without locks
        return


def copy_onto(source: Path, target: Path) -> None:
    """Copy a file, or a folder with all that is in it; nothing where `source` is not there. Raises OSError."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically: readers see the old file or the whole new one."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 `text` to `path` atomically; of a file name that is no text each stray byte as its escape."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN and infinity are refused: they are not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises GanletError when it is missing or damaged."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode) or about.st_size > MOST_JSON_BYTES:
            fault = f"it has {about.st_size:,} bytes" if stat.S_ISREG(about.st_mode) else "it is no regular file"
            raise GanletError(
                f"{path} is not readable JSON ({fault}, expected one of at most {MOST_JSON_BYTES:,} bytes); restore it "
                "or make it again."
            )
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GanletError(f"{path} does not exist; check the path, or make it again with `ganlet run`.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise GanletError(f"{path} is not readable JSON ({words_of(error)}); restore it or make it again.") from error


def try_lock(handle: int) -> None:
    """Lock an open file. Raises BlockingIOError where another holder has locked it."""
    import fcntl

    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


_MARKS = (  # the longer ones first: that of UTF-32 begins like that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def text_of(content: bytes) -> str:
    """The text of a file that a person wrote: UTF-8, UTF-16, or UTF-32 with a byte order mark; newlines as \\n.

    Raises UnicodeDecodeError where it is none of them.
    """
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    if encoding == "utf-8" and b"\0" in content[:2]:  # UTF-16 without its mark: the first letter is an ASCII one
        encoding = "utf-16-be" if content[0] == 0 else "utf-16-le"
    return content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")


def is_utf8(path: Path | str) -> bool:
    """Whether a path can be given to libraries that take paths as UTF-8; others have to be given the content."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
