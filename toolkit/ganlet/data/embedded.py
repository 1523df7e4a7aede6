"""Kittens, monsters and robot heads: layers of PNG parts from the robohash package, composed by index.

The parts are shrunk once, with premultiplied alpha; a picture is then a few array operations, where robohash itself
pastes the full-size parts for half a second. robohash is never imported, only its folder is read.
"""

import math
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ganlet.data.parallel import in_order
from ganlet.data.pictures import Decoded, Decoder, Draw, Pixels, Source, random_bits
from ganlet.errors import GanletError

MAX_SIZE = 1024  # of the largest parts
CHUNK_BYTES = 2 << 20  # a chunk of float32 canvases stays in the processor's cache
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601, as Pillow's convert("L")


@dataclass(frozen=True)
class PartSet:
    """A folder of robohash and the people behind it."""

    folder: str
    credit: str


PART_SETS: dict[str, PartSet] = {
    "kittens": PartSet(
        "set4",
        "Kittens: artwork by David Revoy (https://www.peppercarrot.com/extras/html/2016_cat-generator/), CC BY 4.0 "
        "(https://creativecommons.org/licenses/by/4.0/), from robohash set4; composed and scaled down.",
    ),
    "monsters": PartSet(
        "set2",
        "Monsters: artwork by Hrvoje Novakovic, CC BY 3.0 (https://creativecommons.org/licenses/by/3.0/), "
        "from robohash set2; composed and scaled down.",
    ),
    "robots": PartSet(
        "set3",
        "Robot heads: artwork by Julian Peter Arias, CC BY 3.0 (https://creativecommons.org/licenses/by/3.0/), "
        "from robohash set3; composed and scaled down.",
    ),
}


def package_folder(name: str) -> Path:
    """Where a package of data lies, without importing it. Raises GanletError with the remedy when it is missing."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise GanletError(f'This data comes with the package {name}, which is missing; pip install "ganlet[train]".')
    return Path(next(iter(spec.submodule_search_locations)))


def package_version(name: str) -> str:
    """The installed version, or "unknown" for a package without metadata."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"


def layers(source: str) -> list[list[Path]]:
    """The part files of a set: one list a layer, the lowest layer first.

    A layer's folder is called NUMBER#ORDER: robohash draws in the order of the text after the first `#`.
    """
    folder = package_folder("robohash") / "sets" / PART_SETS[source].folder
    folders = sorted((entry for entry in folder.glob("*#*") if entry.is_dir()), key=lambda e: e.name.split("#", 1)[1])
    parts = [sorted(entry.glob("*.png")) for entry in folders]
    if not parts or not all(parts):
        raise GanletError(f'The pictures in {folder} are missing; pip install --force-reinstall "ganlet[train]".')
    return parts


def embedded_decoder(source: Source, *, size: int, channels: int, count: int, seed: int) -> Decoder:
    """Draw `count` different combinations. Raises GanletError when the set has fewer, or the package is missing."""
    if size > MAX_SIZE:
        raise GanletError(
            f"The parts of {source} are {MAX_SIZE} pixels wide, but {size} were asked for; set data.size."
        )
    parts = layers(source)
    combinations = math.prod(len(layer) for layer in parts)
    if count > combinations:
        raise GanletError(
            f"{count:,} {source} were asked for but their parts make {combinations:,} different ones; lower the count."
        )
    identity = {"package": f"robohash {package_version('robohash')}", "size": size, "channels": channels}
    decode = partial(_decode, parts, size=size, channels=channels, count=count, seed=seed)
    return Decoder(source, {**identity, "count": count, "seed": seed}, count, PART_SETS[source].credit, decode)


def draw_combinations(combinations: int, count: int, seed: int) -> NDArray[np.int64]:
    """(count,) different numbers below `combinations`; a smaller count with the same seed is a prefix."""
    bits = random_bits(Draw.COMBINATIONS, seed)
    drawn = np.empty(0, dtype=np.int64)
    while len(drawn) < count:
        # Modulo of 64 bits: with fewer than 2^24 combinations the bias is below 2^-40.
        fresh = (bits.random_raw(max(count, 1024)) % np.uint64(combinations)).astype(np.int64)
        drawn = np.concatenate([drawn, fresh])
        _, first = np.unique(drawn, return_index=True)
        drawn = drawn[np.sort(first)]
    return drawn[:count]


def shrink_part(path: Path, *, size: int, channels: int) -> Pixels:
    """One part as (channels + 1, size, size) uint8: premultiplied colours, then how much shows through it."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            # BOX: an exact area mean. A filter with negative lobes would push colour above alpha, and clip.
            small = image.convert("RGBA").convert("RGBa").resize((size, size), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError) as error:
        raise GanletError(f'The picture {path} is damaged; pip install --force-reinstall "ganlet[train]".') from error
    planes = np.asarray(small, dtype=np.float32).transpose(2, 0, 1)
    colour = planes[:3] if channels == 3 else np.tensordot(LUMA, planes[:3], axes=1)[None]
    part: Pixels = np.rint(np.concatenate([colour, 255.0 - planes[3:]])).astype(np.uint8)
    return part


def shrink_all(parts: list[list[Path]], *, size: int, channels: int) -> list[Pixels]:
    """Each layer as (K, channels + 1, size, size) uint8."""
    shrunk: Iterator[Pixels] = in_order(
        partial(shrink_part, size=size, channels=channels), [path for layer in parts for path in layer]
    )
    return [np.stack([next(shrunk) for _ in layer]) for layer in parts]


def compose(stacks: list[Pixels], choice: NDArray[np.int64]) -> Pixels:
    """Lay the chosen part of each layer over white: choice (n, layers) -> (n, C, size, size) uint8.

    Porter-Duff "over" with premultiplied colours: canvas = colour + canvas (1 - alpha).
    """
    channels = stacks[0].shape[1] - 1
    canvas = np.full((len(choice), channels, *stacks[0].shape[2:]), 255.0, dtype=np.float32)
    for stack, index in zip(stacks, choice.T, strict=True):
        part = stack[index].astype(np.float32)
        canvas *= part[:, channels:] / np.float32(255.0)
        canvas += part[:, :channels]
    pixels: Pixels = np.rint(np.clip(canvas, 0.0, 255.0)).astype(np.uint8)
    return pixels


def _decode(
    parts: list[list[Path]], *, size: int, channels: int, count: int, seed: int
) -> Generator[tuple[Pixels, int], None, Decoded]:
    stacks = shrink_all(parts, size=size, channels=channels)
    counts = [len(layer) for layer in parts]
    drawn = draw_combinations(math.prod(counts), count, seed)
    choice = np.stack(np.unravel_index(drawn, counts), axis=1)  # (count, layers) int64
    step = max(1, CHUNK_BYTES // (4 * channels * size * size))
    done = 0
    for pixels in in_order(partial(compose, stacks), (choice[start : start + step] for start in range(0, count, step))):
        done += len(pixels)
        yield pixels, done
    return Decoded()
