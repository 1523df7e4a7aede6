"""Precision, recall, density and coverage: how the two sets lie in each other's neighbourhoods.

With the ball around a picture x of a set reaching to its k-th nearest neighbour in that set,

    precision  share of a in the ball of some picture of b      (a judged, b the reference)
    recall     share of b in the ball of some picture of a      Kynkaanniemi et al. 2019, equations 1 and 2, k = 3
    density    balls of b that hold a picture of a, over k      Naeem et al. 2020, equation 4, k = 5
    coverage   share of b's balls that hold a picture of a      Naeem et al. 2020, equation 6, k = 5

Balls are closed. Distances are taken block by block in float64, so that memory is a few blocks plus the features,
whatever the number of pictures; the work is quadratic.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError
from ganlet.metrics.checks import require_features, require_same_width

Array = NDArray[np.float64]
Progress = Callable[[int, int], None]
BLOCK = 2048  # pictures of each side whose distances are held at once: 32 MiB, and thrice that while comparing
PRECISION_K, DENSITY_K = 3, 5
# Rounding of |x|^2 + |y|^2 - 2 x.y, relative to |x|^2 + |y|^2: what is nearer than this is a duplicate, and a point
# this near to the rim of a ball lies in it. Else duplicates, whose balls have no radius, would be in or out by chance.
ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Neighbourhoods:
    """The four figures, and what each picture contributes: precision (N,), recall (M,), density (N,), coverage (M,).

    Each figure is the mean of its contributions, given the other set.
    """

    precision_of_a: Array
    recall_of_b: Array
    density_of_a: Array
    coverage_of_b: Array
    precision_k: int
    density_k: int

    @property
    def precision(self) -> float:
        return float(self.precision_of_a.mean())

    @property
    def recall(self) -> float:
        return float(self.recall_of_b.mean())

    @property
    def density(self) -> float:
        return float(self.density_of_a.mean())

    @property
    def coverage(self) -> float:
        return float(self.coverage_of_b.mean())


def neighbourhoods(
    a: NDArray[np.generic],
    b: NDArray[np.generic],
    *,
    precision_k: int = PRECISION_K,
    density_k: int = DENSITY_K,
    progress: Progress | None = None,
) -> Neighbourhoods:
    """Precision, recall, density and coverage of `a` (N, d), the pictures to judge, against `b` (M, d), the reference.

    `progress` gets (blocks done, blocks in all). Raises GanletError for k below 1, no more pictures than k on a side,
    values that are not finite, or different numbers of features.
    """
    if min(precision_k, density_k) < 1:
        raise GanletError(f"Got {precision_k} and {density_k} neighbours; expected 1 or more.")
    most = max(precision_k, density_k)
    for side in (a, b):
        require_features(side, least=most + 1)
    require_same_width(a.shape[1], b.shape[1])
    own_a, own_b, between = _starts(len(a)), _starts(len(b)), _starts(len(a))
    in_all = _half(len(own_a)) + _half(len(own_b)) + len(between) * len(own_b)
    done = 0

    def tell() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, in_all)

    # Centred on one point: distances do not change, and less is lost where all features are large and alike.
    centre = b[:BLOCK].astype(np.float64).mean(axis=0)
    first, second = _Set(a, centre), _Set(b, centre)
    radii_a, radii_b = _radii(first, (precision_k,), tell), _radii(second, (precision_k, density_k), tell)
    precise, recalled = np.zeros(len(a), dtype=bool), np.zeros(len(b), dtype=bool)
    held, covered = np.zeros(len(a)), np.zeros(len(b), dtype=bool)
    for i in between:
        x = first.block(i)
        rows = slice(i, i + BLOCK)
        for j in own_b:
            columns = slice(j, j + BLOCK)
            squares, slack = _squares(x, second.block(j))
            squares -= slack
            precise[rows] |= (squares <= radii_b[0][None, columns]).any(axis=1)
            recalled[columns] |= (squares <= radii_a[0][rows, None]).any(axis=0)
            inside = squares <= radii_b[1][None, columns]
            held[rows] += np.count_nonzero(inside, axis=1)
            covered[columns] |= inside.any(axis=0)
            tell()
    density = held / density_k
    return Neighbourhoods(
        precise.astype(np.float64), recalled.astype(np.float64), density, covered.astype(np.float64),
        precision_k, density_k,
    )  # fmt: skip


class _Set:
    """Features a block at a time: centred, in float64, with their squared lengths."""

    def __init__(self, features: NDArray[np.generic], centre: Array) -> None:
        self._features, self._centre = features, centre

    def __len__(self) -> int:
        return len(self._features)

    def block(self, start: int) -> tuple[Array, Array]:
        rows = self._features[start : start + BLOCK].astype(np.float64) - self._centre
        return rows, np.einsum("nd,nd->n", rows, rows)


def _starts(count: int) -> range:
    return range(0, count, BLOCK)


def _half(blocks: int) -> int:
    return blocks * (blocks + 1) // 2


def _squares(x: tuple[Array, Array], y: tuple[Array, Array]) -> tuple[Array, Array]:
    """Squared distances (n, m), zero for duplicates, and the rounding to allow for in each (n, m)."""
    lengths = x[1][:, None] + y[1][None, :]
    squares = x[0] @ y[0].T
    squares *= -2.0
    squares += lengths
    lengths *= ROUNDING
    squares[squares <= lengths] = 0.0
    return squares, lengths


def _radii(points: _Set, neighbours: tuple[int, ...], tell: Callable[[], None]) -> list[Array]:
    """Squared distance (N,) of each picture to its k-th nearest other one, for each k of `neighbours`."""
    keep = max(neighbours)
    nearest = np.full((len(points), keep), np.inf)
    for i in _starts(len(points)):
        x = points.block(i)
        for j in range(i, len(points), BLOCK):
            squares, _ = _squares(x, x if i == j else points.block(j))
            if i == j:
                np.fill_diagonal(squares, np.inf)  # a picture is not its own neighbour
            else:  # distances are symmetric: one block serves the pictures of both its sides
                _keep_nearest(nearest[j : j + BLOCK], squares.T, keep)
            _keep_nearest(nearest[i : i + BLOCK], squares, keep)
            tell()
    nearest.sort(axis=1)
    return [nearest[:, k - 1] for k in neighbours]


def _keep_nearest(nearest: Array, squares: Array, keep: int) -> None:
    """Update `nearest` (n, keep) in place by the new `squares` (n, m)."""
    if squares.shape[1] > keep:
        squares = np.partition(squares, keep - 1, axis=1)[:, :keep]
    both = np.concatenate([nearest, squares], axis=1)
    nearest[:] = np.partition(both, keep - 1, axis=1)[:, :keep]
