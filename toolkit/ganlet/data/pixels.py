"""From an opened Pillow picture to (C, size, size) uint8: flatten, crop, shrink, turn upright."""

import math
from typing import Any

import numpy as np
from PIL import Image

from ganlet.data.pictures import Pixels

# One filter everywhere: LANCZOS widens its support when shrinking, so that nothing aliases.
FILTER = Image.Resampling.LANCZOS
DRAFT_GAP = 3
EXIF_ORIENTATION = 0x0112
Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels

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


def flatten(image: Image.Image, channels: int) -> Image.Image:
    """Any mode to RGB (3 channels) or L (1): transparency lies on white, 16-bit grey is scaled to 8 bits."""
    if image.mode.startswith("I"):
        # Pillow clips or wraps 16-bit grey on convert, depending on its version: 65535 / 255 = 257.
        wide = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image.convert("RGB" if channels == 3 else "L")


def to_square(image: Image.Image, box: Box | None, *, size: int, channels: int, orientation: int = 1) -> Pixels:
    """Crop to `box` (None: keep all), flatten, shrink to size x size and turn upright: (channels, size, size) uint8.

    `box` is in stored pixels, before the EXIF orientation. Turning the small square last is cheap, and the same.
    """
    left, top, right, bottom = box or (0, 0, *image.size)
    scale = _draft(image, (right - left, bottom - top), size)
    x0, y0, x1, y1 = left / scale, top / scale, right / scale, bottom / scale
    x, y = math.floor(x0), math.floor(y0)
    image = flatten(image.crop((x, y, math.ceil(x1), math.ceil(y1))), channels)
    image = image.resize((size, size), FILTER, box=(x0 - x, y0 - y, x1 - x, y1 - y), reducing_gap=3.0)
    if orientation in UPRIGHT:
        image = image.transpose(UPRIGHT[orientation])
    return as_planes(image)


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
