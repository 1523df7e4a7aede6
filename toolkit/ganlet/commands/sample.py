"""`ganlet sample`: which pictures of which artifact, and where they go - a folder, a moving file, or a pipe."""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.commands.fid.artifacts import open_sampler
from ganlet.device import Sampler
from ganlet.device.movies import check_movie, write_movie
from ganlet.device.pictures import FORMATS, encode_jpeg, to_rgb, write_pictures
from ganlet.errors import GanletError, shortened, words_of
from ganlet.files import FULL
from ganlet.observer import Observer

END = 2**63  # no picture has this index
PIPE = Path("-")
MOST_FRAMES, MOST_THREADS = 1_000_000, 1024
USUAL_COUNT, USUAL_KEYS = 64, 8  # pictures in a folder, pictures that a walk goes through


@dataclass(frozen=True)
class Wanted:
    """What is to be drawn. One of `out`, `walk` and `raw` says where it goes."""

    out: Path | None = None
    """Folder of single pictures."""
    walk: Path | None = None
    """File of a walk from picture to picture; `-` pipes its frames."""
    raw: bool = False
    """Pipe the pictures to standard output: 3 bytes a pixel (rgb24), row by row, nothing between them."""
    seed: int = 0
    start: int | None = None
    count: int | None = None
    indices: str | None = None
    """Such as `0-9,17,100-`, instead of `start`."""
    label: str | None = None
    """A class, by its number or its name."""
    code: str | None = None
    """Such as `0.5,-1`."""
    grid: bool = False
    picture_format: str = "png"
    quality: int = 90
    frames: int = 25
    """Of a walk, from picture to picture."""
    fps: int = 25
    provider: str = "auto"
    threads: int | None = None
    profile: str = "fast"

    @property
    def piped(self) -> bool:
        return self.raw or self.walk == PIPE


def sample(artifact: Path, wanted: Wanted, observer: Observer) -> dict[str, Any]:
    """Draw what is wanted of the artifact; returns what was made, as `--json` prints it.

    Raises GanletError for what cannot be done, before anything is written, and as the artifact's sampler does.
    """
    _check(wanted)
    indices = choose(wanted)
    sampler = open_sampler(artifact, provider=wanted.provider, threads=wanted.threads, profile=wanted.profile)
    ran_on = {"provider": sampler.runner.provider}
    if wanted.walk is not None:
        return _walk(sampler, indices, wanted, observer) | ran_on
    pictures = sampler.pictures(indices, seed=wanted.seed, label=wanted.label, code=codes_of(wanted.code))
    if wanted.raw:
        return {"pictures": pipe(picture for _, picture in pictures)} | ran_on
    return _folder(pictures, _count(indices), wanted, observer) | ran_on


def codes_of(text: str | None) -> list[float] | None:
    """`0.5,-1` as numbers. Raises GanletError for what is none, or lies outside [-1, 1]."""
    if text is None:
        return None
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(-1 <= number <= 1 for number in numbers):
        raise GanletError(f"Got --code {shortened(text)}; expected numbers from -1 to 1, such as 0.5,-1.")
    return numbers


def parse_indices(text: str) -> tuple[range, ...]:
    """`0-9,17,100-` as ranges, in the order given; the last one may be open, and then ends at 2^63.

    Raises GanletError for anything else, a range that runs backwards, and an index that appears twice.
    """
    fault = f"Got the indices {text!r}; expected numbers and ranges from low to high such as 0-9,17,100-"
    chosen = []
    parts = text.replace(" ", "").split(",")
    for place, part in enumerate(parts):
        found = re.fullmatch(r"(\d{1,19})(-(\d{1,19})?)?", part, re.ASCII)
        if found is None:
            raise GanletError(f"{fault}, not {part!r}.")
        first, last = int(found[1]), int(found[3] or found[1])
        if found[2] == "-":
            if place < len(parts) - 1:
                raise GanletError(f"{fault}: only the last range may be without an end, not {part!r}.")
            last = END - 1
        if not first <= last < END:
            raise GanletError(f"{fault}: {part!r} runs backwards or beyond {END - 1}.")
        chosen.append(range(first, last + 1))
    in_order = sorted(chosen, key=lambda indices: indices.start)
    for before, after in pairwise(in_order):
        if after.start < before.stop:
            raise GanletError(f"{fault}, each once: {after.start} appears twice.")
    return tuple(chosen)


def choose(wanted: Wanted) -> tuple[range, ...]:
    """The ranges of indices to draw: `--indices`, or `--start` on; of both the first `-n`.

    Raises GanletError for a count below 1, for both at once, and for a range without an end unless it is piped.
    """
    if wanted.indices is not None and wanted.start is not None:
        raise GanletError("Got both --indices and --start; give one of them.")
    if wanted.count is not None and not 1 <= wanted.count < END:
        raise GanletError(f"Got a count of {wanted.count} pictures; expected 1 or more, and less than {END}.")
    if wanted.indices is None:
        start = wanted.start or 0
        count = wanted.count or (USUAL_COUNT if wanted.walk is None else USUAL_KEYS)
        return (range(start, start + count),)
    left = END if wanted.count is None else wanted.count
    chosen = []
    for indices in parse_indices(wanted.indices):
        taken = min(left, indices.stop - indices.start)  # len() ends at 2^63 - 1
        chosen.append(range(indices.start, indices.start + taken))
        left -= taken
        if left == 0:
            break
    if chosen[-1].stop == END and not wanted.piped:
        raise GanletError(f"The indices {wanted.indices!r} have no end; say how many with -n, or pipe them with --raw.")
    return tuple(chosen)


def pipe(pictures: Iterator[NDArray[np.uint8]]) -> int:
    """Write pictures, uint8 (H, W, C), to standard output as rgb24 bytes until all are written or nobody reads on.

    Returns how many were written whole. Raises GanletError where standard output is a terminal.
    """
    _check_pipe()
    written = 0
    try:
        for picture in pictures:
            sys.stdout.buffer.write(to_rgb(picture).tobytes())
            written += 1
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader has enough, as `head` has. Python would flush once more as it ends, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise GanletError(
            f"Standard output took {written} pictures and no more ({words_of(error)}); "
            f"{'free some space there' if error.errno in FULL else 'check what reads it'}."
        ) from error
    return written


def _folder(
    pictures: Iterator[tuple[int, NDArray[np.uint8]]], count: int, wanted: Wanted, observer: Observer
) -> dict[str, Any]:
    assert wanted.out is not None
    done, last = 0, ""
    with observer.watch("sample", "pictures") as update:
        for path in write_pictures(
            wanted.out,
            pictures,
            picture_format=wanted.picture_format,
            quality=wanted.quality,
            grid_sheet=wanted.grid,
        ):
            done, last = min(done + 1, count), str(path)
            update(done, count)
    return {"folder": str(wanted.out), "pictures": count, "last": last}


def _walk(sampler: Sampler, indices: Sequence[range], wanted: Wanted, observer: Observer) -> dict[str, Any]:
    assert wanted.walk is not None
    drawn = sampler.walk(
        indices, seed=wanted.seed, frames=wanted.frames, label=wanted.label, code=codes_of(wanted.code)
    )
    if wanted.piped:
        return {"frames": pipe(drawn)}
    count = _count(indices) * wanted.frames

    with observer.watch("walk", "frames") as update:

        def watched() -> Iterator[NDArray[np.uint8]]:
            for done, frame in enumerate(drawn, 1):
                update(done, count)
                yield frame

        write_movie(wanted.walk, watched(), count, wanted.fps)
    return {
        "path": str(wanted.walk),
        "pictures": _count(indices),
        "frames": count,
        "fps": wanted.fps,
        "bytes": wanted.walk.stat().st_size,
    }


def _count(indices: Sequence[range]) -> int:
    return sum(chosen.stop - chosen.start for chosen in indices)


def _check(wanted: Wanted) -> None:
    """Raise GanletError for what needs no artifact to be seen."""
    ways = [name for name, on in (("--out", wanted.out), ("--walk", wanted.walk)) if on is not None]
    ways += ["--raw"] if wanted.raw and wanted.walk != PIPE else []
    if len(ways) != 1:
        got = " and ".join(ways) or "none"
        raise GanletError(f"Got {got} of --out FOLDER, --walk FILE and --raw; expected one: where the pictures go.")
    _require_use(wanted)
    if wanted.picture_format not in FORMATS:
        raise GanletError(f"Got --format {wanted.picture_format}; expected {' or '.join(FORMATS)}.")
    if wanted.picture_format == "jpeg":
        encode_jpeg(np.zeros((1, 1, 1), np.uint8), wanted.quality)  # refuses a quality out of range
    if wanted.frames < 1 or (wanted.frames > MOST_FRAMES and not wanted.piped):
        most = "or more" if wanted.piped else f"to {MOST_FRAMES}"
        raise GanletError(f"Got {wanted.frames} frames from picture to picture; expected 1 {most}.")
    if wanted.threads is not None and not 1 <= wanted.threads <= MOST_THREADS:
        raise GanletError(f"Got --threads {wanted.threads}; expected 1 to {MOST_THREADS}.")
    if wanted.piped:
        _check_pipe()
    elif wanted.walk is not None:
        check_movie(wanted.walk, wanted.fps)


def _require_use(wanted: Wanted) -> None:
    """Raise GanletError for an option that this way of drawing does not have: ignoring it would look like doing it."""
    usual = Wanted()
    of_folder = {"grid": "--grid", "picture_format": "--format", "quality": "--quality"}
    of_walk = {"frames": "--frames", "fps": "--fps"}
    if wanted.out is not None:
        way, wrong = "--out", of_walk
        if wanted.picture_format == "png" and wanted.quality != usual.quality:
            raise GanletError("--format png has no use for --quality; leave that out, or choose --format jpeg.")
    else:
        way, wrong = ("--walk", of_folder) if wanted.walk is not None else ("--raw", of_folder | of_walk)
        wrong |= {"fps": "--fps"} if wanted.piped else {}
    useless = [option for name, option in wrong.items() if getattr(wanted, name) != getattr(usual, name)]
    if useless:
        raise GanletError(f"{way} has no use for {' and '.join(useless)}; leave that out.")


def _check_pipe() -> None:
    if sys.stdout.isatty():
        raise GanletError(
            "Standard output is a terminal, and raw pictures would garble it; pipe them, as in "
            "`ganlet sample ... --raw | ffmpeg -f rawvideo -pix_fmt rgb24 -s 64x64 -i - walk.mp4`, or use --out."
        )
