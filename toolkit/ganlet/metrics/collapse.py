"""Whether a generator draws too little: indicators of collapse, each with its 95 % interval.

Those that are smooth in the distribution of the pictures come as a `Figure` with every picture's influence, so that
`paired_change_percent` compares a student with its teacher on the same latents. All sums are in float64.
"""

import warnings
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError
from ganlet.metrics.checks import require_features, require_same_width
from ganlet.metrics.intervals import RESAMPLES, TAILS, Figure, Interval, figure, mean_figure, proportion
from ganlet.metrics.nearest import nearest

Array = NDArray[np.float64]
NOISE = 1e-10  # of the mean square: variance below is rounding of float32 features, not variety
CLUSTERS = 10
NEAR_QUANTILE = 0.01  # of the data's own nearest distances: what is nearer counts as a duplicate
LEAST_SHARE = 0.1  # of a class's share in the labelled set that a generator has to draw to cover it
STEP = 0.05  # length of a step in latent space; far below the length of a latent, far above rounding


def effective_rank(features: NDArray[np.generic], seed: int = 0) -> Figure:
    """exp of the entropy of the covariance's spectrum of `features` (N, d): how many directions are in use.

    erank = exp(-sum p_i log p_i), p_i = eigenvalue_i / trace (Roy and Vetterli 2007, equation 2). It is 1 for points
    on a line (and, by convention, for a single point) and d for a ball. By the derivative of an eigenvalue, (u_i.x)^2 -
    lambda_i a picture's influence is erank sum_i (-log p_i - H) (u_i.x)^2 / trace. Few pictures lower it:
    compare equal N. Raises GanletError below two pictures or for values that are not finite.
    """
    centred, total = _centred(features)
    if total == 0.0:
        return mean_figure(np.ones(len(features)), seed)
    # The smaller of the two Gram matrices has the same spectrum.
    if len(centred) > centred.shape[1]:
        spectrum, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
        squares = np.square(centred @ vectors)
    else:
        spectrum, vectors = np.linalg.eigh(centred @ centred.T / len(centred))
        squares = np.square(vectors) * np.maximum(spectrum, 0.0) * len(centred)
    p = np.maximum(spectrum, 0.0) / total
    used = p > 1e-15
    information = -np.log(p[used])
    entropy = float(p[used] @ information)
    rank = float(np.exp(entropy))
    influence = rank * (squares[:, used] @ (information - entropy)) / total
    return figure(rank, influence - influence.mean(), np.zeros(1), seed=seed, least=1.0)


def total_spread(features: NDArray[np.generic], seed: int = 0) -> Figure:
    """Mean squared distance of `features` (N, d) from their mean: the trace of the covariance divided by N.

    Effective rank and `within_share` do not change when all pictures move towards one; this does. Raises GanletError as
    `effective_rank`.
    """
    centred, total = _centred(features)
    return mean_figure(np.square(centred).sum(axis=1) if total else np.zeros(len(features)), seed)


def cluster_centres(features: NDArray[np.generic], count: int = CLUSTERS, seed: int = 0) -> Array:
    """Centres (count, d) of `features` (N, d) by scikit-learn's k-means, seeded as k-means++.

    The same for the same seed: it takes one thread, since several would add up in no fixed order. Raises GanletError
    for fewer pictures than clusters, values that are not finite, or when scikit-learn is missing.
    """
    require_features(features, least=count)
    try:
        from sklearn.cluster import KMeans
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise GanletError('Clusters need scikit-learn; run: pip install "ganlet[train]"') from error
    random = np.random.RandomState(np.random.MT19937(seed))
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer different pictures than clusters: then some centres are the same
        found = KMeans(count, n_init=1, random_state=random).fit(features.astype(np.float64))
    centres: Array = found.cluster_centers_
    return centres


def within_share(features: NDArray[np.generic], centres: Array, seed: int = 0) -> Figure:
    """Spread within clusters against the whole spread of `features` (N, d): 0 to 1, small when clusters are points.

    Each picture belongs to the nearest of `centres` (k, d), which come from the data; the mean of a cluster is that of
    its own pictures. W = mean |x - mean of its cluster|^2, T = mean |x - mean|^2, the share is W / T and the influence
    (psi_W - W / T psi_T) / T. The spread between clusters is T - W. Raises GanletError as `effective_rank`.
    """
    centred, total = _centred(features)
    require_same_width(features.shape[1], centres.shape[1])
    if total == 0.0:
        return mean_figure(np.zeros(len(features)), seed)
    rows = features.astype(np.float64)
    owner = _squares(rows, centres).argmin(axis=1)
    for index in np.unique(owner):
        rows[owner == index] -= rows[owner == index].mean(axis=0)
    within, whole = np.square(rows).sum(axis=1), np.square(centred).sum(axis=1)
    share = float(within.mean() / whole.mean())
    influence = (within - share * whole) / whole.mean()
    return figure(share, influence - influence.mean(), np.zeros(1), seed=seed, least=0.0)


def near_distance(features: NDArray[np.generic]) -> float:
    """The distance below which two pictures count as duplicates, from the data's own features (N, d).

    One picture of the data in a hundred has another that near. It falls with N: judge sets of the same number.
    """
    distances, _ = nearest(features, features, same=True)
    return float(np.quantile(distances[:, 0], NEAR_QUANTILE))


def duplicate_rate(features: NDArray[np.generic], near: float) -> Interval:
    """Share of pictures with another one of the same set at a distance of `near` or less; 0.01 of the data itself."""
    distances, _ = nearest(features, features, same=True)
    return proportion(int((distances[:, 0] <= near).sum()), len(features))


def modes_covered(
    features: NDArray[np.generic], labelled: NDArray[np.generic], labels: NDArray[np.int64], seed: int = 0
) -> Interval:
    """Share of the classes of a labelled set (M, d), (M,) that a generator's `features` (N, d) cover.

    A picture is of the class of its nearest labelled neighbour; a class is covered when the generator draws it at least
    a tenth as often as the labelled set has it. The interval is a bootstrap of the class counts. Raises GanletError
    when labels and features do not pair.
    """
    if len(labels) != len(labelled):
        raise GanletError(f"Got {len(labels)} labels for {len(labelled)} pictures; give one for each.")
    _, indices = nearest(features, labelled)
    classes, owner = np.unique(labels, return_inverse=True)
    expected = np.bincount(owner, minlength=len(classes)) / len(labels)
    drawn = np.bincount(owner[indices[:, 0]], minlength=len(classes)) / len(features)

    def covered(shares: Array) -> Array:
        found: Array = (shares >= LEAST_SHARE * expected).mean(axis=-1)
        return found

    again = np.random.default_rng(seed).multinomial(len(features), drawn, size=RESAMPLES) / len(features)
    value = float(covered(drawn))
    low, high = np.quantile(covered(again), TAILS)
    return Interval(value, min(value, float(low)), max(value, float(high)))


def latent_spread(
    draw: Callable[[NDArray[np.float32]], NDArray[np.float32]], z: NDArray[np.float32], seed: int = 0
) -> Figure:
    """How far pictures move per unit of latent: small where the generator does not listen to its latent.

    For each z (n, latent) one random unit direction u: root mean square over pixels of (draw(z + h u) - draw(z)) / h,
    with h = 0.05 and pixels in [-1, 1]; the figure is the mean over n. `draw` maps (n, latent) float32 to pictures
    (n, ...). Raises GanletError when it draws values that are not finite.
    """
    direction = np.random.default_rng(seed).standard_normal(z.shape)
    direction /= np.sqrt(np.square(direction).sum(axis=1, keepdims=True))
    here, there = (draw(at.astype(np.float32)).astype(np.float64) for at in (z, z + STEP * direction))
    with np.errstate(invalid="ignore"):  # reported below, in words
        moved = there - here
    spread = np.sqrt(np.square(moved).reshape(len(z), -1).mean(axis=1)) / STEP
    if not np.isfinite(spread).all():
        raise GanletError("The pictures hold values that are not finite; the generator that drew them is broken.")
    return mean_figure(spread, seed)


def _centred(features: NDArray[np.generic]) -> tuple[Array, float]:
    """Features (N, d) less their mean, and their total variance; 0 where all there is to it is rounding."""
    require_features(features, least=2)
    rows = features.astype(np.float64)
    size = float(np.square(rows).sum(axis=1).mean())
    rows -= rows.mean(axis=0)
    total = float(np.square(rows).sum(axis=1).mean())
    return rows, total if total > NOISE * size else 0.0


def _squares(rows: Array, centres: Array) -> Array:
    """Squared distances (n, k) of `rows` (n, d) from `centres` (k, d), never below zero."""
    squares = np.square(rows).sum(axis=1)[:, None] + np.square(centres).sum(axis=1) - 2.0 * rows @ centres.T
    found: Array = np.maximum(squares, 0.0)
    return found
