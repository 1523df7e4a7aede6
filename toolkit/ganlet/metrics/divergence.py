"""Kullback-Leibler and Jensen-Shannon divergence of histograms and of fitted Gaussians, in nats.

A histogram of pictures counts them by the clusters of the data's features (Richardson and Weiss 2018, "On GANs and
GMMs", section 3): it takes fewer pictures than a Gaussian, whose covariance needs more pictures than features.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError
from ganlet.metrics.checks import require_same_width
from ganlet.metrics.collapse import cluster_centres
from ganlet.metrics.frechet import Moments
from ganlet.metrics.nearest import nearest

Array = NDArray[np.float64]
Bins = NDArray[np.int64]
DRAWS = 20_000
PER_BIN = 20  # pictures of the data in a cluster, on average
MOST_BINS = 100


@dataclass(frozen=True)
class Estimate:
    """A mean over random draws with its standard error."""

    value: float
    error: float


def histogram_kl(p: NDArray[np.generic], q: NDArray[np.generic]) -> float:
    """KL(p || q) of two histograms (bins,) of counts or shares; infinite where p has mass and q has none.

    Source: Kullback and Leibler 1951. Raises GanletError for different bins, negative or no mass.
    """
    first, second = _shares(p), _shares(q)
    _require_same_bins(first, second)
    return _kl(first, second)


def histogram_js(p: NDArray[np.generic], q: NDArray[np.generic]) -> float:
    """Jensen-Shannon divergence of two histograms (bins,), between 0 and ln 2, symmetric and always finite.

    JS = KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2 (Lin 1991, equation 3.3). Raises GanletError like
    `histogram_kl`.
    """
    first, second = _shares(p), _shares(q)
    _require_same_bins(first, second)
    middle = (first + second) / 2
    return max(0.0, (_kl(first, middle) + _kl(second, middle)) / 2)


def bins_of(a: NDArray[np.generic], b: NDArray[np.generic], seed: int = 0) -> tuple[Bins, Bins]:
    """The cluster of each picture of `a` (N, d) and `b` (M, d): (N,) and (M,), numbers from 0.

    The clusters are those of `b`, at most 100 with about 20 of its pictures each; none of them is empty in `b`. Raises
    GanletError when scikit-learn is missing, for different widths, and for fewer than two pictures of `b`.
    """
    require_same_width(a.shape[1], b.shape[1])
    centres = cluster_centres(b, min(MOST_BINS, max(2, len(b) // PER_BIN)), seed)
    used, of_b = np.unique(nearest(b, centres)[1][:, 0], return_inverse=True)
    return nearest(a, centres[used])[1][:, 0], of_b.astype(np.int64)


def histogram_kl_influence(a: Bins, b: Bins) -> tuple[float, Array, Array]:
    """KL(p || q) of the bins of two sets, (N,) and (M,), with each picture's influence (N,) and (M,) on it.

    d KL / d p_i = log p_i / q_i and d KL / d q_i = -p_i / q_i, up to constants. No bin may be empty in `b` alone.
    """
    p, q = _shares_of(a, b)
    value = histogram_kl(p, q)
    with np.errstate(divide="ignore", invalid="ignore"):  # of bins that are empty in a, whose influence nobody asks for
        ratio = p / q
        logarithm = np.log(ratio)
    return value, logarithm[a] - value, 1.0 - ratio[b]


def histogram_js_influence(a: Bins, b: Bins) -> tuple[float, Array, Array]:
    """The Jensen-Shannon divergence of the bins of two sets, (N,) and (M,), with each picture's influence on it.

    d JS / d p_i = log(p_i / m_i) / 2 with m = (p + q) / 2, and the same for q.
    """
    p, q = _shares_of(a, b)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        halves = [np.log(own / middle)[bins] / 2 for own, bins in ((p, a), (q, b))]
    return histogram_js(p, q), halves[0] - halves[0].mean(), halves[1] - halves[1].mean()


def gaussian_kl(a: Moments, b: Moments) -> float:
    """KL(N_a || N_b) = (tr(S_b^-1 S_a) + (m_b - m_a)^T S_b^-1 (m_b - m_a) - d + ln det S_b / det S_a) / 2.

    Raises GanletError for different numbers of features and for a covariance that is not of full rank: with no more
    pictures than features a fitted Gaussian has no density.
    """
    require_same_width(len(a.mean), len(b.mean))
    root_a, root_b = _cholesky(a), _cholesky(b)
    spread = np.linalg.solve(root_b, root_a)
    shift = np.linalg.solve(root_b, b.mean - a.mean)
    determinants = 2 * float(np.log(np.diag(root_b)).sum() - np.log(np.diag(root_a)).sum())
    return max(0.0, (float(np.square(spread).sum()) + float(shift @ shift) - len(a.mean) + determinants) / 2)


def gaussian_kl_of_chance(width: int, a_count: int, b_count: int) -> float:
    """The mean of `gaussian_kl` of two samples of one and the same Gaussian: what it comes to where nothing differs.

    By the mean of an inverse Wishart matrix and of the log determinant of a Wishart one (Muirhead 1982, theorem 3.2.12
    and section 3.2.4). Infinite for fewer than `width` + 3 pictures of b.
    """
    from scipy.special import digamma

    if b_count <= width + 2:
        return float("inf")

    def determinant(count: int) -> float:  # E ln det S less ln det of the Gaussian's own covariance
        return float(digamma((count - np.arange(1, width + 1)) / 2).sum() + width * np.log(2 / (count - 1)))

    spread = width * (b_count - 1) / (b_count - width - 2) * (1 + 1 / a_count + 1 / b_count)
    return (spread - width + determinant(b_count) - determinant(a_count)) / 2


def gaussian_js(a: Moments, b: Moments, *, draws: int = DRAWS, seed: int = 0) -> Estimate:
    """Jensen-Shannon divergence of the two fitted Gaussians, by Monte Carlo: a mixture of them has no closed form.

    Draws from each in turn and averages ln p / m and ln q / m. Equal for equal seeds. Raises GanletError like
    `gaussian_kl`, and below two draws.
    """
    require_same_width(len(a.mean), len(b.mean))
    if draws < 2:
        raise GanletError(f"Got {draws} draws; expected 2 or more.")
    root_a, root_b = _cholesky(a), _cholesky(b)
    generator = np.random.default_rng(seed)
    halves = []
    for own, root in ((a, root_a), (b, root_b)):
        x = own.mean + generator.standard_normal((draws, len(own.mean))) @ root.T  # (draws, d)
        log_a, log_b = _log_density(x, a, root_a), _log_density(x, b, root_b)
        log_own = log_a if own is a else log_b
        halves.append(log_own - np.logaddexp(log_a, log_b) + np.log(2.0))
    error = np.sqrt(sum(half.var(ddof=1) / draws for half in halves)) / 2
    return Estimate(max(0.0, float(halves[0].mean() + halves[1].mean()) / 2), float(error))


def _shares_of(a: Bins, b: Bins) -> tuple[Array, Array]:
    """The shares (bins,) of the bins of two sets."""
    count = int(max(a.max(), b.max())) + 1
    return np.bincount(a, minlength=count) / len(a), np.bincount(b, minlength=count) / len(b)


def _shares(counts: NDArray[np.generic]) -> Array:
    shares = counts.astype(np.float64)
    total = shares.sum()
    if shares.ndim != 1 or not np.isfinite(total) or total <= 0 or shares.min() < 0:
        raise GanletError(
            f"A histogram of shape {shares.shape} and sum {total:g} is no distribution; expected counts (bins,), none "
            "negative, not all zero."
        )
    normalised: Array = shares / total
    return normalised


def _require_same_bins(p: Array, q: Array) -> None:
    if len(p) != len(q):
        raise GanletError(f"The histograms have {len(p)} and {len(q)} bins; count both with the same edges.")


def _kl(p: Array, q: Array) -> float:
    held = p > 0  # 0 ln 0 = 0
    with np.errstate(divide="ignore"):
        return max(0.0, float((p[held] * np.log(p[held] / q[held])).sum()))


def _cholesky(of: Moments) -> Array:
    try:
        if 0 < of.count <= len(of.mean):  # rounding may hide it
            raise np.linalg.LinAlgError
        return np.asarray(np.linalg.cholesky(of.covariance), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise GanletError(
            f"The covariance of {of.count or 'an unknown number of'} pictures in {len(of.mean)} features is not of "
            "full rank, so the fitted Gaussian has no density; use more pictures or fewer features."
        ) from error


def _log_density(x: Array, of: Moments, root: Array) -> Array:
    white = np.linalg.solve(root, (x - of.mean).T)  # (d, draws)
    constant = np.log(np.diag(root)).sum() + len(of.mean) / 2 * np.log(2 * np.pi)
    density: Array = -np.square(white).sum(axis=0) / 2 - constant
    return density
