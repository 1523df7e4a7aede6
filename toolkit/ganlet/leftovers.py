"""Temporary files that killed processes left behind."""

import os
import re
import stat
import time
from contextlib import suppress
from pathlib import Path

from ganlet.files import try_lock

LEFTOVER = re.compile(r"\..+\.[a-z0-9_]{8}\.tmp", re.DOTALL)  # a temporary file of `files.atomic_path`
YOUNG_S = 1.0  # between a temporary file is made and locked
OLD_S = 86400.0  # after which one is nobody's, where nothing can be locked


def remove_leftovers(folder: Path, deep: bool = False) -> None:
    """Delete what killed processes left half-written in `folder`, with `deep` in the folders below it as well.

    Those are the temporary files of `atomic_path` that no living process holds.
    """
    for place, folders, names in os.walk(folder):
        if not deep:
            folders.clear()
        for name in names:
            if LEFTOVER.fullmatch(name):
                with suppress(OSError):
                    _remove_where_unused(Path(place, name))


def _remove_where_unused(path: Path) -> None:
    about = path.lstat()
    age_s = time.time() - about.st_mtime
    if not stat.S_ISREG(about.st_mode) or age_s < YOUNG_S or _is_alive(path.name.split(".")[-3]):
        return
    with path.open("rb") as stream:
        try:
            try_lock(stream.fileno())
        except BlockingIOError:
            return
        except (OSError, ImportError):  # a system without locks
            if age_s < OLD_S:
                return
    path.unlink()


def _is_alive(number: str) -> bool:
    """Whether another process of this machine has that number. Files of earlier versions have none in their names."""
    if os.name != "posix" or not number.isascii() or not number.isdigit() or int(number) in (0, os.getpid()):
        return False
    try:
        os.kill(int(number), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
