"""Inception score: how sure a classifier is of each picture, and how evenly the pictures spread over its classes.

    IS = exp( mean over x of KL( p(y|x) || p(y) ) )        Salimans et al. 2016, section 4

It makes sense only where the classes are those of the pictures: on faces or kittens the classes of ImageNet say little.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError

Array = NDArray[np.float64]
SPLITS = 10
TOLERANCE = 1e-3  # of the sum of a picture's probabilities: float32 softmax over thousands of classes


@dataclass(frozen=True, eq=False)
class InceptionScore:
    """`whole` over all pictures at once; `mean` and `std` over `splits` parts of equal size, as usually printed.

    `influence` (N,) is that of each picture on `whole`, IS (KL( p(y|x) || p(y) ) - ln IS), for an interval.
    """

    whole: float
    mean: float
    std: float
    splits: int
    influence: Array


def inception_score(
    probabilities: NDArray[np.generic], *, splits: int = SPLITS, seed: int | None = None
) -> InceptionScore:
    """Inception score of class probabilities (N, classes), between 1 and the number of classes.

    Parts are cut in the order given, or after a seeded shuffle (MT19937, as torch-fidelity does). Small parts bias the
    score downwards. Raises GanletError for fewer pictures than splits, and for rows that are no probabilities.
    """
    if probabilities.ndim != 2 or probabilities.shape[1] < 2:
        raise GanletError(f"Class probabilities have the shape {probabilities.shape}, expected (pictures, classes).")
    count = len(probabilities)
    if splits < 1 or count < splits:
        raise GanletError(f"An Inception score over {splits} parts needs as many pictures, got {count}; add pictures.")
    p = probabilities.astype(np.float64)
    sums = p.sum(axis=1)
    if not (np.isfinite(sums).all() and p.min() >= 0 and np.abs(sums - 1).max() <= TOLERANCE):
        raise GanletError("The class probabilities of some pictures do not sum to one; apply softmax to logits first.")
    order = np.arange(count) if seed is None else np.random.RandomState(seed).permutation(count)
    parts = [p[order[i * count // splits : (i + 1) * count // splits]] for i in range(splits)]
    scores = [float(np.exp(_divergences(part).mean())) for part in parts]
    divergences = _divergences(p)
    whole = float(np.exp(divergences.mean()))
    influence = whole * (divergences - divergences.mean())
    return InceptionScore(whole, float(np.mean(scores)), float(np.std(scores)), splits, influence)


def _divergences(p: Array) -> Array:
    """KL( p(y|x) || p(y) ) of each picture (N,)."""
    marginal = p.mean(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(p > 0, p * (np.log(p) - np.log(marginal)), 0.0)  # 0 log 0 = 0
    found: Array = terms.sum(axis=1)
    return found
