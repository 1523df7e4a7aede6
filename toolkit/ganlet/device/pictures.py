"""From the generator's floats to 8-bit pictures, sheets and PNG bytes."""

import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlet.errors import GanletError


def to_uint8(images: NDArray[np.float32]) -> NDArray[np.uint8]:
    """float32 (N, C, H, W) in [-1, 1] -> uint8 (N, H, W, C).

    `round(clip((x + 1) * 127.5, 0, 255))` in float32, halves to the even neighbour (IEEE 754, numpy's rint): -1 is 0,
    0 (127.5) is 128, 1 is 255. Raises GanletError for another dtype or number of axes, and for NaN.
    """
    if images.dtype != np.float32 or images.ndim != 4:
        raise GanletError(f"Got pictures of {images.dtype} {images.shape}; expected float32 (N, C, H, W) in [-1, 1].")
    levels = (images + np.float32(1)) * np.float32(127.5)
    if np.isnan(levels).any():
        raise GanletError("The pictures hold NaN, expected values in [-1, 1]; the generator that drew them is broken.")
    np.clip(levels, 0, 255, out=levels)
    np.rint(levels, out=levels)
    return np.ascontiguousarray(levels.astype(np.uint8).transpose(0, 2, 3, 1))


def grid(
    pictures: NDArray[np.uint8], columns: int | None = None, pad_px: int = 2, background: int = 255
) -> NDArray[np.uint8]:
    """Lay uint8 (N, H, W, C) out row by row on one sheet: uint8 (H', W', C).

    `columns` None makes the sheet about square. `pad_px` pixels of `background` surround every picture, so
    H' = rows * (H + pad_px) + pad_px, and W' likewise; cells without a picture are background.
    Raises GanletError for no pictures, another dtype or number of axes, and numbers out of range.
    """
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or len(pictures) == 0:
        raise GanletError(
            f"Got pictures of {pictures.dtype} {pictures.shape}; expected uint8 (N, H, W, C) with N >= 1."
        )
    count, height, width, channels = pictures.shape
    columns = math.ceil(math.sqrt(count)) if columns is None else columns
    if columns < 1 or pad_px < 0 or not 0 <= background <= 255:
        raise GanletError(
            f"Got a sheet of {columns} columns, {pad_px} px apart, on background {background}; "
            "expected 1 or more, 0 or more, and 0 to 255."
        )
    columns = min(columns, count)
    rows = -(-count // columns)
    step_y, step_x = height + pad_px, width + pad_px
    sheet = np.full((rows * step_y + pad_px, columns * step_x + pad_px, channels), background, dtype=np.uint8)
    for index, picture in enumerate(pictures):
        y, x = pad_px + index // columns * step_y, pad_px + index % columns * step_x
        sheet[y : y + height, x : x + width] = picture
    return sheet


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """uint8 (H, W, C) with C = 1 (grey) or 3 (RGB) -> the bytes of a PNG: no time, no path, the same at every call.

    Raises GanletError for another dtype or shape.
    """
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3) or picture.size == 0:
        raise GanletError(f"Got a picture of {picture.dtype} {picture.shape}; expected uint8 (H, W, 1) or (H, W, 3).")
    pixels = picture[:, :, 0] if picture.shape[2] == 1 else picture
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
