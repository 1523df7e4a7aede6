"""Frechet distance between two sets of features, each seen as a Gaussian (Heusel et al. 2017, equation 6).

    FD = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))

All of it in float64: in float32 the figure is off by 0.2 %. The trace of the square root is never taken from a matrix
square root. With factors S1 = B1 B1^T and S2 = B2 B2^T it is the sum of the singular values of K = B1^T B2, because
K K^T = B1^T S2 B1 has the eigenvalues of S1 S2. Against the usual eigenvalues of L^T S2 L this keeps the small ones,
whose roots would otherwise drown in rounding, and it stays exact when a set has fewer pictures than features.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError
from ganlet.metrics.checks import require_features, require_same_width

Array = NDArray[np.float64]
CHUNK = 4096  # rows held in float64 at a time


@dataclass(frozen=True, eq=False)
class Moments:
    """Mean (d,) and covariance (d, d), divided by N-1, of `count` feature vectors; both float64."""

    mean: Array
    covariance: Array
    count: int


class MomentsAccumulator:
    """Mean and covariance in one pass, in any number of chunks, without the cancellation of sum(x^2) - n m^2.

    Source: Chan, Golub and LeVeque 1979, "Updating formulae and a pairwise algorithm", equation 2.1.
    """

    def __init__(self, dim: int) -> None:
        self.count = 0
        self._mean: Array = np.zeros(dim)
        self._scatter: Array = np.zeros((dim, dim))  # sum of (x - mean)(x - mean)^T

    def update(self, features: NDArray[np.generic]) -> None:
        """Take in `features` (n, d) of any real dtype; n may be 0. Raises GanletError on NaN, infinity or another d."""
        require_features(features, least=0)
        require_same_width(features.shape[1], len(self._mean))
        for start in range(0, len(features), CHUNK):
            rows = features[start : start + CHUNK].astype(np.float64)
            mean = rows.mean(axis=0)
            rows -= mean
            with np.errstate(over="ignore", invalid="ignore"):  # `moments` reports an overflow in words
                scatter = rows.T @ rows
            self._add(len(rows), mean, scatter)

    def merge(self, other: "MomentsAccumulator") -> None:
        """Take in what `other` has seen, as if its features had come here. Raises GanletError on another d."""
        require_same_width(len(other._mean), len(self._mean))
        if other.count:
            self._add(other.count, other._mean, other._scatter)

    def moments(self) -> Moments:
        """The moments so far. Raises GanletError below two pictures, or where the covariance overflowed float64."""
        if self.count < 2:
            raise GanletError(f"A covariance needs at least 2 pictures, got {self.count}; add pictures.")
        covariance = self._scatter / (self.count - 1)
        if not np.isfinite(covariance).all():
            raise GanletError("The covariance of the features overflows; check that the generator's output is sane.")
        return Moments(self._mean.copy(), covariance, self.count)

    def _add(self, count: int, mean: Array, scatter: Array) -> None:
        total = self.count + count
        shift = mean - self._mean
        with np.errstate(over="ignore", invalid="ignore"):
            self._scatter += scatter + np.outer(shift, shift) * (self.count * count / total)
        self._mean += shift * (count / total)
        self.count = total


def moments(features: NDArray[np.generic]) -> Moments:
    """Moments of `features` (N, d), N >= 2. Raises GanletError on fewer rows or values that are not finite."""
    require_features(features, least=2)
    accumulator = MomentsAccumulator(features.shape[1])
    accumulator.update(features)
    return accumulator.moments()


@dataclass(frozen=True, eq=False)
class _Factor:
    """S = B B^T with B (d, rank); `pivots` (d,) are the rows of B in the order that makes it lower triangular."""

    rows: Array  # (d, rank): B in the order of `pivots`
    pivots: NDArray[np.intp]

    @property
    def matrix(self) -> Array:
        """B (d, rank) in the order of the features."""
        matrix = np.empty_like(self.rows)
        matrix[self.pivots] = self.rows
        return matrix

    def whiten(self, centred: Array) -> Array:
        """Coordinates c (n, rank) with centred = c B^T, for `centred` (n, d) in the range of S."""
        rank = self.rows.shape[1]
        if rank == 0:
            return np.zeros((len(centred), 0))
        picked = centred[:, self.pivots[:rank]]
        solved: Array = _scipy_linalg().solve_triangular(self.rows[:rank], picked.T, lower=True).T
        return solved


def _scipy_linalg() -> Any:
    # Here, not above: the base installation comes without SciPy, and importing the room must work there.
    try:
        import scipy.linalg
    except ImportError as error:
        raise GanletError('The Frechet distance needs scipy; run: pip install "ganlet[train]"') from error
    return scipy.linalg


def _factor(covariance: Array) -> _Factor:
    """Cholesky with pivots: it stops at the numerical rank (below d eps max diagonal), so it needs no ridge.

    Source: Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 10.3; LAPACK dpstrf.
    """
    packed, pivots, rank, _ = _scipy_linalg().lapack.dpstrf(covariance, lower=1, tol=-1)
    return _Factor(np.tril(packed)[:, :rank], np.asarray(pivots, dtype=np.intp) - 1)


def _distance(a: Moments, b: Moments, nuclear: float) -> float:
    shift = a.mean - b.mean
    with np.errstate(over="ignore", invalid="ignore"):
        found = float(shift @ shift + np.trace(a.covariance) + np.trace(b.covariance) - 2.0 * nuclear)
    if not np.isfinite(found):
        raise GanletError(
            "The means and covariances are too large for a distance in float64; measure the pictures again."
        )
    return max(0.0, found)  # rounding may leave -1e-15 tr for equal sets; a squared distance is not negative


def _svd(matrix: Array, vectors: bool) -> tuple[Array, Array, Array]:
    """U, s, V^T of `matrix`; U and V^T are empty unless `vectors`."""
    if not matrix.size:
        return np.zeros((len(matrix), 0)), np.zeros(0), np.zeros((0, matrix.shape[1]))
    svd = _scipy_linalg().svd
    try:
        found = svd(matrix, full_matrices=False, compute_uv=vectors)
    except np.linalg.LinAlgError:
        # Divide and conquer (gesdd) may fail to converge where plain QR iteration (gesvd), four times slower, does not.
        found = svd(matrix, full_matrices=False, compute_uv=vectors, lapack_driver="gesvd")
    left, singular, right = found if vectors else (np.zeros((0, 0)), found, np.zeros((0, 0)))
    return left, singular, right


def frechet_distance(a: Moments, b: Moments) -> float:
    """Frechet distance (a squared length, in squared feature units), never negative and never NaN.

    It is biased upwards by about 1/N: compare figures of the same N only. Raises GanletError when the two sides
    have different numbers of features.
    """
    require_same_width(len(a.mean), len(b.mean))
    cross = _factor(a.covariance).matrix.T @ _factor(b.covariance).matrix  # (rank a, rank b)
    return _distance(a, b, float(_svd(cross, vectors=False)[1].sum()))


@dataclass(frozen=True, eq=False)
class Side:
    """What the influence of one side needs: psi(x) = 2 shift.(x - m) + c (|x - m|^2 - |root B^+ (x - m)|^2)."""

    moments: Moments
    factor: _Factor
    root: Array  # (k, rank): s^(1/2) U^T, where T = B^+T U s U^T B^+
    shift: Array  # (d,): own mean minus the other's

    def influence(self, features: NDArray[np.generic]) -> Array:
        """Influence (N,) of each of the pictures that `moments` came from; `features` (N, d) may be mapped from disk.

        Raises GanletError when they are another number of pictures or features.
        """
        require_features(features, least=2)
        require_same_width(features.shape[1], len(self.moments.mean))
        if len(features) != self.moments.count:
            raise GanletError(
                f"The features are of {len(features)} pictures but their moments of {self.moments.count}; measure "
                "them again."
            )
        # A covariance divided by N-1 weighs each square N/(N-1) times.
        correction = self.moments.count / (self.moments.count - 1)
        values = np.empty(len(features))
        for start in range(0, len(features), CHUNK):
            centred = features[start : start + CHUNK].astype(np.float64) - self.moments.mean
            transported = self.factor.whiten(centred) @ self.root.T
            square = np.einsum("nd,nd->n", centred, centred) - np.einsum("nk,nk->n", transported, transported)
            values[start : start + CHUNK] = 2.0 * (centred @ self.shift) + correction * square
        centred_values: Array = values - values.mean()
        return centred_values

    def gaussian_variance(self) -> float:
        """Variance of the influence of one picture if the features are Gaussian.

        4 d^T S d + 2 tr ((I - T) S)^2, since the cubic moments vanish (Isserlis 1918), with tr (T S)^2 = tr K K^T.
        """
        covariance = self.moments.covariance
        half = self.factor.matrix @ self.root.T  # S T S = half half^T
        cross = float(np.square(np.square(self.root).sum(axis=1)).sum())  # sum of s^2: the rows of root are s^(1/2) u
        quadratic = float(np.square(covariance).sum()) - 2.0 * float(np.square(half).sum()) + cross
        return 4.0 * float(self.shift @ covariance @ self.shift) + 2.0 * max(0.0, quadratic)


@dataclass(frozen=True, eq=False)
class Coupling:
    """The distance of two sets, and from each side what the influence of its pictures needs."""

    value: float
    a: Side
    b: Side


def couple(a: Moments, b: Moments) -> Coupling:
    """The Frechet distance of `a` and `b` together with its derivative (Hampel 1974), from the moments alone.

    For side 1 the influence of a picture x is

        psi(x) = 2 (m1 - m2).(x - m1) + (x - m1)^T (I - T12) (x - m1), centred,

    for d tr(S1 S2)^(1/2) = tr(T12 dS1) / 2 with T12 = S1^(-1/2) (S1^(1/2) S2 S1^(1/2))^(1/2) S1^(-1/2), the optimal
    map of the one Gaussian to the other (Dowson and Landau 1982; Takatsu 2011). With K = B1^T B2 = U s V^T it is
    T12 = B1^+T U s U^T B1^+ and T21 = B2^+T V s V^T B2^+: one singular value decomposition serves both sides. On
    covariances of deficient rank this is the derivative along the span of the pictures, which is where weights move.
    Raises GanletError when the sides have different numbers of features.
    """
    require_same_width(len(a.mean), len(b.mean))
    factor_a, factor_b = _factor(a.covariance), _factor(b.covariance)
    left, singular, right = _svd(factor_a.matrix.T @ factor_b.matrix, vectors=True)
    root = np.sqrt(singular)[:, None]
    shift = a.mean - b.mean
    value = _distance(a, b, float(singular.sum()))
    return Coupling(value, Side(a, factor_a, root * left.T, shift), Side(b, factor_b, root * right, -shift))


def frechet_influence(a: NDArray[np.generic], b: NDArray[np.generic]) -> tuple[float, Array, Array]:
    """Distance of `a` (N, d) and `b` (M, d) with each picture's influence on it: (value, psi_a (N,), psi_b (M,)).

    See `couple`. Raises GanletError like `moments`, and when the sides have different numbers of features.
    """
    coupled = couple(moments(a), moments(b))
    return coupled.value, coupled.a.influence(a), coupled.b.influence(b)
