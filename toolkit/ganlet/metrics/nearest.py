"""Nearest neighbours by brute force, in blocks: exact, and in bounded memory whatever the number of pictures."""

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError
from ganlet.metrics.checks import require_features, require_same_width

QUERIES, BASE = 512, 4096  # rows of each side at a time at most: 8 MiB of distances
VALUES = 2**22  # numbers of one side at a time: 32 MiB in float64
Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def nearest(
    queries: NDArray[np.generic], base: NDArray[np.generic], k: int = 1, *, same: bool = False
) -> tuple[Array, Indices]:
    """Distances (n, k) float64 and indices (n, k) of the k rows of `base` (m, d) nearest to each query (n, d).

    Euclidean; the nearest first, equal ones by index. With `same` the queries are the base itself, and no row is its
    own neighbour. Candidates are found by |x|^2 + |y|^2 - 2 x.y in float32; the distances of those that are kept are
    computed again in float64 from the differences, so that equal rows are at exactly 0. Rows may be bytes
    too: only a block of them is ever converted. Raises GanletError for features that are not finite, different widths,
    or fewer than k rows to choose from.
    """
    for rows in (queries, base):
        require_features(rows if rows.dtype.kind == "f" else rows[:1], least=min(1, len(rows)))
    require_same_width(queries.shape[1], base.shape[1])
    if not 1 <= k <= len(base) - same:
        raise GanletError(f"Got {len(base)} pictures to search for {k} neighbours; give more pictures.")
    # About a common centre float32 keeps more digits of small distances.
    centre = base[: 4 * BASE].mean(axis=0, dtype=np.float64)
    spare = min(len(base) - same, k + 8)  # float32 may swap what is nearly equally far
    distances, indices = np.empty((len(queries), k)), np.empty((len(queries), k), dtype=np.int64)
    step = min(QUERIES, max(1, VALUES // queries.shape[1]))
    for start in range(0, len(queries), step):
        rows = queries[start : start + step].astype(np.float64)
        found = _candidates((rows - centre).astype(np.float32), base, centre, spare, start if same else None)
        exact = np.stack([np.sqrt(np.square(rows - base[column]).sum(axis=1)) for column in found.T], axis=1)
        order = np.lexsort((found, exact), axis=1)[:, :k]
        distances[start : start + len(rows)] = np.take_along_axis(exact, order, axis=1)
        indices[start : start + len(rows)] = np.take_along_axis(found, order, axis=1)
    return distances, indices


def _candidates(
    rows: NDArray[np.float32], base: NDArray[np.generic], centre: Array, count: int, own: int | None
) -> Indices:
    """Indices (n, count) of the rows of `base` that are nearest in float32; `own` is where the rows begin in it."""
    best = np.full((len(rows), count), np.inf, dtype=np.float32)
    kept = np.zeros((len(rows), count), dtype=np.int64)
    step = min(BASE, max(1, VALUES // base.shape[1]))
    for start in range(0, len(base), step):
        block = (base[start : start + step].astype(np.float64) - centre).astype(np.float32)
        # |x|^2 is the same for all of a row's candidates.
        far = np.square(block).sum(axis=1) - 2.0 * (rows @ block.T)
        if own is not None:
            mine = np.arange(own, own + len(rows)) - start
            inside = (mine >= 0) & (mine < len(block))
            far[inside.nonzero()[0], mine[inside]] = np.inf
        some = np.concatenate([best, far], axis=1)
        places = np.broadcast_to(np.arange(start, start + len(block)), far.shape)
        names = np.concatenate([kept, places], axis=1)
        pick = np.argpartition(some, count - 1, axis=1)[:, :count]
        best, kept = np.take_along_axis(some, pick, axis=1), np.take_along_axis(names, pick, axis=1)
    return kept
