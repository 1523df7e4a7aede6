"""Picture files of a folder or a zip archive: listed, looked at, decoded. Archives are never unpacked to disk."""

import hashlib
import io
import os
import stat
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image, UnidentifiedImageError

from ganlet.data.parallel import in_order
from ganlet.data.pictures import Pixels
from ganlet.data.pixels import EXIF_ORIENTATION, as_planes, center_box, to_square
from ganlet.errors import GanletError

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".pgm", ".ppm", ".tif", ".tiff", ".webp")  # those of pytorch-fid
FORMATS = ("PNG", "JPEG", "BMP", "PPM", "TIFF", "WEBP")
MAX_FILE_BYTES = 256 * 2**20
SHOWN = 5
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class PictureFile:
    """One file: its name inside the folder or archive, and how to read its bytes."""

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Look:
    """What is seen of a file without decoding it: SHA-256 of its bytes, width and height in pixels."""

    sha256: str
    width_px: int
    height_px: int


def folder_files(root: Path) -> list[PictureFile]:
    """Pictures below `root`, sub-folders too, in a stable order; hidden names are passed over.

    Raises GanletError when there is none.
    """
    found, others = [], 0
    for folder, below, names in os.walk(root, onerror=_unreadable):
        below[:] = [name for name in below if not name.startswith(".")]
        for name in names:
            if name.lower().endswith(EXTENSIONS) and not name.startswith("."):
                found.append(Path(folder, name))
            else:
                others += 1
    if not found:
        raise GanletError(
            f"The folder {root} holds {others} files but no picture ({' '.join(EXTENSIONS)}), and is no run either; "
            "give a folder of pictures."
        )
    found.sort(key=lambda file: file.relative_to(root).parts)
    return [PictureFile(file.relative_to(root).as_posix(), partial(_read_file, file)) for file in found]


def zip_files(path: Path) -> list[PictureFile]:
    """Pictures in the archive `path`, in a stable order; hidden names are passed over.

    Raises GanletError when it is damaged or cut short, holds no picture, is encrypted, or has members that point out of
    it or are links.
    """
    try:
        archive = zipfile.ZipFile(path)
        members = [member for member in archive.infolist() if not member.is_dir()]
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise GanletError(
            f"{path} is not a whole zip archive ({error}): it is damaged, cut short or of another kind; copy it again."
        ) from error
    for member in members:
        _require_harmless(path, member)
    pictures = [member for member in members if _is_picture(member.filename)]
    if not pictures:
        raise GanletError(
            f"The archive {path} holds {len(members)} files but no picture ({' '.join(EXTENSIONS)}); give another."
        )
    pictures.sort(key=lambda member: PurePosixPath(member.filename).parts)
    return [PictureFile(member.filename, partial(archive.read, member)) for member in pictures]


def look_at(files: list[PictureFile], label: str, size_px: int | None, progress: Progress) -> list[Look]:
    """Hash every file and read its size. Raises GanletError for files that are no pictures, and for mixed sizes unless
    they are all brought to `size_px`."""
    looks, faults = [], []
    for number, (file, found) in enumerate(zip(files, in_order(_look, files), strict=True), start=1):
        if isinstance(found, str):
            faults.append(f"{file.name} {found}")
        else:
            looks.append(found)
        progress(number, len(files))
    _raise_faults(faults, label, len(files))
    sizes = Counter((look.width_px, look.height_px) for look in looks)
    if size_px is None and len(sizes) > 1:
        (common, often), (other, _) = sizes.most_common()[0], sizes.most_common()[-1]
        pairs = zip(files, looks, strict=True)
        odd = next(file.name for file, look in pairs if (look.width_px, look.height_px) == other)
        raise GanletError(
            f"The pictures of {label} have {len(sizes)} different sizes ({common[0]}x{common[1]} px {often} times, "
            f"{odd} {other[0]}x{other[1]}), expected one; bring all to one with --size {min(common)}, by a centre crop."
        )
    return looks


def check_all(files: list[PictureFile], label: str, size_px: int | None, progress: Progress) -> None:
    """Decode every file once, so that a damaged one is found before hours of work. Raises GanletError for them all."""
    faults = []
    work = partial(_decoded_or_fault, size_px=size_px)
    for number, (file, found) in enumerate(zip(files, in_order(work, files), strict=True), start=1):
        if isinstance(found, str):
            faults.append(f"{file.name} {found}")
        progress(number, len(files))
    _raise_faults(faults, label, len(files))


def chunks_of(files: list[PictureFile], label: str, size_px: int | None, chunk: int) -> Iterator[Pixels]:
    """Decoded pictures (n, 3, height, width) uint8, n <= `chunk`, in order; memory does not grow with their number."""
    held: list[Pixels] = []
    work = partial(_decoded_or_fault, size_px=size_px)
    for file, found in zip(files, in_order(work, files), strict=True):
        if isinstance(found, str):
            _raise_faults([f"{file.name} {found}"], label, len(files))
        else:
            held.append(found)
        if len(held) == chunk:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)


def decode(content: bytes, size_px: int | None) -> Pixels:
    """One picture as (3, height, width) uint8. Raises whatever Pillow raises.

    Without a size as pytorch-fid reads it: RGB, transparency dropped, not turned by EXIF. With one as the toolkit's own
    data is read: turned upright, transparency on white, centre crop, Lanczos.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            if size_px is not None:
                orientation = image.getexif().get(EXIF_ORIENTATION, 1)
                return to_square(image, center_box(*image.size), size=size_px, channels=3, orientation=orientation)
            if image.mode.startswith("I"):
                raise ValueError("it has 16 bits a channel, expected 8")
            return as_planes(image.convert("RGB"))


def _decoded_or_fault(file: PictureFile, size_px: int | None) -> Pixels | str:
    try:
        return decode(file.read(), size_px)
    except Exception as error:  # Pillow's parsers raise nearly any type on a damaged file; none may end the whole run
        return _fault(error)


def _look(file: PictureFile) -> Look | str:
    try:
        content = file.read()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                return Look(hashlib.sha256(content).hexdigest(), *image.size)
    except Exception as error:  # as above
        return _fault(error)


def _fault(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "is no picture"
    return f"is damaged ({(str(error).splitlines() or [type(error).__name__])[0][:120]})"


def _raise_faults(faults: list[str], label: str, total: int) -> None:
    if faults:
        more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise GanletError(
            f"{len(faults)} of the {total} pictures of {label} cannot be used: {', '.join(faults[:SHOWN])}{more}; mend "
            "or remove them."
        )


def _is_picture(name: str) -> bool:
    parts = PurePosixPath(name).parts
    # macOS adds a __MACOSX folder of ._NAME files to its archives.
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return not hidden and name.lower().endswith(EXTENSIONS)


def _require_harmless(path: Path, member: zipfile.ZipInfo) -> None:
    """Refuse what an honest archive of pictures does not hold: nothing is unpacked, but it is not to be trusted."""
    name = member.filename
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or name[1:2] == ":":
        raise GanletError(
            f"{path} holds the member {name!r}, which points out of the archive; pack the pictures again."
        )
    if stat.S_ISLNK(member.external_attr >> 16):
        raise GanletError(f"{path} holds the link {name!r}, expected pictures; pack the pictures themselves.")
    if member.flag_bits & 1:
        raise GanletError(f"{path} is encrypted ({name}); unpack it and give the folder.")
    if _is_picture(name) and member.file_size > MAX_FILE_BYTES:
        raise GanletError(f"{name} in {path} unpacks to {member.file_size} bytes, expected at most {MAX_FILE_BYTES}.")


def _read_file(file: Path) -> bytes:
    if not file.is_file():
        raise ValueError("it is not a regular file")
    if file.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"it has more than {MAX_FILE_BYTES} bytes")
    return file.read_bytes()


def _unreadable(error: OSError) -> None:
    raise GanletError(f"Cannot read the folder {error.filename} ({error.strerror}); mend its permissions.") from error
