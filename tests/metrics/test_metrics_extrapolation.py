"""Extrapolation to infinitely many pictures, where the true distance is known."""

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics import Moments, frechet_distance, moments
from ganlet.metrics.extrapolation import frechet_extrapolated

DIM = 12
TRUTH = DIM * 0.25  # N(0, I) against N(0, 2.25 I): tr(I + 2.25 I - 2 * 1.5 I)
EXACT = Moments(np.zeros(DIM), 2.25 * np.eye(DIM), 10**9)


def draw(seed: int, count: int, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIM)) * scale


def test_the_bias_of_a_generator_against_a_known_reference_is_removed() -> None:
    plain, extrapolated = [], []
    for seed in range(12):
        a = draw(seed, 300)
        plain.append(frechet_distance(moments(a), EXACT))
        extrapolated.append(frechet_extrapolated(a, EXACT, seed=seed).value)
    error = np.std(extrapolated) / np.sqrt(len(extrapolated))
    assert np.mean(plain) - TRUTH > 3 * np.std(plain) / np.sqrt(len(plain)), "there must be a bias to remove"
    assert abs(np.mean(extrapolated) - TRUTH) < 3 * error, (np.mean(extrapolated), TRUTH, error)


def test_the_bias_of_both_sides_is_removed_for_equal_distributions() -> None:
    pairs = [(draw(2 * seed, 300), draw(2 * seed + 1, 400)) for seed in range(12)]
    plain = np.mean([frechet_distance(moments(a), moments(b)) for a, b in pairs])
    extrapolated = np.mean([frechet_extrapolated(a, b).value for a, b in pairs])
    assert abs(extrapolated) < 0.25 * plain, (extrapolated, plain)


def test_points_lie_on_the_line_they_were_laid_through() -> None:
    seen: list[tuple[int, int]] = []
    found = frechet_extrapolated(draw(0, 2000), EXACT, points=6, progress=lambda *now: seen.append(now))
    assert found.counts[-1] == 2000 and len(found.counts) == len(found.distances) == 6 and seen[-1] == (6, 6)
    slope, value = np.polyfit(1 / np.array(found.counts), found.distances, 1)
    np.testing.assert_allclose((found.value, found.slope), (value, slope), rtol=1e-6)
    assert found.slope > 0 and found.error > 0
    assert frechet_extrapolated(draw(0, 2000), EXACT, points=6) == found


def test_faults_are_named() -> None:
    with pytest.raises(GanletError, match="2 points"):
        frechet_extrapolated(draw(0, 50), EXACT, points=2)
    with pytest.raises(GanletError, match="at least 10 pictures"):
        frechet_extrapolated(draw(0, 9), EXACT)
    with pytest.raises(GanletError, match="at least 10 pictures"):
        frechet_extrapolated(draw(0, 50), draw(1, 5))
