"""Landmark files `NAME.jpg.cat` (the CAT data set's format): a count, then x y pairs, separated by white space."""

import math
import stat
from pathlib import Path

from ganlet.data.pixels import Box
from ganlet.files import text_of

MARGIN_PIXELS = 10
MAX_BYTES = 64 * 1024  # nine points take 60 bytes; a larger file is something else


class BadPictureError(Exception):
    """Why one picture cannot be used; the folder reader gathers these."""


def landmark_path(picture: Path) -> Path:
    """`cat.jpg` -> `cat.jpg.cat`, beside it."""
    return picture.with_name(picture.name + ".cat")


def read_landmarks(path: Path) -> list[tuple[float, float]]:
    """The points (x, y) in stored pixels. Raises BadPictureError when the file is missing or malformed."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would never end
            raise BadPictureError(f"landmark file {path.name} is not a regular file")
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise BadPictureError(f"is not square and has no landmark file {path.name}") from error
    except OSError as error:
        raise BadPictureError(f"landmark file {path.name} is unreadable: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise BadPictureError(f"landmark file {path.name} is larger than {MAX_BYTES} bytes")
    try:
        words = text_of(content).split()
    except UnicodeDecodeError as error:
        raise BadPictureError(f"landmark file {path.name} is no text") from error
    if not words:
        raise BadPictureError(f"landmark file {path.name} is empty")
    try:
        count = int(words[0])
        values = [float(word) for word in words[1:]]
    except ValueError as error:
        raise BadPictureError(f"landmark file {path.name} holds something other than numbers") from error
    if count < 1 or len(values) != 2 * count:
        raise BadPictureError(f"landmark file {path.name} promises {count} points but holds {len(values)} coordinates")
    return list(zip(values[::2], values[1::2], strict=True))


def landmark_box(points: list[tuple[float, float]], width: int, height: int) -> Box:
    """The square around the points' bounding box with a margin of 10 pixels, moved and shrunk to lie in the picture.

    Raises BadPictureError when a point lies outside the picture (or is not a finite number).
    """
    for x, y in points:
        if not (0 <= x < width and 0 <= y < height):
            raise BadPictureError(f"landmark ({x:g}, {y:g}) lies outside its {width}x{height} picture")
    xs, ys = [x for x, _ in points], [y for _, y in points]
    side = math.ceil(max(max(xs) - min(xs), max(ys) - min(ys))) + 2 * MARGIN_PIXELS
    side = min(side, width, height)
    left = _place((min(xs) + max(xs)) / 2, side, width)
    top = _place((min(ys) + max(ys)) / 2, side, height)
    return left, top, left + side, top + side


def _place(middle: float, side: int, limit: int) -> int:
    return min(max(math.floor(middle - side / 2 + 0.5), 0), limit - side)
