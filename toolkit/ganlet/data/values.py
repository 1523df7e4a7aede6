"""Notes on the values of a whole set: a range that is hardly used, and pictures of one colour."""

from collections.abc import Sequence

import numpy as np

from ganlet.data.pictures import Pixels

SAMPLE_BYTES = 2**26  # looked at; the pictures are spread evenly over the set
USED = 0.999  # part of the pixels that the range is of: a few odd ones do not hide that the others are dark
NARROW = 64  # of 256 levels; 14 bits in a 16-bit file use as many


def value_notes(pictures: Pixels, names: Sequence[str] | None) -> list[str]:
    """What is odd about the values of `pictures` (N, C, H, W), with the remedy; `names` are those of the files."""
    step = max(1, -(-pictures.nbytes // SAMPLE_BYTES))
    sample = np.asarray(pictures[::step])
    return [*_range_note(sample), *_one_colour_note(sample, step, names)]


def _range_note(sample: Pixels) -> list[str]:
    counts = np.bincount(sample.ravel(), minlength=256)
    below = np.cumsum(counts) / max(1, sample.size)
    low, high = int(np.searchsorted(below, (1 - USED) / 2)), int(np.searchsorted(below, (1 + USED) / 2))
    if high - low >= NARROW:
        return []
    return [
        f"the pictures use {high - low + 1} of 256 levels ({low} to {high}) in {USED:.1%} of their pixels: where "
        "their files hold fewer bits than they claim (12 bits in a 16-bit file, 0 and 1 in 8 bits), scale the "
        "values to the full range of the file, such as 0-255 or 0-65535"
    ]


def _one_colour_note(sample: Pixels, step: int, names: Sequence[str] | None) -> list[str]:
    flat = sample.reshape(*sample.shape[:2], -1)
    single = np.flatnonzero((flat.min(2) == flat.max(2)).all(1))
    if len(single) == 0:
        return []
    such = f", such as {names[int(single[0]) * step]}" if names else ""
    of = f"{len(sample):,} pictures{' looked at' if step > 1 else ''}"
    return [f"{len(single):,} of {of} are of one colour all over{such}: remove them where they are empty"]
