"""Kernel distance (KID): the unbiased squared MMD with a cubic kernel (Binkowski et al. 2018, section 4).

    k(x, y) = (x.y / d + 1)^3,    MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y),  x' and y' other pictures

`kernel_distance` is over the whole sample at once: nothing is left to chance. `kernel_subsets` is what the literature
prints, mean and standard deviation over random subsets. Neither has a bias in N, so both may fall below zero for equal
sets. Where pictures i of both sides come from the same latent they are alike, so the mean of k(x, y) leaves these pairs
out (Gretton et al. 2012, "A kernel two-sample test", equation 4): with them the distance would be too small.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError
from ganlet.metrics.checks import require_features, require_same_width

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
BLOCK = 1024  # pictures of each side whose kernel values are held at once: 8 MiB
SUBSETS, SUBSET_SIZE = 100, 1000  # Binkowski et al. 2018, section 5; the defaults of most implementations


def _kernel(x: NDArray[np.generic], y: NDArray[np.generic]) -> Array:
    """Kernel values (n, m) of `x` (n, d) and `y` (m, d). Source: Binkowski et al. 2018, equation 3."""
    linear = x.astype(np.float64) @ y.astype(np.float64).T / x.shape[1] + 1.0
    cubed: Array = linear * linear * linear  # `**` is ten times slower
    return cubed


def _sums(x: NDArray[np.generic], y: NDArray[np.generic]) -> tuple[Array, Array]:
    """Row sums (n,) and column sums (m,) of the kernel matrix, in blocks that bound memory."""
    rows, columns = np.zeros(len(x)), np.zeros(len(y))
    for i in range(0, len(x), BLOCK):
        for j in range(0, len(y), BLOCK):
            block = _kernel(x[i : i + BLOCK], y[j : j + BLOCK])
            rows[i : i + BLOCK] += block.sum(axis=1)
            columns[j : j + BLOCK] += block.sum(axis=0)
    return rows, columns


def _of_pairs(x: NDArray[np.generic], y: NDArray[np.generic]) -> Array:
    """Kernel values (n,) of each row of `x` (n, d) with the same row of `y` (n, d)."""
    values = np.empty(len(x))
    for start in range(0, len(x), BLOCK):
        block = slice(start, start + BLOCK)
        linear = (x[block].astype(np.float64) * y[block].astype(np.float64)).sum(axis=1) / x.shape[1] + 1.0
        values[block] = linear**3
    return values


def _mean_of_others(x: NDArray[np.generic]) -> Array:
    """Mean kernel value (n,) of each picture with the other n-1 of its own set."""
    means: Array = (_sums(x, x)[0] - _of_pairs(x, x)) / (len(x) - 1)
    return means


def _means_across(a: NDArray[np.generic], b: NDArray[np.generic], same_latents: bool) -> tuple[Array, Array]:
    """Mean kernel value of each picture of `a` (N,) with those of `b`, and of `b` (M,) with those of `a`."""
    rows, columns = _sums(a, b)
    if not same_latents:
        return rows / len(b), columns / len(a)
    twins = _of_pairs(a, b)
    return (rows - twins) / (len(b) - 1), (columns - twins) / (len(a) - 1)


def kernel_influence(
    a: NDArray[np.generic], b: NDArray[np.generic], *, same_latents: bool = False
) -> tuple[float, Array, Array]:
    """MMD^2 of `a` (N, d) and `b` (M, d) with its first Hoeffding projections: (value, psi_a (N,), psi_b (M,)).

    psi_a(x) = 2 (mean_x' k(x, x') - mean_y k(x, y)), centred, and likewise for b (Hoeffding 1948; Sutherland et al.
    2017, appendix A). With `same_latents` picture i of a comes from the latent of picture i of b (N = M), and no mean
    is over a picture and its twin. Quadratic in the number of pictures. Raises GanletError for fewer than two pictures
    a side, values that are not finite, or different numbers of features.
    """
    require_features(a, least=2)
    require_features(b, least=2)
    require_same_width(a.shape[1], b.shape[1])
    own_a, own_b = _mean_of_others(a), _mean_of_others(b)
    cross_a, cross_b = _means_across(a, b, same_latents)
    value = float(own_a.mean() + own_b.mean() - 2.0 * cross_a.mean())
    psi_a, psi_b = 2.0 * (own_a - cross_a), 2.0 * (own_b - cross_b)
    return value, psi_a - psi_a.mean(), psi_b - psi_b.mean()


def kernel_distance(a: NDArray[np.generic], b: NDArray[np.generic]) -> float:
    """Unbiased MMD^2 of `a` (N, d) and `b` (M, d), without a unit. Raises GanletError like `kernel_influence`."""
    return kernel_influence(a, b)[0]


@dataclass(frozen=True)
class SubsetDistance:
    """Mean and standard deviation (divided by `subsets`) of MMD^2 over random subsets of `size` pictures."""

    mean: float
    std: float
    subsets: int
    size: int


def subset_indices(n: int, m: int, *, subsets: int, size: int, seed: int) -> Iterable[tuple[Indices, Indices]]:
    """Pairs of index arrays (size,): subsets of n pictures and of m, drawn without replacement within each.

    The order of draws and the generator (MT19937, `RandomState.choice`, frozen by numpy) are those of torch-fidelity,
    so that equal seeds give equal subsets in both.
    """
    generator = np.random.RandomState(seed)
    for _ in range(subsets):
        first = generator.choice(n, size, replace=False)
        yield first, generator.choice(m, size, replace=False)


def kernel_subsets(
    a: NDArray[np.generic],
    b: NDArray[np.generic],
    *,
    subsets: int = SUBSETS,
    size: int = SUBSET_SIZE,
    seed: int = 2020,
) -> SubsetDistance:
    """Unbiased MMD^2 of `a` (N, d) and `b` (M, d) over random subsets (Binkowski et al. 2018, section 5).

    The standard deviation is that of one subset's estimate, not the error of the mean: it does not shrink with
    `subsets`. Raises GanletError like `kernel_influence`, and where a side has fewer than `size` pictures.
    """
    if subsets < 1 or size < 2:
        raise GanletError(f"Got {subsets} subsets of {size} pictures; expected 1 or more subsets of 2 or more.")
    if min(len(a), len(b)) < size:
        raise GanletError(
            f"A subset has {size} pictures but the sides have {len(a)} and {len(b)}; use smaller subsets or more "
            "pictures."
        )
    values = [
        kernel_distance(a[first], b[second])
        for first, second in subset_indices(len(a), len(b), subsets=subsets, size=size, seed=seed)
    ]
    return SubsetDistance(float(np.mean(values)), float(np.std(values)), subsets, size)
