"""A folder of JPEG, PNG and WebP pictures."""

import hashlib
import os
import stat
import warnings
from collections.abc import Generator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from ganlet.data.landmarks import BadPictureError, landmark_box, landmark_path, read_landmarks
from ganlet.data.parallel import in_order
from ganlet.data.pictures import Crop, Decoded, Decoder, Labels, Pixels
from ganlet.data.pixels import EXIF_ORIENTATION, center_box, to_square
from ganlet.errors import GanletError

EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp")
FORMATS = ("JPEG", "PNG", "WEBP")
# Pillow itself refuses above twice its MAX_IMAGE_PIXELS, which is this many.
MAX_PIXELS = 178_956_970
SHOWN_FAULTS = 10


def folder_decoder(path: Path | None, *, size: int, channels: int, crop: Crop, skip_bad: bool) -> Decoder:
    """List and hash the pictures below `path`. Raises GanletError when there is no folder or no picture in it."""
    root = _folder(path)
    files = _list(root)
    names = [file.relative_to(root).as_posix() for file in files]
    wanted = [*files, *(landmark_path(file) for file in files)] if crop == "landmarks" else files
    content = list(in_order(_content, wanted))
    identity = {"names": names, "content": content, "size": size, "channels": channels, "crop": crop}
    decode = partial(_decode, root, names, size=size, channels=channels, crop=crop, skip_bad=skip_bad)
    credit = f"Pictures of the folder {root.resolve().name}"
    return Decoder("folder", {**identity, "skip_bad": skip_bad}, len(files), credit, decode)


def _folder(path: Path | None) -> Path:
    if path is None:
        raise GanletError("The source is a folder but no path is given; set data.path to a folder of pictures.")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise GanletError(
            f"The picture folder {path} cannot be opened ({error.strerror}); set data.path to a folder of pictures."
        ) from error
    if not stat.S_ISDIR(mode):
        raise GanletError(f"{path} is a file, but a folder of pictures was expected; set data.path to its folder.")
    return path


def _list(root: Path) -> list[Path]:
    """Pictures below `root` by extension, in a stable order. Links to folders and hidden names are passed over."""
    found: list[Path] = []
    others: list[Path] = []
    for folder, below, files in os.walk(root, followlinks=False, onerror=_unreadable):
        # macOS leaves ._NAME.jpg files and hidden thumbnail folders behind: they are not the user's pictures.
        below[:] = [name for name in below if not name.startswith(".")]
        for name in files:
            picture = name.lower().endswith(EXTENSIONS) and not name.startswith(".")
            (found if picture else others).append(Path(folder, name))
    if found:
        return sorted(found, key=lambda file: file.relative_to(root).parts)
    known = "JPEG, PNG or WebP pictures"
    if not others:
        raise GanletError(f"The picture folder {root} is empty; put {known} into it, or set data.path to another.")
    raise GanletError(
        f"The picture folder {root} holds {len(others)} files (such as {min(others).name}) but no picture; "
        f"put {known} ({' '.join(EXTENSIONS)}) into it, or set data.path to another."
    )


def _unreadable(error: OSError) -> None:
    raise GanletError(f"Cannot read the folder {error.filename} ({error.strerror}); mend its permissions.") from error


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
    work = partial(_picture_or_fault, size=size, channels=channels, crop=crop)
    with warnings.catch_warnings():
        # Large photographs are welcome up to MAX_PIXELS; Pillow would warn from half of that on.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        results = in_order(work, (root / name for name in names))
        for name, result in zip(names, results, strict=True):
            if isinstance(result, str):
                faults.append(f"{name} {result}")
            else:
                good.append(name)
                if skip_bad or not faults:  # after a fault that stops the work, only the list of faults matters
                    yield result[None], len(good) + len(faults)
    if faults and (not skip_bad or not good):
        raise GanletError(_sentence(root, faults, len(names), all_bad=not good))
    labels, label_names = _labels(good)
    return Decoded(labels, label_names, tuple(good), tuple(faults))


def _sentence(root: Path, faults: list[str], total: int, *, all_bad: bool) -> str:
    more = f" and {len(faults) - SHOWN_FAULTS} more" if len(faults) > SHOWN_FAULTS else ""
    listed = ", ".join(faults[:SHOWN_FAULTS]) + more
    if all_bad:
        return f"None of the {total} pictures in {root} can be used: {listed}; replace them, or set data.path."
    return (
        f"{len(faults)} of the {total} pictures in {root} cannot be used: {listed}; "
        "mend or remove them, or set data.skip_bad = true to go on without them."
    )


def _labels(names: list[str]) -> tuple[Labels | None, tuple[str, ...]]:
    """First-level sub-folders as labels, where every picture lies in one."""
    if not all("/" in name for name in names):
        return None, ()
    firsts = [name.split("/", 1)[0] for name in names]
    label_names = tuple(sorted(set(firsts)))
    number = {name: index for index, name in enumerate(label_names)}
    return np.array([number[first] for first in firsts], dtype=np.int64), label_names


def _picture_or_fault(file: Path, *, size: int, channels: int, crop: Crop) -> Pixels | str:
    try:
        return decode_picture(file, size=size, channels=channels, crop=crop)
    except BadPictureError as error:
        return str(error)
    except UnidentifiedImageError:
        return "is not a JPEG, PNG or WebP picture"
    except Image.DecompressionBombError:
        return f"has more than {MAX_PIXELS // 10**6} million pixels"
    except Exception as error:  # Pillow's parsers raise nearly any type on a damaged file; none may end the whole run
        return f"is damaged ({str(error).replace(str(file), file.name) or type(error).__name__})"


def decode_picture(file: Path, *, size: int, channels: int, crop: Crop) -> Pixels:
    """One picture file as (channels, size, size) uint8. Raises BadPictureError, or whatever Pillow raises."""
    try:
        state = file.stat()
    except FileNotFoundError as error:
        raise BadPictureError("does not exist (a broken link, or deleted meanwhile)") from error
    if not stat.S_ISREG(state.st_mode):
        raise BadPictureError("is not a regular file")
    if state.st_size == 0:
        raise BadPictureError("is empty (0 bytes)")
    with Image.open(file, formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise BadPictureError(f"has {width}x{height} pixels, more than {MAX_PIXELS // 10**6} million")
        orientation = image.getexif().get(EXIF_ORIENTATION, 1)
        cropped_before = crop == "landmarks" and width == height and not landmark_path(file).exists()
        if crop == "landmarks" and not cropped_before:  # the base work's set mixes both kinds in one folder
            box = landmark_box(read_landmarks(landmark_path(file)), width, height)
        else:
            box = (0, 0, width, height) if crop == "none" else center_box(width, height)
        return to_square(image, box, size=size, channels=channels, orientation=orientation)
