"""Kullback-Leibler and Jensen-Shannon divergence of histograms and of fitted Gaussians, in nats."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError
from ganlet.metrics.checks import require_same_width
from ganlet.metrics.frechet import Moments

Array = NDArray[np.float64]
DRAWS = 20_000


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
        return np.asarray(np.linalg.cholesky(of.covariance), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise GanletError(
            f"The covariance of {of.count} pictures in {len(of.mean)} features is not of full rank, so the fitted "
            "Gaussian has no density; use more pictures or fewer features."
        ) from error


def _log_density(x: Array, of: Moments, root: Array) -> Array:
    white = np.linalg.solve(root, (x - of.mean).T)  # (d, draws)
    constant = np.log(np.diag(root)).sum() + len(of.mean) / 2 * np.log(2 * np.pi)
    density: Array = -np.square(white).sum(axis=0) / 2 - constant
    return density
