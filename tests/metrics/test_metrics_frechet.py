"""Frechet distance: closed forms, an independent formula, and the derivative it claims to have."""

import numpy as np
import pytest
import scipy.linalg

from ganlet.errors import GanletError
from ganlet.metrics import Moments, MomentsAccumulator, frechet_distance, moments
from ganlet.metrics.frechet import couple, frechet_influence


def gaussian(seed: int, count: int, dim: int, shift: float = 0.0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(seed + 100).standard_normal((dim, dim)) / np.sqrt(dim)
    return generator.standard_normal((count, dim)) @ mixing + shift


def textbook(a: Moments, b: Moments) -> float:
    # Heusel et al. 2017, equation 6, as printed.
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance).real
    return float(((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root))


def test_equal_covariance_is_the_squared_distance_of_the_means() -> None:
    features = gaussian(0, 200, 12)
    shift = np.linspace(-1, 1, 12)
    np.testing.assert_allclose(
        frechet_distance(moments(features), moments(features + shift)), shift @ shift, rtol=1e-10
    )


def test_scaled_covariance_has_a_closed_form() -> None:
    features = moments(gaussian(1, 200, 12))
    scaled = Moments(features.mean, 2.25 * features.covariance, features.count)
    # Commuting covariances: tr(S + 2.25 S - 2 * 1.5 S) = .25 tr S.
    np.testing.assert_allclose(frechet_distance(features, scaled), 0.25 * np.trace(features.covariance), rtol=1e-10)


@pytest.mark.parametrize("dim", [3, 20, 64])
def test_matches_the_textbook_formula(dim: int) -> None:
    a, b = moments(gaussian(2, 300, dim)), moments(gaussian(3, 200, dim, shift=0.3))
    expected = textbook(a, b)
    np.testing.assert_allclose(frechet_distance(a, b), expected, rtol=1e-8)
    np.testing.assert_allclose(frechet_distance(b, a), expected, rtol=1e-8)


@pytest.mark.parametrize(("count", "other"), [(5, 7), (10, 200), (200, 10), (2, 2)])
def test_fewer_pictures_than_features_matches_the_low_rank_formula(count: int, other: int) -> None:
    x, y = gaussian(4, count, 40), gaussian(5, other, 40, shift=0.2)
    # tr (S1 S2)^(1/2) is the nuclear norm of Xc Yc^T / sqrt((N-1)(M-1)): no covariance is formed.
    xc, yc = x - x.mean(0), y - y.mean(0)
    nuclear = np.linalg.svd(xc @ yc.T, compute_uv=False).sum() / np.sqrt((count - 1) * (other - 1))
    a, b = moments(x), moments(y)
    expected = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance) + np.trace(b.covariance) - 2 * nuclear
    np.testing.assert_allclose(frechet_distance(a, b), expected, rtol=1e-9)


@pytest.mark.parametrize("count", [3, 30, 500])
def test_equal_sets_are_at_zero(count: int) -> None:
    spectrum = np.logspace(0, -6, 60)  # ill conditioned, like real features
    a = moments((gaussian(6, count, 60) * spectrum).astype(np.float32))
    distance = frechet_distance(a, a)
    assert 0 <= distance <= 1e-6 * np.trace(a.covariance), distance


def test_collapsed_generator_and_dead_features_give_a_number() -> None:
    spread = gaussian(7, 50, 8)
    spread[:, 3] = 0.0  # a feature that never fires
    constant = np.ones((50, 8))
    a, b = moments(spread), moments(constant)
    expected = ((a.mean - 1) ** 2).sum() + np.trace(a.covariance)
    np.testing.assert_allclose(frechet_distance(a, b), expected, rtol=1e-10)
    value, psi_a, psi_b = frechet_influence(spread, constant)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    assert np.isfinite(psi_a).all() and np.isfinite(psi_b).all()


def test_accumulated_chunks_and_merged_halves_equal_numpy() -> None:
    features = gaussian(8, 101, 9) + 1e4  # a large mean: sum(x^2) - n m^2 would lose eight digits
    whole, left, right = (MomentsAccumulator(9) for _ in range(3))
    for chunk in np.array_split(features, 7):
        whole.update(chunk)
    whole.update(features[:0])
    left.update(features[:30])
    right.update(features[30:])
    left.merge(right)
    left.merge(MomentsAccumulator(9))
    for found in (whole.moments(), left.moments(), moments(features)):
        np.testing.assert_allclose(found.mean, features.mean(0), rtol=1e-14)
        np.testing.assert_allclose(found.covariance, np.cov(features, rowvar=False), rtol=1e-9, atol=1e-9)
        assert found.count == 101


def test_integer_features_are_accepted() -> None:
    features = np.random.default_rng(0).integers(0, 255, (40, 3), dtype=np.uint8)
    np.testing.assert_allclose(moments(features).covariance, np.cov(features.astype(float), rowvar=False))


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.zeros((1, 4)), "at least 2 pictures"),
        (np.zeros((0, 4)), "at least 2 pictures"),
        (np.array([[1.0, np.nan], [0.0, 0.0]]), "1 of 2 pictures are not finite"),
        (np.array([[1.0, np.inf], [np.nan, 0.0]]), "2 of 2 pictures"),
        (np.zeros((4, 2, 2)), "shape"),
        (np.array([[1e200], [-1e200]]), "overflows"),
    ],
)
def test_faulty_features_are_named(features: np.ndarray, words: str) -> None:
    with pytest.raises(GanletError, match=words):
        moments(features)


def test_different_widths_and_single_pictures_are_refused() -> None:
    with pytest.raises(GanletError, match="4 and 5 features"):
        frechet_distance(moments(gaussian(0, 9, 4)), moments(gaussian(0, 9, 5)))
    lonely = MomentsAccumulator(4)
    lonely.update(np.zeros((1, 4)))
    with pytest.raises(GanletError, match="got 1"):
        lonely.moments()


def weighted_moments(features: np.ndarray, weights: np.ndarray) -> Moments:
    mean = weights @ features
    centred = features - mean
    count = len(features)
    return Moments(mean, (centred.T * weights) @ centred * count / (count - 1), count)


@pytest.mark.parametrize(("count", "other"), [(40, 60), (6, 60), (40, 5), (5, 6)])
def test_influence_is_the_derivative_by_a_pictures_weight(count: int, other: int) -> None:
    """Also where covariances are singular (fewer pictures than the 8 features)."""
    x, y = gaussian(10, count, 8), gaussian(11, other, 8, shift=0.5)
    value, psi_x, psi_y = frechet_influence(x, y)
    np.testing.assert_allclose(value, frechet_distance(moments(x), moments(y)), rtol=1e-12)
    step = 1e-6

    def nudged(features: np.ndarray, index: int, epsilon: float) -> Moments:
        weights = np.full(len(features), (1 - epsilon) / len(features))
        weights[index] += epsilon
        return weighted_moments(features, weights)

    for index in (0, 3):
        up, down = (frechet_distance(nudged(x, index, e), moments(y)) for e in (step, -step))
        np.testing.assert_allclose(psi_x[index], (up - down) / (2 * step), rtol=1e-4, atol=1e-5)
        up, down = (frechet_distance(moments(x), nudged(y, index, e)) for e in (step, -step))
        np.testing.assert_allclose(psi_y[index], (up - down) / (2 * step), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["two", "constant", "duplicated", "one feature"])
def test_degenerate_pictures_give_finite_figures(kind: str) -> None:
    """Two pictures, one picture over and over, every picture twice, a single feature: never NaN, never imaginary."""
    a, b = gaussian(20, 40, 16), gaussian(21, 30, 16, shift=0.2)
    a, b = {
        "two": (a[:2], b[:2]),
        "constant": (np.repeat(a[:1], 40, axis=0), np.repeat(b[:1], 30, axis=0)),
        "duplicated": (np.concatenate([a, a]), np.concatenate([b[:3]] * 10)),
        "one feature": (a[:, :1], b[:, :1]),
    }[kind]
    value, psi_a, psi_b = frechet_influence(a, b)
    assert value == pytest.approx(frechet_distance(moments(a), moments(b)), rel=1e-9) and value > 0
    assert np.isfinite(psi_a).all() and np.isfinite(psi_b).all()
    if kind == "constant":
        assert value == pytest.approx(((a[0] - b[0]) ** 2).sum(), rel=1e-12)


def test_a_decomposition_that_does_not_converge_is_tried_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = gaussian(22, 60, 10), gaussian(23, 60, 10)
    expected = frechet_influence(a, b)
    plain, tried = scipy.linalg.svd, []

    def stubborn(matrix: np.ndarray, *args: object, lapack_driver: str = "gesdd", **kwargs: object) -> object:
        tried.append(lapack_driver)
        if lapack_driver == "gesdd":
            raise np.linalg.LinAlgError("SVD did not converge")
        return plain(matrix, *args, lapack_driver=lapack_driver, **kwargs)

    monkeypatch.setattr(scipy.linalg, "svd", stubborn)
    for found, wanted in zip(frechet_influence(a, b), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-8, atol=1e-10)
    assert frechet_distance(moments(a), moments(b)) == pytest.approx(expected[0], rel=1e-10)
    assert tried == ["gesdd", "gesvd"] * 2


def test_gaussian_variance_is_that_of_gaussian_influences() -> None:
    a, b = gaussian(24, 40_000, 6, shift=0.4), gaussian(25, 40_000, 6)
    coupled = couple(moments(a), moments(b))
    for side, features in ((coupled.a, a), (coupled.b, b)):
        np.testing.assert_allclose(side.gaussian_variance(), side.influence(features).var(), rtol=0.05)
    same = couple(moments(a), moments(a))
    assert same.a.gaussian_variance() == pytest.approx(0, abs=1e-9)


def test_influences_are_refused_for_other_pictures_than_those_of_the_moments() -> None:
    a, b = gaussian(26, 20, 4), gaussian(27, 30, 4)
    coupled = couple(moments(a), moments(b))
    with pytest.raises(GanletError, match="30 pictures but their moments of 20"):
        coupled.a.influence(b)
