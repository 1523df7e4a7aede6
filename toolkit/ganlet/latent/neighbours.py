"""Whether a generator repeats its training pictures: nearest neighbours, their rate, and a sheet to look at.

Works on pixels (see `flattened`) and on features alike. "Near" is not a number somebody chose: pictures of the data
that training never saw have nearest training neighbours too, and a sample is near where it is nearer to a training
picture than all but one in twenty of them. A generator that does not memorise has a rate of about 0.05, or less.
"""

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ganlet.device.pictures import grid
from ganlet.errors import GanletError
from ganlet.metrics import Interval, proportion
from ganlet.metrics.nearest import nearest


class Pictures(Protocol):
    """Training pictures (t, h, w, C), an array or what reads those that are asked for."""

    def __getitem__(self, wanted: NDArray[np.int64], /) -> NDArray[np.uint8]: ...


NEAR_SHARE = 0.05  # of held-out pictures that count as near
ROWS = 8  # of the sheet, in each of its two halves
SHOWN = 3  # neighbours beside each sample
GAP = 4  # pixels
COMPARED_PX = 32


@dataclass(frozen=True, eq=False)
class Memorisation:
    """How near samples are to training pictures, against held-out pictures; distances in the units of the space."""

    rate: Interval
    """Share of samples nearer than `near` to a training picture."""
    copies: Interval
    """Share of samples at distance 0 from a training picture."""
    near: float
    median: float
    held_out_median: float
    searched: int
    """Training pictures that were searched."""
    distances: NDArray[np.float64]  # (n, k), of every sample
    indices: NDArray[np.int64]  # (n, k), into the training pictures

    def as_json(self) -> dict[str, Any]:
        return {
            "rate": self.rate.as_json(),
            "copies": self.copies.as_json(),
            "near": self.near,
            "median": self.median,
            "held_out_median": self.held_out_median,
            "searched": self.searched,
        }


def flattened(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 pictures (n, C, h, w) as rows of bytes (n, d), sides above 32 pixels halved until they are not.

    Halving averages 2 x 2 pixels: two pictures are compared by what one sees of them, and in a time that does not grow.
    """
    small = pictures
    while min(small.shape[2:]) > COMPARED_PX and small.shape[2] % 2 == small.shape[3] % 2 == 0:
        n, channels, height, width = small.shape
        quarters = small.reshape(n, channels, height // 2, 2, width // 2, 2)
        small = np.rint(quarters.mean(axis=(3, 5), dtype=np.float32)).astype(np.uint8)
    return small.reshape(len(small), -1)


def rms_unit(rows: NDArray[np.uint8]) -> float:
    """What turns a distance of `flattened` rows (n, d) into the root mean square of a pixel's difference, 0 to 1."""
    return 1 / (255 * math.sqrt(rows.shape[1]))


def memorisation(
    samples: NDArray[np.generic],
    training: NDArray[np.generic],
    held_out: NDArray[np.generic],
    k: int = SHOWN,
    unit: float = 1.0,
) -> Memorisation:
    """Compare `samples` (n, d) and `held_out` (m, d) with their nearest of `training` (t, d), all in one space.

    Distances are told times `unit`. Raises GanletError for no training pictures, fewer than two held out, or values
    that are not finite.
    """
    if len(held_out) < 2:
        raise GanletError(
            f"Got {len(held_out)} held-out pictures, expected 2 or more; hold out a larger share "
            "(data.holdout), or add pictures."
        )
    distances, indices = nearest(samples, training, max(1, min(k, len(training))))
    own, _ = nearest(held_out, training)
    near = float(np.quantile(own[:, 0], NEAR_SHARE))
    first = distances[:, 0]
    return Memorisation(
        rate=proportion(int((first <= near).sum()), len(first)),
        copies=proportion(int((first == 0.0).sum()), len(first)),
        near=near * unit,
        median=float(np.median(first)) * unit,
        held_out_median=float(np.median(own[:, 0])) * unit,
        searched=len(training),
        distances=distances * unit,
        indices=indices,
    )


def neighbours_sheet(
    samples: NDArray[np.uint8],
    in_pixels: tuple[Memorisation, Pictures],
    in_features: tuple[Memorisation, Pictures],
) -> NDArray[np.uint8]:
    """One sheet (H, W, C) of `samples` (n, h, w, C), each followed by its neighbours in pixels and in features.

    Each space comes with the training pictures (t, h, w, C) that were searched there. Left are the first eight samples,
    as they come; right the eight whose nearest neighbour in features is the nearest of all, the most suspect first.
    """
    rows = min(ROWS, len(samples))
    suspects = np.argsort(in_features[0].distances[:, 0], kind="stable")[:rows]
    halves = []
    for chosen in (np.arange(rows), suspects):
        parts = [grid(samples[chosen], columns=1)]
        for found, pictures in (in_pixels, in_features):
            beside = pictures[found.indices[chosen].reshape(-1)]
            parts += [_white(parts[0], GAP), grid(beside, columns=found.indices.shape[1])]
        halves.append(np.concatenate(parts, axis=1))
    return np.concatenate([halves[0], _white(halves[0], 5 * GAP), halves[1]], axis=1)


def _white(beside: NDArray[np.uint8], width: int) -> NDArray[np.uint8]:
    return np.full((len(beside), width, beside.shape[2]), 255, dtype=np.uint8)
