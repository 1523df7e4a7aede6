"""A stream of frames as one file that moves. All but MP4 need only Pillow.

Memory: APNG and MP4 are written frame by frame; of a WebP only its compressed frames are kept. Pillow keeps every frame
of a GIF, a byte a pixel, and each has 256 colours.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, features

from ganlet.device.pictures import as_image, encode_png, to_rgb
from ganlet.errors import GanletError
from ganlet.files import atomic_path

MAX_FPS = 60
_WEBP_QUALITY = 90

Frames = Iterable[NDArray[np.uint8]]


def check_movie(path: Path, fps: int) -> None:
    """Raise GanletError for a suffix or rate that cannot be written, or a package that is missing: before any work."""
    if path.suffix.lower() not in MOVIES:
        raise GanletError(f"{path} is no walk that can be written; expected a file ending in {', '.join(MOVIES)}.")
    if not 1 <= fps <= MAX_FPS:
        raise GanletError(f"Got {fps} frames a second; expected 1 to {MAX_FPS}.")
    if path.suffix.lower() == ".webp" and not features.check("webp"):
        raise GanletError(f"This Pillow cannot write {path}; install Pillow with WebP, or choose .png, .gif or .mp4.")
    if path.suffix.lower() == ".mp4":
        _ffmpeg()


def write_movie(path: Path, frames: Frames, count: int, fps: int) -> None:
    """Write `count` frames, uint8 (H, W, C) of one size, to `path` in the format of its suffix, whole or not at all.

    Raises GanletError as `check_movie` does, and when the file cannot be written.
    """
    check_movie(path, fps)
    with atomic_path(path) as temporary:
        MOVIES[path.suffix.lower()](temporary, iter(frames), count, fps)


def _apng(path: Path, frames: Iterator[NDArray[np.uint8]], count: int, fps: int) -> None:
    """An animated PNG that repeats (www.w3.org/TR/png-3, section 11.3.6), lossless."""
    sequence = 0
    with path.open("wb") as stream:
        for index, picture in enumerate(frames):
            head, data = _png_parts(encode_png(picture))
            if index == 0:
                stream.write(b"\x89PNG\r\n\x1a\n")
                _chunk(stream, b"IHDR", head)
                _chunk(stream, b"acTL", struct.pack(">II", count, 0))
            width, height = struct.unpack(">II", head[:8])
            _chunk(stream, b"fcTL", struct.pack(">IIIIIHHBB", sequence, width, height, 0, 0, 1, fps, 0, 0))
            sequence += 1
            if index == 0:
                _chunk(stream, b"IDAT", data)
            else:
                _chunk(stream, b"fdAT", struct.pack(">I", sequence) + data)
                sequence += 1
        _chunk(stream, b"IEND", b"")


def _png_parts(png: bytes) -> tuple[bytes, bytes]:
    """The header and the compressed pixels of a PNG."""
    head, data, position = b"", b"", 8
    while position < len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        kind, content = png[position + 4 : position + 8], png[position + 8 : position + 8 + length]
        head = content if kind == b"IHDR" else head
        data += content if kind == b"IDAT" else b""
        position += length + 12
    return head, data


def _chunk(stream: BinaryIO, kind: bytes, content: bytes) -> None:
    stream.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content)))


class _Reel(Image.Image):
    """Frames as one Pillow picture of many frames, each drawn when it is sought: a list would hold them all."""

    def __init__(self, frames: Iterator[NDArray[np.uint8]], count: int) -> None:
        super().__init__()
        self._frames, self._at, self.n_frames = frames, -1, count
        self.seek(0)

    def seek(self, frame: int) -> None:
        if frame != self._at + 1:  # Pillow goes on by one, and back to the first when all is written
            return
        image = as_image(to_rgb(next(self._frames)))
        self.im, self._mode, self._size, self._at = image.im, image.mode, image.size, frame


def _webp(path: Path, frames: Iterator[NDArray[np.uint8]], count: int, fps: int) -> None:
    reel = _Reel(frames, count)
    reel.save(path, format="WEBP", save_all=True, duration=1000 / fps, loop=0, quality=_WEBP_QUALITY, method=4)


def _gif(path: Path, frames: Iterator[NDArray[np.uint8]], count: int, fps: int) -> None:
    first = as_image(to_rgb(next(frames)))
    rest = (as_image(to_rgb(picture)) for picture in frames)
    # Hundredths of a second are all that a GIF knows.
    first.save(path, format="GIF", save_all=True, append_images=rest, duration=round(100 / fps) * 10, loop=0)


def _mp4(path: Path, frames: Iterator[NDArray[np.uint8]], count: int, fps: int) -> None:
    """H.264; sides are scaled to even numbers, which its colour needs."""
    first = next(frames)
    writer = _ffmpeg().write_frames(
        str(path),
        first.shape[1::-1],
        fps=fps,
        codec="libx264",
        quality=8,
        macro_block_size=2,
        output_params=["-f", "mp4"],
    )
    with closing(writer):  # also where a frame cannot be drawn: ffmpeg has the file open
        writer.send(None)
        for picture in chain([first], frames):
            writer.send(np.ascontiguousarray(to_rgb(picture)))


def _ffmpeg() -> Any:
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise GanletError(
            'A walk as .mp4 needs imageio-ffmpeg, not installed here; run `pip install "ganlet[video]"`, or choose '
            ".webp, .png or .gif."
        ) from error
    return imageio_ffmpeg


MOVIES: dict[str, Callable[[Path, Iterator[NDArray[np.uint8]], int, int], None]] = {
    ".webp": _webp,
    ".png": _apng,
    ".apng": _apng,
    ".gif": _gif,
    ".mp4": _mp4,
}
"""Suffix -> what writes it."""
