"""Which files of a folder or an archive are pictures, and what is passed over, by kind and number."""

import os
import re
import stat
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from ganlet.errors import GanletError

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"),
    *(".pgm", ".ppm", ".pbm", ".pnm"),
)
KNOWN = "JPEG, PNG, WebP, BMP, TIFF, GIF or PNM pictures"
# Pictures that Pillow reads not at all, not everywhere, or not as they are meant.
UNREADABLE = frozenset(
    (
        *(".heic", ".heif", ".hif", ".avif", ".jxl", ".jxr", ".jp2", ".j2k", ".svg", ".psd", ".xcf", ".exr", ".hdr"),
        *(".pfm", ".tga", ".dds", ".ico", ".pcx", ".qoi", ".eps", ".raw", ".dng", ".cr2", ".cr3", ".nef", ".nrw"),
        *(".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw", ".x3f", ".3fr", ".iiq", ".rwl"),
    )
)
# Folders that file servers and operating systems add, with thumbnails or deleted files; in lower case.
SYSTEM_FOLDERS = frozenset(
    (
        *("@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "$recycle.bin", "recycler", "__macosx"),
        *("system volume information", "lost+found"),
    )
)
SYSTEM_FILES = frozenset(("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini"))
SHOWN_KINDS = 8
LINKED_FOLDER = "linked folder"
NO_SUFFIX = "no suffix"
HIDDEN = "hidden file"
REMEDIES = {
    LINKED_FOLDER: "links to folders are not followed: put the pictures themselves there, or give their folder",
    NO_SUFFIX: "what has no suffix is taken where it is a picture by its content",
}


@dataclass(frozen=True)
class Intake:
    """What a source took and what it passed over: numbers by kind, such as {".png": 40} and {".heic": 3}."""

    taken: Mapping[str, int] = field(default_factory=dict)
    passed_over: Mapping[str, int] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Both as plain objects, the most frequent kind first."""
        return {"taken": dict(self.taken), "passed_over": dict(self.passed_over)}

    def sentences(self) -> list[str]:
        """What was taken, and where something was passed over, that, with the remedies."""
        sentences = [f"{sum(self.taken.values()):,} pictures taken ({_listed(self.taken)})"] if self.taken else []
        return sentences + ([f"passed over: {self.passed_over_words()}"] if self.passed_over else [])

    def passed_over_words(self) -> str:
        """Such as `3 .heic, 1 linked folder; convert .heic to PNG or JPEG`."""
        unread = [kind for kind in self.passed_over if kind in UNREADABLE]
        remedies = [f"convert {' '.join(unread[:SHOWN_KINDS])} to PNG or JPEG to use them"] if unread else []
        remedies += [remedy for kind, remedy in REMEDIES.items() if kind in self.passed_over]
        return "; ".join([_listed(self.passed_over), *remedies])


def _listed(counts: Mapping[str, int]) -> str:
    shown = [f"{number:,} {kind}" for kind, number in list(counts.items())[:SHOWN_KINDS]]
    rest = list(counts.values())[SHOWN_KINDS:]
    return ", ".join(shown + ([f"{sum(rest):,} of {len(rest)} other kinds"] if rest else []))


@dataclass
class Sorter:
    """Sorts names into pictures and kinds to pass over, and counts both."""

    taken: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)

    def folder(self, name: str, *, linked: bool) -> bool:
        """Whether to look into a folder of this name; counts it where not."""
        if name.startswith(".") or name.lower() in SYSTEM_FOLDERS:
            self.passed_over[f"folder {_plain(name)}"] += 1
        elif linked:
            self.passed_over[LINKED_FOLDER] += 1
        else:
            return True
        return False

    def file(self, name: str, is_picture: Callable[[], bool]) -> bool:
        """Whether the file of this name is a picture; `is_picture` looks into it where its name has no suffix."""
        suffix = PurePosixPath(name).suffix.lower()
        if name.startswith("."):
            self.passed_over[HIDDEN] += 1
        elif name.lower() in SYSTEM_FILES:
            self.passed_over[_plain(name)] += 1
        elif suffix in SUFFIXES or (not suffix and is_picture()):
            self.taken[suffix or NO_SUFFIX] += 1
            return True
        else:
            self.passed_over[_kind(suffix)] += 1
        return False

    def intake(self) -> Intake:
        """The counts, the most frequent kind first, equal ones by name."""
        return Intake(*(dict(_by_number(counts)) for counts in (self.taken, self.passed_over)))


def _by_number(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _kind(suffix: str) -> str:
    if not suffix:
        return NO_SUFFIX
    return suffix if re.fullmatch(r"\.[a-z0-9_~+-]{1,12}", suffix) else "other suffix"


def _plain(name: str) -> str:
    return name if name.isascii() and name.isprintable() and len(name) <= 40 else ascii(name)[1:-1][:40]


@dataclass(frozen=True)
class Listing:
    """The pictures below a folder in a stable order, the names of all other files, and the numbers of both."""

    files: list[Path]
    others: list[str]
    intake: Intake


def list_folder(root: Path, is_picture: Callable[[Path], bool], own: tuple[str, ...] = ()) -> Listing:
    """Pictures below `root`, sub-folders too, by suffix, or by content (`is_picture`) where there is none.

    Links to folders are not followed. Files with a suffix of `own` belong to pictures and count as neither.
    Raises GanletError for a folder that cannot be read.
    """
    sorter, files, others = Sorter(), [], []
    for folder, below, names in os.walk(root, followlinks=False, onerror=_unreadable):
        below[:] = [name for name in below if sorter.folder(name, linked=Path(folder, name).is_symlink())]
        for name in names:
            file = Path(folder, name)
            if own and name.lower().endswith(own):
                continue
            if sorter.file(name, partial(is_picture, file)):
                files.append(file)
            else:
                others.append(name)
    return Listing(sorted(files, key=lambda file: file.relative_to(root).parts), others, sorter.intake())


def list_members(names: list[str], is_picture: Callable[[str], bool]) -> tuple[list[str], Intake]:
    """Pictures among the names of an archive's files in a stable order, and the numbers of what they are."""
    sorter, pictures = Sorter(), []
    folders: dict[str, bool] = {}
    for name in names:
        *above, last = PurePosixPath(name.replace("\\", "/")).parts or ("",)
        looked_into = all(_looked_into(sorter, folders, above[: depth + 1]) for depth in range(len(above)))
        if looked_into and sorter.file(last, partial(is_picture, name)):
            pictures.append(name)
    return sorted(pictures, key=lambda name: PurePosixPath(name).parts), sorter.intake()


def _looked_into(sorter: Sorter, folders: dict[str, bool], parts: list[str]) -> bool:
    path = "/".join(parts)
    if path not in folders:
        folders[path] = sorter.folder(parts[-1], linked=False)
    return folders[path]


def is_regular(path: Path) -> bool:
    """Whether a file can be read without waiting: no FIFO, device, folder or broken link."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except (OSError, ValueError):
        return False


def _unreadable(error: OSError) -> None:
    raise GanletError(f"Cannot read the folder {error.filename} ({error.strerror}); mend its permissions.") from error
