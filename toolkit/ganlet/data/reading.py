"""One way to read a picture file, for training, `ganlet fid` and all else: formats, limits, modes, orientation."""

import contextlib
import io
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from PIL import Image, UnidentifiedImageError

from ganlet.data.landmarks import BadPictureError
from ganlet.data.parallel import DECODING
from ganlet.data.pictures import Pixels
from ganlet.data.pixels import (
    DRAFT_GAP,
    EXIF_ORIENTATION,
    STRIP_PIXELS,
    UPRIGHT,
    WHITE_16,
    Box,
    as_planes,
    flatten,
    has_transparency,
    square_of,
    turned,
)
from ganlet.data.png_texts import has_exif, without_texts
from ganlet.errors import words_of

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "DIB", "TIFF", "GIF", "PPM")
# Pillow itself refuses above twice its MAX_IMAGE_PIXELS, which is this many.
MAX_PIXELS = 178_956_970
MAX_WEBP_PIXELS = 80_000_000  # libwebp and Pillow hold four copies of a picture while it is decoded
MAX_WHOLE_PIXELS = 40_000_000  # of a picture that is kept in its own size: 8K video has 33 million
BYTES_A_PIXEL = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2}  # in Pillow's memory; 4 for the others
COLOURS = frozenset(
    ("1", "L", "P", "RGB", "RGBX", "RGBA", "RGBa", "LA", "La", "PA", "CMYK", "YCbCr", "HSV", "I;16", "I;16B", "I;16L")
)
TIFF_BITS, TIFF_PHOTOMETRIC = 258, 262
CONVERT = "; convert what cannot be read to 8 bits a channel, for example to PNG, with the values scaled to 0-255"
MAX_UNPACKED_BYTES = 256 * 2**20
Used = TypeVar("Used")
Opener = Callable[[], IO[bytes]]
"""Opens the file or the member of an archive."""

# Without a handler of its own, what Pillow logs of odd files would reach the terminal.
logging.getLogger("PIL").addHandler(logging.NullHandler())
# glibc keeps blocks up to 32 MiB that a thread has freed; larger ones go back when their picture is closed.
with contextlib.suppress(AttributeError, ValueError, TypeError):
    cast(Any, Image).core.set_block_size(64 * 2**20)


@dataclass(frozen=True, eq=False)
class Read:
    """One decoded picture, (C, H, W) uint8, and what is to be said of it: keys of `REMARKS`."""

    pixels: Pixels
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Header:
    """What is known of a picture before it is decoded: its size once it is turned upright, and remarks."""

    width_px: int
    height_px: int
    remarks: tuple[str, ...] = ()
    plain: bool = True
    """Whether it was always read in this way: no alpha, no turn, 8 bits."""


REMARKS = {
    "frames": "{} hold more than one picture: the first of each is taken",
    "cmyk": "{} are CMYK: their colours are converted without a colour profile",
    "clear": "{} are transparent all over and become white: if their alpha channel is no transparency, remove it",
    "alpha": "{} have an alpha channel and are laid on white, as in training (pytorch-fid leaves the channel out)",
    "turned": "{} are turned upright by their EXIF orientation, as in training (pytorch-fid leaves them as stored)",
}


def remark_sentences(remarks: Mapping[str, int], total: int) -> list[str]:
    """What is to be said of `total` pictures, given the number of pictures with each remark."""
    return [
        sentence.format(f"{remarks[key]:,} of {total:,} pictures")
        for key, sentence in REMARKS.items()
        if remarks.get(key)
    ]


def count_remarks(remarks: Iterator[tuple[str, ...]]) -> Counter[str]:
    """The number of pictures with each remark."""
    return Counter(key for keys in remarks for key in keys)


@contextlib.contextmanager
def without_warnings() -> Iterator[None]:
    """Pillow's warnings do not reach the terminal: of large photographs, of odd metadata."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\..*")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def opener_of(file: Path) -> Opener:
    """Opens `file`."""
    return lambda: file.open("rb")


def is_picture_content(opener: Opener) -> bool:
    """Whether a file without a suffix starts as a picture that can be read."""
    with without_warnings():
        try:
            return open_picture(opener, lambda image: True)
        except Exception:  # Pillow's parsers raise nearly any type
            return False


def read_square(opener: Opener, box_of: Callable[[int, int], Box | None], *, size: int, channels: int) -> Read:
    """A picture as a (channels, size, size) square, the part `box_of(width, height)` of it, as stored, upright.

    Raises BadPictureError for one that cannot be read exactly or is too large, or whatever Pillow raises.
    """

    def use(image: Image.Image) -> Read:
        white = _require_readable(image, MAX_PIXELS)
        remarks = _remarks(image)
        box = box_of(*image.size)
        with DECODING.of(_square_bytes(image, box, size)):
            turn = orientation(image)
            square, clear = square_of(image, box, size=size, channels=channels, orientation=turn, white=white)
        return Read(square, (*remarks, *(("clear",) if clear else ())))

    return open_picture(opener, use)


def read_whole(opener: Opener) -> Pixels:
    """A picture in its own size as (3, H, W), upright. Raises as `read_square` does, above fewer pixels."""

    def use(image: Image.Image) -> Pixels:
        white = _require_readable(image, MAX_WHOLE_PIXELS)
        with DECODING.of(image.width * image.height * 16):
            turn = orientation(image)
            return as_planes(turned(flatten(image, 3, white), turn))

    return open_picture(opener, use)


def read_header(opener: Opener, max_pixels: int) -> Header:
    """Size and remarks of a picture, which is not decoded (a PNG with its EXIF data behind its pixels is)."""

    def use(image: Image.Image) -> Header:
        _require_readable(image, max_pixels)
        width, height = image.size
        wide = image.mode.startswith("I")
        remarks = _remarks(image) + (("alpha",) if has_transparency(image) else ())
        turn, upright = 1, False
        if image.format == "PNG":
            with opener() as stream:
                upright = not has_exif(stream)
        if not upright:
            with DECODING.of(width * height * 4):
                turn = orientation(image)
        remarks += ("turned",) if turn in UPRIGHT else ()
        if turn >= 5:
            width, height = height, width
        return Header(width, height, remarks, plain=not ("alpha" in remarks or "turned" in remarks or wide))

    return open_picture(opener, use)


def open_picture(opener: Opener, use: Callable[[Image.Image], Used]) -> Used:
    """`use(image)` of the opened picture. A PNG with too much text or too large a profile is read without them."""
    try:
        with opener() as stream, Image.open(stream, formats=FORMATS) as image:
            return use(image)
    except ValueError:
        with opener() as stream:
            content = stream.read(MAX_UNPACKED_BYTES)
        bare = without_texts(content)
        if bare is None or len(bare) == len(content):
            raise
    with Image.open(io.BytesIO(bare), formats=("PNG",)) as image:
        return use(image)


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none or it is damaged. Decodes a PNG."""
    if image.format == "PNG" and "exif" not in image.info:
        image.load()  # its fault is the picture's; a fault after this is one of the EXIF data alone
    try:
        turn = image.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # Pillow's parsers raise nearly any type
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _require_readable(image: Image.Image, max_pixels: int) -> int:
    """The value of white in 16-bit grey, negative where 0 is white. Raises BadPictureError for modes and sizes."""
    width, height = image.size
    max_pixels = min(max_pixels, MAX_WEBP_PIXELS) if image.format == "WEBP" else max_pixels
    if width * height > max_pixels:
        raise BadPictureError(f"has {width}x{height} pixels, more than {max_pixels // 10**6} million")
    tags: Mapping[int, Any] = getattr(image, "tag_v2", {}) if image.format == "TIFF" else {}
    if image.mode == "F":
        raise BadPictureError("holds floating-point values (mode F), for which no white is known")
    if image.mode == "I" and image.format not in ("PNG", "PPM"):  # there it is how Pillow holds 16 bits
        raise BadPictureError("holds integers of 32 bits or with a sign (mode I), for which no white is known")
    if image.mode != "I" and image.mode not in COLOURS:
        raise BadPictureError(f"holds colours of the mode {image.mode}, which cannot be read exactly")
    if not image.mode.startswith("I"):
        return WHITE_16
    bits = tags.get(TIFF_BITS, (16,))
    white = 2 ** bits[0] - 1 if isinstance(bits, tuple) and bits and bits[0] in (12, 16) else WHITE_16
    return -white if tags.get(TIFF_PHOTOMETRIC) == 0 else white


def _remarks(image: Image.Image) -> tuple[str, ...]:
    frames = False
    if image.format != "MPO":  # a photograph with a preview or a second view of it
        with contextlib.suppress(Exception):  # of a damaged second frame
            frames = bool(getattr(image, "is_animated", False))
    return (("frames",) if frames else ()) + (("cmyk",) if image.mode == "CMYK" else ())


def _square_bytes(image: Image.Image, box: Box | None, size: int) -> int:
    """About the memory that decoding to a square takes."""
    pixels = image.width * image.height
    if image.format in ("JPEG", "MPO"):
        side = min(box[2] - box[0], box[3] - box[1]) if box else min(image.size)
        scale = max((s for s in (1, 2, 4, 8) if side // s >= DRAFT_GAP * size), default=1)
        coefficients = 3 * pixels if image.info.get("progressive") else 0
        return coefficients + 4 * pixels // scale**2 + 16 * min(pixels // scale**2, STRIP_PIXELS)
    copies = 4 if image.format == "WEBP" else 1
    return copies * pixels * BYTES_A_PIXEL.get(image.mode, 4) + 16 * min(pixels, STRIP_PIXELS)


def fault_of(error: Exception, head: bytes = b"") -> str:
    """Why a picture cannot be used, to follow its name; `head` is how the file starts."""
    if isinstance(error, BadPictureError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return _no_picture(head)
    if isinstance(error, Image.DecompressionBombError):
        return f"has more than {MAX_PIXELS // 10**6} million pixels"
    return f"is damaged ({words_of(error, 120)})"


def remedy_of(faults: list[str]) -> str:
    """What more to do about faults of these kinds, to follow the sentence that lists them."""
    unread = ("for which no white is known", "cannot be read exactly", "is not read", "(not read)")
    return CONVERT if any(kind in fault for fault in faults for kind in unread) else ""


def _no_picture(head: bytes) -> str:
    if head[4:8] == b"ftyp":
        return "is a HEIC, AVIF or video file, whatever its name says (not read)"
    if head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "is a damaged TIFF or one of a kind that is not read (such as floats in several channels)"
    return "is not a JPEG, PNG, WebP, BMP, TIFF, GIF or PNM picture"
