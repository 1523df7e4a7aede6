"""The Frechet distance that infinitely many pictures would give (Chong and Forsyth 2020, section 3.2).

The distance of N pictures is biased upwards by about c / N, and c depends on the generator: ranks at finite N can be
wrong. So the distance is taken at several N of random subsets, and a line in 1/N is read off at 1/N = 0. The line holds
where N is well above the number of features; below that the curve bends, and the result is only less biased.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError
from ganlet.metrics.checks import require_features
from ganlet.metrics.frechet import Moments, frechet_distance, moments

Progress = Callable[[int, int], None]
POINTS = 15  # as in the paper
SMALLEST_SHARE = 0.3  # of the pictures, in the smallest subset


@dataclass(frozen=True)
class Extrapolation:
    """`value` is the line's height at 1/N = 0 with its standard error, `slope` the bias times N; and the points."""

    value: float
    error: float
    slope: float
    counts: tuple[int, ...]
    distances: tuple[float, ...]


def frechet_extrapolated(
    a: NDArray[np.generic],
    b: NDArray[np.generic] | Moments,
    *,
    points: int = POINTS,
    seed: int = 0,
    progress: Progress | None = None,
) -> Extrapolation:
    """Frechet distance of `a` (N, d) to `b`, extrapolated to infinitely many pictures.

    `b` may be moments, which stay as they are (the paper's way: the reference's own bias remains), or features (M, d):
    then both sides shrink together, M in proportion, and the bias of both is removed. The value may fall below zero for
    equal distributions. Raises GanletError below 3 points or 10 pictures a side, and like `moments`.
    """
    if points < 3:
        raise GanletError(f"Got {points} points to lay a line through; expected 3 or more.")
    require_features(a, least=10)
    fixed = b if isinstance(b, Moments) else None
    if not isinstance(b, Moments):
        require_features(b, least=10)
    generator = np.random.default_rng(seed)
    # Evenly in 1/N, so that no end of the line weighs more than the other.
    shares = 1 / np.linspace(1 / SMALLEST_SHARE, 1, points)
    counts, distances = [], []
    for number, share in enumerate(shares, start=1):
        count = max(2, round(share * len(a)))
        own = moments(a[np.sort(generator.permutation(len(a))[:count])])
        other = fixed or moments(_subset(b, share, generator))
        counts.append(count)
        distances.append(frechet_distance(own, other))
        if progress is not None:
            progress(number, points)
    return _line(counts, distances)


def _subset(b: NDArray[np.generic] | Moments, share: float, generator: np.random.Generator) -> NDArray[np.generic]:
    assert not isinstance(b, Moments)
    return b[np.sort(generator.permutation(len(b))[: max(2, round(share * len(b)))])]


def _line(counts: list[int], distances: list[float]) -> Extrapolation:
    """Least squares of distance on 1/N, with the standard error of the intercept."""
    x, y = 1 / np.array(counts), np.array(distances)
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    value = float(y.mean() - slope * x.mean())
    left = y - value - slope * x
    error = np.sqrt(left @ left / (len(x) - 2) * (1 / len(x) + x.mean() ** 2 / (centred @ centred)))
    return Extrapolation(value, float(error), slope, tuple(counts), tuple(distances))
