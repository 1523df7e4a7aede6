"""Pictures in the idx format of MNIST and its kin (http://yann.lecun.com/exdb/mnist/), gzipped or plain."""

import gzip
import hashlib
import math
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, cast

import numpy as np
from PIL import Image

from ganlet.data.listing import is_regular
from ganlet.data.pictures import Crop, Decoded, Decoder, Labels, Pixels
from ganlet.data.pixels import center_box, to_square
from ganlet.errors import GanletError, words_of
from ganlet.files import MIB

IMAGES_MAGIC = b"\x00\x00\x08\x03"  # unsigned bytes, three dimensions
LABELS_MAGIC = b"\x00\x00\x08\x01"
MAX_SIDE = 4096
READ_ERRORS = (OSError, EOFError, zlib.error)


@dataclass(frozen=True)
class IdxFile:
    """A file whose header agrees with its length: `dims` are (N, H, W) of pictures or (N,) of labels."""

    path: Path
    dims: tuple[int, ...]
    sha256: str


def idx_decoder(path: Path | None, *, size: int, channels: int, crop: Crop) -> Decoder:
    """Check and hash the file and its labels. Raises GanletError where header and content disagree."""
    if path is None:
        raise GanletError("The source is an idx file but no path is given; set data.path to a file like images.idx.gz.")
    pictures = survey(path, IMAGES_MAGIC, "pictures")
    total = pictures.dims[0]
    labels = _labels_beside(path)
    found = survey(labels, LABELS_MAGIC, "labels") if labels is not None else None
    if found is not None and found.dims[0] != total:
        raise GanletError(
            f"{path} holds {total} pictures but {found.path.name} holds {found.dims[0]} labels; "
            "put the two files of one set side by side, or remove the labels."
        )
    content = [pictures.sha256, found.sha256 if found is not None else None]
    decode = partial(_decode, pictures, found, size=size, channels=channels, crop=crop)
    identity = {"content": content, "size": size, "channels": channels, "crop": crop}
    return Decoder("idx", identity, total, f"Pictures of the idx file {path.name}", decode)


def survey(path: Path, magic: bytes, what: str) -> IdxFile:
    """Read the file once, a block at a time, and compare its length with its header: neither is trusted alone."""
    digest = hashlib.sha256()
    if path.exists() and not is_regular(path):
        raise GanletError(
            f"{path} cannot be read: it is a folder, a pipe or a device, expected an idx file; check data.path."
        )
    try:
        with _open(path) as stream:
            dims = _dims(path, stream, magic, what, digest)
            expected = math.prod(dims)
            found = 0
            # One byte more than expected shows a file that is too long without unpacking the rest of it.
            while found <= expected and (block := stream.read(min(MIB, expected + 1 - found))):
                digest.update(block)
                found += len(block)
    except READ_ERRORS as error:
        raise GanletError(
            f"The idx file {path} cannot be read ({words_of(error)}); check data.path, or fetch it again."
        ) from error
    if found != expected:
        shape = "x".join(map(str, dims))
        got = "more bytes" if found > expected else f"{found} bytes"
        raise GanletError(
            f"The header of {path} promises {shape} {what} ({expected} bytes) but {got} follow; fetch it again."
        )
    return IdxFile(path, dims, digest.hexdigest())


def _dims(path: Path, stream: IO[bytes], magic: bytes, what: str, digest: "hashlib._Hash") -> tuple[int, ...]:
    count = magic[3]
    header = stream.read(4 + 4 * count)
    digest.update(header)
    if len(header) < 4 + 4 * count or header[:4] != magic:
        raise GanletError(
            f"{path} is not an idx file of {what}: it starts with {header[:4].hex() or 'nothing'} "
            f"where {magic.hex()} (unsigned bytes, {count} dimensions) was expected; check data.path."
        )
    dims = tuple(int.from_bytes(header[at : at + 4], "big") for at in range(4, 4 + 4 * count, 4))
    if min(dims) < 1 or max(dims[1:], default=1) > MAX_SIDE:
        raise GanletError(
            f"The header of {path} says {'x'.join(map(str, dims))} {what}, but at least one of 1 to {MAX_SIDE} pixels "
            "a side was expected; fetch it again."
        )
    return dims


@contextmanager
def _open(path: Path) -> Generator[IO[bytes], None, None]:
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        if zipped:
            with gzip.GzipFile(fileobj=raw) as stream:
                yield cast(IO[bytes], stream)
        else:
            yield raw


def _labels_beside(path: Path) -> Path | None:
    """`train-images-idx3-ubyte.gz` -> `train-labels-idx1-ubyte.gz` where it exists, gzipped or not."""
    if "images-idx3" not in path.name:
        return None
    same = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    other = same.with_suffix("") if same.suffix == ".gz" else same.with_name(same.name + ".gz")
    return next((file for file in (same, other) if file.is_file()), None)


def _read_labels(file: IdxFile) -> Labels:
    with _open(file.path) as stream:
        stream.read(8)
        return np.frombuffer(stream.read(file.dims[0]), dtype=np.uint8).astype(np.int64)


def _decode(
    pictures: IdxFile, labels: IdxFile | None, *, size: int, channels: int, crop: Crop
) -> Generator[tuple[Pixels, int], None, Decoded]:
    total, height, width = pictures.dims
    box = center_box(width, height) if crop == "center" else None
    try:
        with _open(pictures.path) as stream:
            stream.read(16)
            for done in range(1, total + 1):
                pixels = np.frombuffer(stream.read(height * width), dtype=np.uint8).reshape(height, width)
                yield to_square(Image.fromarray(pixels), box, size=size, channels=channels)[None], done
        numbers = _read_labels(labels) if labels is not None else None
    except (*READ_ERRORS, ValueError) as error:
        raise GanletError(
            f"The idx file {pictures.path} changed while it was read ({words_of(error)}); run again."
        ) from error
    label_names = () if numbers is None else tuple(str(number) for number in range(int(numbers.max()) + 1))
    return Decoded(numbers, label_names)
