"""Divergences against scipy's, closed forms and numerical integrals."""

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats

from ganlet.errors import GanletError
from ganlet.metrics import Moments, moments
from ganlet.metrics.divergence import gaussian_js, gaussian_kl, histogram_js, histogram_kl


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
