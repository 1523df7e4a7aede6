"""From an opened Pillow picture to (C, size, size) uint8: flatten, crop, shrink, turn upright."""

import math
from typing import Any, cast

import numpy as np
from PIL import Image

from ganlet.data.pictures import Pixels

# One filter everywhere: LANCZOS widens its support when shrinking, so that nothing aliases.
FILTER = Image.Resampling.LANCZOS
DRAFT_GAP = 3
REDUCING_GAP = 3.0
WHITE_16 = 65535
STRIP_PIXELS = 2**22  # larger pictures are worked on in strips of so many pixels
EXIF_ORIENTATION = 0x0112
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels
Inside = tuple[float, float, float, float]  # the same, in parts of pixels

# EXIF 2.3, tag 274: what turns the stored pixels upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def center_box(width: int, height: int) -> Box:
    """The largest square in the middle of a picture."""
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return left, top, left + side, top + side


def flatten(image: Image.Image, channels: int, white: int = WHITE_16) -> Image.Image:
    """Any mode to RGB (3 channels) or L (1): transparency lies on white, 16-bit grey up to `white` becomes 8 bits."""
    return _flattened(image, channels, white)[0]


def _flattened(image: Image.Image, channels: int, white: int) -> tuple[Image.Image, bool]:
    """The flattened picture, and whether it was transparent all over."""
    clear = False
    if image.mode.startswith("I"):
        image = _to_8_bits(image, white)
    if has_transparency(image):
        image = image.convert("RGBA")
        clear = cast(Any, image.getextrema())[3][1] == 0
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB" if channels == 3 else "L"), clear


def has_transparency(image: Image.Image) -> bool:
    """Whether a picture has an alpha channel or a transparent colour, used or not."""
    return image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info


def _to_8_bits(image: Image.Image, white: int) -> Image.Image:
    """Pillow clips or wraps 16-bit grey on convert, depending on its version: here `white` becomes 255, in strips.

    A negative `white` is of a picture stored with 0 as white.
    """
    width, height = image.size
    levels = np.empty((height, width), dtype=np.uint8)
    rows = _strip_rows(width, 1)
    for top in range(0, height, rows):
        strip = image.crop((0, top, width, min(top + rows, height)))
        wide = np.clip(np.asarray(strip).astype(np.int64), 0, abs(white))
        wide = abs(white) - wide if white < 0 else wide
        levels[top : top + rows] = (wide * 255 + abs(white) // 2) // abs(white)
    return Image.fromarray(levels)


def to_square(
    image: Image.Image, box: Box | None, *, size: int, channels: int, orientation: int = 1, white: int = WHITE_16
) -> Pixels:
    """Crop to `box` (None: keep all), flatten, shrink to size x size and turn upright: (channels, size, size) uint8.

    `box` is in stored pixels, before the EXIF orientation. Turning the small square last is cheap, and the same.
    """
    return square_of(image, box, size=size, channels=channels, orientation=orientation, white=white)[0]


def square_of(
    image: Image.Image, box: Box | None, *, size: int, channels: int, orientation: int = 1, white: int = WHITE_16
) -> tuple[Pixels, bool]:
    """As `to_square`, and whether all of the square was transparent."""
    left, top, right, bottom = box or (0, 0, *image.size)
    scale = _draft(image, (right - left, bottom - top), size)
    x0, y0, x1, y1 = left / scale, top / scale, right / scale, bottom / scale
    x, y = math.floor(x0), math.floor(y0)
    region: Box = (x, y, math.ceil(x1), math.ceil(y1))
    inside = (x0 - x, y0 - y, x1 - x, y1 - y)
    if (region[2] - x) * (region[3] - y) > STRIP_PIXELS:
        image, clear, inside = _reduced(image, region, inside, size, channels, white)
    else:
        image, clear = _flattened(image.crop(region), channels, white)
    image = image.resize((size, size), FILTER, box=inside, reducing_gap=REDUCING_GAP)
    return as_planes(turned(image, orientation)), clear


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """A stored picture turned upright."""
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _reduced(
    image: Image.Image, region: Box, inside: Inside, size: int, channels: int, white: int
) -> tuple[Image.Image, bool, Inside]:
    """The region flattened and shrunk by whole numbers, a strip at a time, so that a huge picture exists only once.

    These are the factors and pixels of the first of the two passes of Pillow's resize with `reducing_gap`; the second
    pass is left to it. Also returns whether all was transparent, and `inside` in the pixels of the small picture.
    """
    left, top, right, bottom = region
    width, height = right - left, bottom - top
    factor_x = int((inside[2] - inside[0]) / size / REDUCING_GAP) or 1
    factor_y = int((inside[3] - inside[1]) / size / REDUCING_GAP) or 1
    small = Image.new("RGB" if channels == 3 else "L", (-(-width // factor_x), -(-height // factor_y)))
    rows = _strip_rows(width, factor_y)
    all_clear = True
    for start in range(0, height, rows):
        strip = image.crop((left, top + start, right, top + min(start + rows, height)))
        flat, clear = _flattened(strip, channels, white)
        small.paste(flat.reduce((factor_x, factor_y)), (0, start // factor_y))
        all_clear = all_clear and clear
    x0, y0, x1, y1 = inside
    return small, all_clear, (x0 / factor_x, y0 / factor_y, x1 / factor_x, y1 / factor_y)


def _strip_rows(width: int, factor: int) -> int:
    """Rows of a strip: a multiple of `factor`."""
    return max(1, STRIP_PIXELS // width // factor) * factor


def _draft(image: Image.Image, region: tuple[int, int], size: int) -> float:
    """Have a large JPEG decoded at 1/2, 1/4 or 1/8 where `region` keeps thrice `size`; returns 1, 2, 4 or 8.

    Much faster, and as good: but a side that is no multiple of 8 ends in a fraction of a pixel, so that boxes must be
    divided by the exact scale (rounded boxes were off by up to 3 grey levels of 255 in the mean).
    """
    width, height = image.size
    wanted = (math.ceil(width * DRAFT_GAP * size / region[0]), math.ceil(height * DRAFT_GAP * size / region[1]))
    drafted = image.draft(None, wanted)
    return 1.0 if drafted is None else width / drafted[1][2]


def as_planes(image: Image.Image) -> Pixels:
    """An L or RGB picture as (C, H, W) uint8."""
    pixels: np.ndarray[Any, np.dtype[np.uint8]] = np.asarray(image, dtype=np.uint8)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
