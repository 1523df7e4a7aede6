"""Picture files of a folder or a zip archive: listed, looked at, decoded. Archives are never unpacked to disk."""

import hashlib
import io
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from ganlet.data.landmarks import BadPictureError
from ganlet.data.listing import SUFFIXES, Intake, is_regular, list_folder, list_members
from ganlet.data.parallel import in_order, worker_count
from ganlet.data.pictures import Pixels
from ganlet.data.pixels import center_box
from ganlet.data.reading import (
    MAX_PIXELS,
    MAX_WHOLE_PIXELS,
    Header,
    Opener,
    fault_of,
    is_picture_content,
    opener_of,
    read_header,
    read_square,
    read_whole,
    remedy_of,
    without_warnings,
)
from ganlet.data.values import value_notes
from ganlet.errors import GanletError, words_of
from ganlet.files import MIB

MAX_FILE_BYTES = 256 * 2**20
STREAMED_BYTES = 32 * 2**20  # a larger member of an archive is unpacked as it is read
HELD_BYTES = 192 * MIB  # of decoded pictures that wait for the feature net
LOOKED_AT, LOOKED_AT_PIXELS = 64, 2**27  # pictures whose values are looked at, and how many pixels of theirs at most
SHOWN = 5
SMALLER = "; larger pictures are read with --size, which shrinks them"
Shape = tuple[int, int]  # height and width of every decoded picture
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class PictureFile:
    """One file: its name inside the folder or archive, and how to open it."""

    name: str
    opener: Opener


@dataclass(frozen=True)
class Look:
    """What is seen of a file without decoding it: SHA-256 of its bytes, and its header."""

    sha256: str
    header: Header


def folder_files(root: Path) -> tuple[list[PictureFile], Intake]:
    """Pictures below `root`, sub-folders too, in a stable order, and what was taken and passed over.

    Raises GanletError when there is none.
    """
    listing = list_folder(root, lambda file: is_regular(file) and is_picture_content(opener_of(file)))
    if not listing.files:
        others = listing.intake.passed_over_words()
        raise GanletError(
            f"The folder {root} holds {len(listing.others)} files but no picture ({' '.join(SUFFIXES)}), and is no run "
            f"either; give a folder of pictures{f'; passed over: {others}' if others else ''}."
        )
    names = [file.relative_to(root).as_posix() for file in listing.files]
    files = [PictureFile(name, partial(_open, file)) for name, file in zip(names, listing.files, strict=True)]
    return files, listing.intake


def zip_files(path: Path) -> tuple[list[PictureFile], Intake]:
    """Pictures in the archive `path`, in a stable order, and what was taken and passed over.

    Raises GanletError when it is damaged or cut short, holds no picture, is encrypted, or has members that point out of
    it or are links.
    """
    try:
        archive = zipfile.ZipFile(path)
        members = {member.filename: member for member in archive.infolist() if not member.is_dir()}
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise GanletError(
            f"{path} is not a whole zip archive ({words_of(error)}): it is damaged, cut short or of another kind; "
            "copy it again."
        ) from error
    for member in members.values():
        _require_harmless(path, member)
    openers = {name: partial(_open_member, archive, member) for name, member in members.items()}
    names, intake = list_members(list(members), lambda name: is_picture_content(openers[name]))
    if not names:
        others = intake.passed_over_words()
        raise GanletError(
            f"The archive {path} holds {len(members)} files but no picture ({' '.join(SUFFIXES)}); give another"
            f"{f'; passed over: {others}' if others else ''}."
        )
    for name in names:
        if members[name].file_size > MAX_FILE_BYTES:
            raise GanletError(
                f"{name} in {path} unpacks to {members[name].file_size} bytes, expected at most {MAX_FILE_BYTES}."
            )
    return [PictureFile(name, openers[name]) for name in names], intake


def look_at(files: list[PictureFile], label: str, size_px: int | None, progress: Progress) -> list[Look]:
    """Hash every file and read its size. Raises GanletError for files that are no pictures, and for mixed sizes unless
    they are all brought to `size_px`."""
    looks, faults = [], []
    work = partial(_look, max_pixels=MAX_PIXELS if size_px else MAX_WHOLE_PIXELS)
    with without_warnings():
        for number, (file, found) in enumerate(zip(files, in_order(work, files), strict=True), start=1):
            if isinstance(found, str):
                faults.append(f"{file.name} {found}")
            else:
                looks.append(found)
            progress(number, len(files))
    _raise_faults(faults, label, len(files), "" if size_px else SMALLER)
    sizes = Counter((look.header.width_px, look.header.height_px) for look in looks)
    if size_px is None and len(sizes) > 1:
        (common, often), (other, _) = sizes.most_common()[0], sizes.most_common()[-1]
        pairs = zip(files, looks, strict=True)
        odd = next(file.name for file, look in pairs if (look.header.width_px, look.header.height_px) == other)
        raise GanletError(
            f"The pictures of {label} have {len(sizes)} different sizes ({common[0]}x{common[1]} px {often} times, "
            f"{odd} {other[0]}x{other[1]}), expected one; bring all to one with --size {min(common)}, by a centre crop."
        )
    return looks


def check_all(files: list[PictureFile], label: str, size_px: int | None, shape: Shape, progress: Progress) -> None:
    """Decode every file once, so that a damaged one is found before hours of work. Raises GanletError for them all."""
    faults = []
    for number, (file, found) in enumerate(_decoded(files, size_px, shape), start=1):
        if isinstance(found, str):
            faults.append(f"{file.name} {found}")
        progress(number, len(files))
    _raise_faults(faults, label, len(files))


def chunks_of(files: list[PictureFile], label: str, size_px: int | None, shape: Shape, chunk: int) -> Iterator[Pixels]:
    """Decoded pictures (n, 3, height, width) uint8, n <= `chunk`, in order.

    Memory grows neither with their number nor, above `HELD_BYTES`, with their size.
    """
    held: list[Pixels] = []
    chunk = min(chunk, _most_held(shape))
    for file, found in _decoded(files, size_px, shape):
        if isinstance(found, str):
            _raise_faults([f"{file.name} {found}"], label, len(files))
        else:
            held.append(found)
        if len(held) == chunk:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)


def values_of(files: list[PictureFile], looks: list[Look], size_px: int | None, shape: Shape) -> list[str]:
    """Notes on the values of some pictures, spread evenly over `files`; damaged ones are left to `check_all`."""
    largest = max(look.header.width_px * look.header.height_px for look in looks)
    count = min(len(files), LOOKED_AT, _most_held(shape), max(2, LOOKED_AT_PIXELS // largest))
    some = [files[index * len(files) // count] for index in range(count)]
    read = [(file.name, found) for file, found in _decoded(some, size_px, shape) if not isinstance(found, str)]
    pictures = [found for _, found in read if found.shape[1:] == shape]
    return value_notes(np.stack(pictures), [name for name, _ in read]) if pictures else []


def _most_held(shape: Shape) -> int:
    """How many decoded pictures of this height and width may exist in one place."""
    return max(1, HELD_BYTES // (3 * shape[0] * shape[1]))


def _decoded(files: list[PictureFile], size_px: int | None, shape: Shape) -> Iterator[tuple[PictureFile, Pixels | str]]:
    """Each file with its picture, or with the reason why there is none."""
    work = partial(_decoded_or_fault, size_px=size_px)
    window = min(4 * worker_count(), _most_held(shape))
    with without_warnings():
        yield from zip(files, in_order(work, files, window), strict=True)


def decode(opener: Opener, size_px: int | None) -> Pixels:
    """One picture as (3, height, width) uint8, read as training reads it: upright, transparency on white.

    With a size also cropped to the middle square and shrunk by Lanczos. Raises whatever Pillow raises.
    """
    if size_px is None:
        return read_whole(opener)
    return read_square(opener, center_box, size=size_px, channels=3).pixels


def _decoded_or_fault(file: PictureFile, size_px: int | None) -> Pixels | str:
    try:
        return decode(file.opener, size_px)
    except Exception as error:  # Pillow's parsers raise nearly any type on a damaged file; none may end the whole run
        return fault_of(error)


def _look(file: PictureFile, max_pixels: int) -> Look | str:
    head = b""
    try:
        with file.opener() as stream:
            head = stream.read(16)
            if not head:
                return "is empty (0 bytes)"
            digest = hashlib.sha256(head)
            while block := stream.read(MIB):
                digest.update(block)
        return Look(digest.hexdigest(), read_header(file.opener, max_pixels))
    except Exception as error:  # as above
        return fault_of(error, head)


def _raise_faults(faults: list[str], label: str, total: int, hint: str = "") -> None:
    if faults:
        hint = hint if any("million" in fault for fault in faults) else ""
        more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise GanletError(
            f"{len(faults)} of the {total} pictures of {label} cannot be used: {', '.join(faults[:SHOWN])}{more}; mend "
            f"or remove them{hint}{remedy_of(faults)}."
        )


def _require_harmless(path: Path, member: zipfile.ZipInfo) -> None:
    """Refuse what an honest archive of pictures does not hold: nothing is unpacked, but it is not to be trusted."""
    name = member.filename
    if re.match(r"[/\\]|[A-Za-z]:[/\\]", name) or ".." in re.split(r"[/\\]", name):
        raise GanletError(
            f"{path} holds the member {name!r}, which points out of the archive; pack the pictures again."
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise GanletError(f"{path} holds the link {name!r}, expected pictures; pack the pictures themselves.")
    if member.flag_bits & 1:
        raise GanletError(f"{path} is encrypted ({name!r}); unpack it and give the folder.")


def _open_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> IO[bytes]:
    if member.file_size <= STREAMED_BYTES:
        return io.BytesIO(archive.read(member))
    return archive.open(member)


def _open(file: Path) -> IO[bytes]:
    if not is_regular(file):
        raise BadPictureError("is not a regular file")
    if file.stat().st_size > MAX_FILE_BYTES:
        raise BadPictureError(f"has more than {MAX_FILE_BYTES} bytes")
    return file.open("rb")
