"""Features in two dimensions, to look at: principal components, t-SNE, and UMAP where it is installed."""

from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError
from ganlet.metrics.checks import require_features

Array = NDArray[np.float64]
KEPT = 50  # principal components that t-SNE and UMAP start from
PERPLEXITY = 30.0


def pca(features: NDArray[np.generic], count: int = 2) -> tuple[Array, Array]:
    """Coordinates (N, count) of `features` (N, d) on their principal axes, and each axis's share of the variance.

    By a singular value decomposition of the centred features; the sign of an axis makes its largest weight positive.
    Raises GanletError for fewer than two pictures, values that are not finite, or fewer axes than asked for.
    """
    require_features(features, least=2)
    if not 1 <= count <= min(features.shape):
        raise GanletError(f"Features of the shape {features.shape} have no {count} axes; give more pictures.")
    centred = features.astype(np.float64)
    centred -= centred.mean(axis=0)
    left, singular, axes = np.linalg.svd(centred, full_matrices=False)
    sign = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])
    variance = np.square(singular)
    shares = variance[:count] / variance.sum() if variance.sum() else np.zeros(count)
    return (left * singular * np.where(sign == 0, 1.0, sign))[:, :count], shares


def tsne(features: NDArray[np.generic], seed: int = 0) -> Array:
    """Coordinates (N, 2) by t-SNE (van der Maaten and Hinton 2008) from the first 50 principal components.

    Raises GanletError when scikit-learn is missing, or for fewer than four pictures.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise GanletError('t-SNE needs scikit-learn; run: pip install "ganlet[train]"') from error
    require_features(features, least=4)
    reduced, _ = pca(features, min(KEPT, *features.shape))
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    found: Array = TSNE(perplexity=perplexity, init="pca", random_state=seed % 2**32, n_jobs=1).fit_transform(reduced)
    return found


def has_umap() -> bool:
    """Whether the package umap-learn is installed, which Ganlet does not ask for."""
    return find_spec("umap") is not None


def umap(features: NDArray[np.generic], seed: int = 0) -> Array:
    """Coordinates (N, 2) by UMAP (McInnes et al. 2018). Raises GanletError when umap-learn is missing."""
    try:
        from umap import UMAP
    except ImportError as error:
        raise GanletError("UMAP needs umap-learn; run: pip install umap-learn") from error
    reduced, _ = pca(features, min(KEPT, *features.shape))
    found: Array = UMAP(random_state=seed % 2**32, n_jobs=1).fit_transform(reduced)
    return found
