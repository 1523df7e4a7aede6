"""A folder of pictures."""

import hashlib
import stat
from collections.abc import Generator
from functools import partial
from pathlib import Path

import numpy as np

from ganlet.data.landmarks import BadPictureError, landmark_box, landmark_path, read_landmarks
from ganlet.data.listing import KNOWN, SUFFIXES, Listing, is_regular, list_folder
from ganlet.data.parallel import in_order
from ganlet.data.pictures import Crop, Decoded, Decoder, Labels, Pixels
from ganlet.data.pixels import Box, center_box
from ganlet.data.reading import (
    Read,
    count_remarks,
    fault_of,
    is_picture_content,
    opener_of,
    read_square,
    remedy_of,
    without_warnings,
)
from ganlet.errors import GanletError

SHOWN_FAULTS = 10


def folder_decoder(path: Path | None, *, size: int, channels: int, crop: Crop, skip_bad: bool) -> Decoder:
    """List and hash the pictures below `path`. Raises GanletError when there is no folder or no picture in it."""
    root = _folder(path)
    listing = _list(root, crop)
    files = listing.files
    names = [file.relative_to(root).as_posix() for file in files]
    wanted = [*files, *(landmark_path(file) for file in files)] if crop == "landmarks" else files
    content = list(in_order(_content, wanted))
    identity = {"names": names, "content": content, "size": size, "channels": channels, "crop": crop}
    decode = partial(_decode, root, names, size=size, channels=channels, crop=crop, skip_bad=skip_bad)
    credit = f"Pictures of the folder {root.resolve().name}"
    return Decoder("folder", {**identity, "skip_bad": skip_bad}, len(files), credit, decode, listing.intake)


def _folder(path: Path | None) -> Path:
    if path is None:
        raise GanletError("The source is a folder but no path is given; set data.path to a folder of pictures.")
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:  # ValueError: of a NUL in the path
        why = error.strerror if isinstance(error, OSError) else error
        raise GanletError(
            f"The picture folder {path} cannot be opened ({why}); set data.path to a folder of pictures."
        ) from error
    if not stat.S_ISDIR(mode):
        kind = "a file" if stat.S_ISREG(mode) else "no folder and no file, but a pipe or a device"
        raise GanletError(f"{path} is {kind}, but a folder of pictures was expected; set data.path to its folder.")
    return path


def _list(root: Path, crop: Crop) -> Listing:
    """The pictures below `root`. Raises GanletError when there is none, or a folder cannot be read."""
    own = (".cat",) if crop == "landmarks" else ()
    listing = list_folder(root, lambda file: is_regular(file) and is_picture_content(opener_of(file)), own)
    if listing.files:
        return listing
    if not listing.intake.passed_over:
        raise GanletError(f"The picture folder {root} is empty; put {KNOWN} into it, or set data.path to another.")
    such = f" (such as {min(listing.others)})" if listing.others else ""
    raise GanletError(
        f"The picture folder {root} holds {len(listing.others)} files{such} but no picture; put "
        f"{KNOWN} ({' '.join(SUFFIXES)}) into it, or set data.path to another; passed over: "
        f"{listing.intake.passed_over_words()}."
    )


def _content(file: Path) -> str:
    """Size and SHA-256 of one file; what is wrong with it where it cannot be read, so that mending it is noticed."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return "not a file"
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            return f"{stream.tell()} {digest}"
    except OSError as error:
        return f"unreadable {error.errno}"


def _decode(
    root: Path, names: list[str], *, size: int, channels: int, crop: Crop, skip_bad: bool
) -> Generator[tuple[Pixels, int], None, Decoded]:
    good: list[str] = []
    faults: list[str] = []
    remarks: list[tuple[str, ...]] = []
    work = partial(_picture_or_fault, size=size, channels=channels, crop=crop)
    with without_warnings():
        results = in_order(work, (root / name for name in names))
        for name, result in zip(names, results, strict=True):
            if isinstance(result, str):
                faults.append(f"{name} {result}")
            else:
                good.append(name)
                remarks.append(result.remarks)
                if skip_bad or not faults:  # after a fault that stops the work, only the list of faults matters
                    yield result.pixels[None], len(good) + len(faults)
    if faults and (not skip_bad or not good):
        raise GanletError(_sentence(root, faults, len(names), all_bad=not good))
    labels, label_names = _labels(good)
    return Decoded(labels, label_names, tuple(good), tuple(faults), count_remarks(iter(remarks)))


def _sentence(root: Path, faults: list[str], total: int, *, all_bad: bool) -> str:
    more = f" and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
    listed = ", ".join(faults[:SHOWN_FAULTS]) + more
    if all_bad:
        remedy = f"replace them, or set data.path{remedy_of(faults)}"
        return f"None of the {total} pictures in {root} can be used: {listed}; {remedy}."
    return (
        f"{len(faults)} of the {total} pictures in {root} cannot be used: {listed}; "
        f"mend or remove them, or set data.skip_bad = true to go on without them{remedy_of(faults)}."
    )


def _labels(names: list[str]) -> tuple[Labels | None, tuple[str, ...]]:
    """First-level sub-folders as labels, where every picture lies in one."""
    if not all("/" in name for name in names):
        return None, ()
    firsts = [name.split("/", 1)[0] for name in names]
    label_names = tuple(sorted(set(firsts)))
    number = {name: index for index, name in enumerate(label_names)}
    return np.array([number[first] for first in firsts], dtype=np.int64), label_names


def _picture_or_fault(file: Path, *, size: int, channels: int, crop: Crop) -> Read | str:
    try:
        return decode_picture(file, size=size, channels=channels, crop=crop)
    except Exception as error:  # Pillow's parsers raise nearly any type on a damaged file; none may end the whole run
        return fault_of(error, _head(file))


def _head(file: Path) -> bytes:
    if not is_regular(file):  # a pipe would never end
        return b""
    try:
        with file.open("rb") as stream:
            return stream.read(16)
    except OSError:
        return b""


def decode_picture(file: Path, *, size: int, channels: int, crop: Crop) -> Read:
    """One picture file as (channels, size, size) uint8. Raises BadPictureError, or whatever Pillow raises."""
    try:
        state = file.stat()
    except FileNotFoundError as error:
        raise BadPictureError("does not exist (a broken link, or deleted meanwhile)") from error
    if not stat.S_ISREG(state.st_mode):
        raise BadPictureError("is not a regular file")
    if state.st_size == 0:
        raise BadPictureError("is empty (0 bytes)")
    return read_square(opener_of(file), partial(_box, file, crop), size=size, channels=channels)


def _box(file: Path, crop: Crop, width: int, height: int) -> Box:
    """The part of a picture that is taken, in stored pixels."""
    cropped_before = crop == "landmarks" and width == height and not landmark_path(file).exists()
    if crop == "landmarks" and not cropped_before:  # the base work's set mixes both kinds in one folder
        return landmark_box(read_landmarks(landmark_path(file)), width, height)
    return (0, 0, width, height) if crop == "none" else center_box(width, height)
