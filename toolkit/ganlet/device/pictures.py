"""From the generator's floats to 8-bit pictures, sheets and PNG bytes."""

import io
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlet.errors import GanletError
from ganlet.files import write_bytes, write_failed

FORMATS = {"png": ".png", "jpeg": ".jpg"}
"""What a picture can be written as -> its suffix."""
GRID_PICTURES = 64


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
    return _encoded(picture, format="PNG", compress_level=6)


def encode_jpeg(picture: NDArray[np.uint8], quality: int = 90) -> bytes:
    """uint8 (H, W, C) with C = 1 (grey) or 3 (RGB) -> the bytes of a JPEG, colour at full resolution.

    `quality` 1 to 95, as libjpeg's; above 95 a file grows and nothing is gained (Pillow's handbook).
    Raises GanletError for another quality, dtype or shape.
    """
    if not 1 <= quality <= 95:
        raise GanletError(f"Got a JPEG quality of {quality}; expected 1 to 95.")
    return _encoded(picture, format="JPEG", quality=quality, subsampling=0)


def _encoded(picture: NDArray[np.uint8], **options: Any) -> bytes:
    buffer = io.BytesIO()
    as_image(picture).save(buffer, **options)
    return buffer.getvalue()


def as_image(picture: NDArray[np.uint8]) -> Image.Image:
    """uint8 (H, W, C) with C = 1 (grey) or 3 (RGB) as Pillow's. Raises GanletError for another dtype or shape."""
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (1, 3) or picture.size == 0:
        raise GanletError(f"Got a picture of {picture.dtype} {picture.shape}; expected uint8 (H, W, 1) or (H, W, 3).")
    pixels = picture[:, :, 0] if picture.shape[2] == 1 else picture
    return Image.fromarray(np.ascontiguousarray(pixels))


def to_rgb(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (..., H, W, 1 or 3) -> (..., H, W, 3), grey three times over."""
    return np.repeat(pictures, 3, axis=-1) if pictures.shape[-1] == 1 else pictures


def write_pictures(
    out: Path,
    pictures: Iterable[tuple[int, NDArray[np.uint8]]],
    *,
    picture_format: str = "png",
    quality: int = 90,
    grid_sheet: bool = False,
) -> Iterator[Path]:
    """Write each (index, picture uint8 (H, W, C)) as `INDEX.png` or `INDEX.jpg` (six digits) into the folder `out`.

    Each file is written whole or not at all, and replaces one of the same name. `grid_sheet` adds `grid.png`, a sheet
    of the first 64 pictures. `quality` is that of a JPEG, as for `encode_jpeg`.
    Yields each path once it is written, the sheet's last; nothing is done that is not asked for.
    Raises GanletError when `out` cannot be written and for an unknown format.
    """
    if picture_format not in FORMATS:
        raise GanletError(f"Got the picture format {picture_format!r}; expected {' or '.join(FORMATS)}.")
    suffix = FORMATS[picture_format]
    on_sheet: list[NDArray[np.uint8]] = []
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_failed(Path(out), error) from error
    for index, picture in pictures:
        path = Path(out) / f"{index:06d}{suffix}"
        write_bytes(path, encode_png(picture) if suffix == ".png" else encode_jpeg(picture, quality))
        if grid_sheet and len(on_sheet) < GRID_PICTURES:
            on_sheet.append(picture)
        yield path
    if grid_sheet:
        path = Path(out) / "grid.png"
        write_bytes(path, encode_png(grid(np.stack(on_sheet))))
        yield path
