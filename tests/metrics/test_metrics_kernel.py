"""Kernel distance against a double loop, and its freedom from bias."""

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics import kernel, kernel_distance
from ganlet.metrics.kernel import kernel_influence


def naive(x: np.ndarray, y: np.ndarray) -> float:
    def k(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    n, m = len(x), len(y)
    same_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    same_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    cross = sum(k(a, b) for a in x for b in y) / (n * m)
    return same_x + same_y - 2 * cross


def sets(n: int = 17, m: int = 23, dim: int = 5, shift: float = 0.4) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    return generator.standard_normal((n, dim)), generator.standard_normal((m, dim)) + shift


@pytest.mark.parametrize("block", [4, 1024])
def test_matches_a_double_loop_for_any_block(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "BLOCK", block)
    x, y = sets()
    np.testing.assert_allclose(kernel_distance(x, y), naive(x, y), rtol=1e-10)
    np.testing.assert_allclose(kernel_distance(y, x), naive(x, y), rtol=1e-10)


def test_has_no_bias_for_equal_distributions() -> None:
    values = [kernel_distance(*np.random.default_rng(seed).standard_normal((2, 50, 6))) for seed in range(200)]
    error = np.std(values) / np.sqrt(len(values))
    assert min(values) < 0, "an unbiased estimate of zero falls on both sides of it"
    assert abs(np.mean(values)) < 3 * error, (np.mean(values), error)


def test_influence_follows_the_removal_of_a_picture() -> None:
    x, y = sets(200, 200)
    value, psi_x, psi_y = kernel_influence(x, y)
    # Leaving picture i out changes a mean of influences by -psi_i / (n - 1).
    left_out_x = [kernel_distance(np.delete(x, i, 0), y) - value for i in range(20)]
    left_out_y = [kernel_distance(x, np.delete(y, i, 0)) - value for i in range(20)]
    np.testing.assert_allclose(left_out_x, -psi_x[:20] / 199, rtol=0.05, atol=2e-4 * abs(value))
    np.testing.assert_allclose(left_out_y, -psi_y[:20] / 199, rtol=0.05, atol=2e-4 * abs(value))


def test_faults_are_named() -> None:
    with pytest.raises(GanletError, match="at least 2"):
        kernel_distance(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(GanletError, match="3 and 2 features"):
        kernel_distance(np.zeros((4, 3)), np.zeros((4, 2)))
    with pytest.raises(GanletError, match="not finite"):
        kernel_distance(np.full((4, 3), np.nan), np.zeros((4, 3)))
