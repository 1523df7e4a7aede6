"""Two dimensions of features: principal axes against an eigendecomposition, t-SNE that keeps clusters apart."""

import sys

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics import embedding
from ganlet.metrics.embedding import pca, tsne


def test_principal_components_are_those_of_the_covariance() -> None:
    rows = np.random.default_rng(0).standard_normal((80, 6)) * np.arange(1, 7) + 3
    coordinates, shares = pca(rows, 3)
    eigenvalues = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    np.testing.assert_allclose(coordinates.var(axis=0, ddof=1), eigenvalues[:3], rtol=1e-10)
    np.testing.assert_allclose(shares, eigenvalues[:3] / eigenvalues.sum(), rtol=1e-10)
    np.testing.assert_allclose(np.corrcoef(coordinates.T), np.eye(3), atol=1e-10)
    again, _ = pca(rows[:, ::-1].copy(), 3)  # the order of the features does not matter, nor turns the axes round
    np.testing.assert_allclose(again, coordinates, atol=1e-8)
    assert pca(np.ones((5, 3)))[1].tolist() == [0.0, 0.0]


def test_tsne_keeps_clusters_apart_and_repeats_itself() -> None:
    random = np.random.default_rng(0)
    rows = np.concatenate([random.standard_normal((20, 8)), random.standard_normal((20, 8)) + 30])
    found = tsne(rows, seed=1)
    assert found.shape == (40, 2) and np.isfinite(found).all()
    far = np.sqrt(((found[:, None] - found) ** 2).sum(-1))
    np.fill_diagonal(far, np.inf)
    assert ((far.argmin(axis=1) < 20) == (np.arange(40) < 20)).all()
    np.testing.assert_array_equal(found, tsne(rows, seed=1))


def test_what_cannot_be_embedded_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.zeros((5, 3))
    with pytest.raises(GanletError, match="no 4 axes"):
        pca(rows, 4)
    with pytest.raises(GanletError, match="at least 4 pictures"):
        tsne(rows[:3])
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(GanletError, match="needs scikit-learn"):
        tsne(rows)
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(GanletError, match="pip install umap-learn"):
        embedding.umap(rows)
