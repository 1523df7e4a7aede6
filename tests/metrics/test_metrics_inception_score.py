"""Inception score: its two ends, torch-fidelity's figures, and rows that are no probabilities."""

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics.inception_score import inception_score


def test_sure_and_even_pictures_reach_the_number_of_classes_and_unsure_ones_one() -> None:
    sure = np.eye(10)[np.arange(200) % 10]
    np.testing.assert_allclose(inception_score(sure).whole, 10.0)
    assert inception_score(sure).mean == pytest.approx(10.0) and inception_score(sure).std == pytest.approx(0.0)
    unsure = np.full((200, 10), 0.1)
    np.testing.assert_allclose(inception_score(unsure).whole, 1.0)
    collapsed = np.eye(10)[np.zeros(200, dtype=int)]
    np.testing.assert_allclose(inception_score(collapsed).whole, 1.0)


def test_influence_is_the_derivative_by_a_picture_s_weight() -> None:
    p = np.random.default_rng(0).dirichlet(np.ones(5), 30)
    found = inception_score(p)
    assert found.influence.mean() == pytest.approx(0, abs=1e-12)
    for index in (0, 17):  # a picture twice in 100 copies of the set
        heavier = inception_score(np.vstack([np.tile(p, (100, 1)), p[index : index + 1]]))
        assert (heavier.whole - found.whole) * 3001 == pytest.approx(found.influence[index], rel=0.02, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, 2020])
def test_figures_are_those_of_torch_fidelity(seed: int | None) -> None:
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torch_fidelity.metric_isc", reason="torch-fidelity is not installed")
    logits = torch.from_numpy(np.random.default_rng(0).standard_normal((503, 30)) * 2)
    expected = theirs.isc_features_to_metric(logits, splits=10, shuffle=seed is not None, rng_seed=seed or 0)
    found = inception_score(logits.softmax(1).numpy(), splits=10, seed=seed)
    np.testing.assert_allclose(found.mean, expected["inception_score_mean"], rtol=1e-6)
    np.testing.assert_allclose(found.std, expected["inception_score_std"], rtol=1e-6)


@pytest.mark.parametrize(
    ("probabilities", "words"),
    [
        (np.full((5, 4), 0.25), "needs as many pictures, got 5"),
        (np.full((20, 4), 0.3), "do not sum to one"),
        (np.full((20, 4), np.nan), "do not sum to one"),
        (np.tile([1.5, -0.5], (20, 1)), "do not sum to one"),
        (np.ones((20, 1)), "expected"),
    ],
)
def test_faults_are_named(probabilities: np.ndarray, words: str) -> None:
    with pytest.raises(GanletError, match=words):
        inception_score(probabilities)
