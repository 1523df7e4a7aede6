"""Divergences against scipy's, closed forms and numerical integrals."""

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats

from ganlet.errors import GanletError
from ganlet.metrics import Moments, moments
from ganlet.metrics.divergence import (
    bins_of,
    gaussian_js,
    gaussian_kl,
    gaussian_kl_of_chance,
    histogram_js,
    histogram_js_influence,
    histogram_kl,
    histogram_kl_influence,
)


def gaussian(mean: list[float], covariance: list[list[float]]) -> Moments:
    return Moments(np.array(mean), np.array(covariance), 1000)


NARROW, WIDE = gaussian([0.0], [[1.0]]), gaussian([1.0], [[4.0]])


def test_histograms_are_those_of_scipy() -> None:
    p, q = np.random.default_rng(0).integers(1, 50, (2, 12))
    np.testing.assert_allclose(histogram_kl(p, q), scipy.stats.entropy(p, q), rtol=1e-12)
    np.testing.assert_allclose(histogram_js(p, q), scipy.spatial.distance.jensenshannon(p, q) ** 2, rtol=1e-10)
    np.testing.assert_allclose(histogram_js(p, q), histogram_js(q * 7, p), rtol=1e-12)


def test_empty_bins_and_disjoint_histograms() -> None:
    p, q = np.array([1, 1, 0]), np.array([0, 0, 2])
    assert histogram_kl(p, q) == np.inf and histogram_kl(p, p) == 0.0 and histogram_js(p, p) == 0.0
    np.testing.assert_allclose(histogram_js(p, q), np.log(2))
    np.testing.assert_allclose(histogram_kl(np.array([1, 0]), np.array([1, 1])), np.log(2))


def test_pictures_are_counted_by_the_clusters_of_the_data() -> None:
    corners = np.eye(4)[np.repeat(np.arange(4), 20)] * 10 + np.random.default_rng(0).standard_normal((80, 4)) * 0.1
    some = corners[[*range(30), *range(20, 50)]]  # 20 + 10 + 20 + 10 of the four, and 10 of the second again
    of_some, of_data = bins_of(some, corners)
    assert np.bincount(of_data).tolist() == [20] * 4
    expected = np.bincount(np.argmax(some, axis=1))
    assert sorted(np.bincount(of_some, minlength=4)) == sorted([*expected, *[0] * (4 - len(expected))])
    same, twins = bins_of(np.ones((5, 3)), np.ones((50, 3)))  # one cluster is left of two that are the same
    assert same.tolist() == [0] * 5 and twins.tolist() == [0] * 50
    with pytest.raises(GanletError, match="2 and 3 features"):
        bins_of(np.ones((5, 2)), np.ones((50, 3)))


@pytest.mark.parametrize("influence", [histogram_kl_influence, histogram_js_influence])
def test_influence_on_a_histogram_is_the_derivative_by_a_picture_s_weight(influence) -> None:  # type: ignore[no-untyped-def]
    a, b = np.array([0, 0, 0, 1, 1, 3, 3, 3]), np.array([0, 0, 1, 1, 1, 2, 2, 3, 3, 3])  # a has none in bin 2
    value, of_a, of_b = influence(a, b)
    of = histogram_kl if influence is histogram_kl_influence else histogram_js
    assert value == pytest.approx(of(np.bincount(a, minlength=4), np.bincount(b)), rel=1e-12)
    assert of_a.mean() == pytest.approx(0, abs=1e-12) and of_b.mean() == pytest.approx(0, abs=1e-12)
    for index in (0, 3, 7):  # a picture twice in 1,000 copies of the set
        heavier = influence(np.append(np.tile(a, 1000), a[index]), np.tile(b, 1000))[0]
        assert (heavier - value) * 8001 == pytest.approx(of_a[index], rel=0.02, abs=2e-3)
        heavier = influence(np.tile(a, 1000), np.append(np.tile(b, 1000), b[index]))[0]
        assert (heavier - value) * 10001 == pytest.approx(of_b[index], rel=0.02, abs=2e-3)


def test_kl_of_chance_is_its_mean_over_samples_of_one_gaussian() -> None:
    random = np.random.default_rng(0)
    found = [
        gaussian_kl(moments(random.standard_normal((15, 3))), moments(random.standard_normal((25, 3))))
        for _ in range(3000)
    ]
    error = np.std(found) / np.sqrt(len(found))
    assert abs(gaussian_kl_of_chance(3, 15, 25) - np.mean(found)) < 4 * error < 0.1 * np.mean(found)
    assert gaussian_kl_of_chance(3, 15, 5) == np.inf


def test_gaussian_kl_is_the_integral() -> None:
    x = np.linspace(-12, 12, 200_001)
    p, q = scipy.stats.norm(0, 1).pdf(x), scipy.stats.norm(1, 2).pdf(x)
    integral = np.trapezoid(p * np.log(p / q), x)
    np.testing.assert_allclose(gaussian_kl(NARROW, WIDE), integral, rtol=1e-6)
    assert gaussian_kl(NARROW, NARROW) == 0.0


def test_gaussian_kl_adds_over_independent_features_and_ignores_a_common_rotation() -> None:
    a, b = gaussian([0, 0], [[1, 0], [0, 1]]), gaussian([1, 1], [[4, 0], [0, 4]])
    np.testing.assert_allclose(gaussian_kl(a, b), 2 * gaussian_kl(NARROW, WIDE), rtol=1e-12)
    generator = np.random.default_rng(0)
    x, y = generator.standard_normal((50, 3)), generator.standard_normal((60, 3)) @ np.diag([1, 2, 3]) + 0.3
    turned = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    np.testing.assert_allclose(
        gaussian_kl(moments(x @ turned), moments(y @ turned)), gaussian_kl(moments(x), moments(y)), rtol=1e-9
    )


def test_gaussian_js_is_the_integral_within_its_error() -> None:
    x = np.linspace(-20, 20, 200_001)
    p, q = scipy.stats.norm(0, 1).pdf(x), scipy.stats.norm(1, 2).pdf(x)
    m = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        integral = np.trapezoid(np.nan_to_num(p * np.log(p / m)) + np.nan_to_num(q * np.log(q / m)), x) / 2
    found = gaussian_js(NARROW, WIDE)
    assert abs(found.value - integral) < 4 * found.error and found.error < 0.01 * integral + 0.003
    assert gaussian_js(NARROW, WIDE) == found and gaussian_js(NARROW, NARROW).value == 0.0
    far = gaussian_js(NARROW, gaussian([1e3], [[1.0]]))
    np.testing.assert_allclose(far.value, np.log(2), rtol=1e-9)


def test_faults_are_named() -> None:
    with pytest.raises(GanletError, match="3 and 2 bins"):
        histogram_kl(np.ones(3), np.ones(2))
    for bad in (np.zeros(3), np.array([-1.0, 2.0]), np.ones((2, 2)), np.array([np.nan, 1.0])):
        with pytest.raises(GanletError, match="is no distribution"):
            histogram_js(bad, np.ones(2))
    few = moments(np.random.default_rng(0).standard_normal((3, 5)))
    with pytest.raises(GanletError, match="covariance of 3 pictures in 5 features is not of full rank"):
        gaussian_kl(few, few)
    with pytest.raises(GanletError, match="1 draws"):
        gaussian_js(NARROW, WIDE, draws=1)
    with pytest.raises(GanletError, match="1 and 2 features"):
        gaussian_kl(NARROW, gaussian([0, 0], [[1, 0], [0, 1]]))
