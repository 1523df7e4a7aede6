"""Kernel distance against a double loop, and its freedom from bias."""

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics import kernel, kernel_distance
from ganlet.metrics.intervals import figure, paired_figure
from ganlet.metrics.kernel import kernel_influence, kernel_subsets, subset_indices


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


def twins(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets of one distribution whose rows i have nearly all in common, as two like generators of one latent."""
    common = rng.normal(size=(n, 4))
    return common + 0.1 * rng.normal(size=(n, 4)), common + 0.1 * rng.normal(size=(n, 4))


def test_twins_of_one_distribution_are_at_zero_on_the_mean_and_their_interval_says_so() -> None:
    values, blind, held, widths = [], [], 0, []
    for seed in range(200):
        a, b = twins(np.random.default_rng(seed), 40)
        influence = kernel_influence(a, b, same_latents=True)
        paired, apart = paired_figure(*influence, seed=seed), figure(*influence, seed=seed)
        values.append(paired.value)
        blind.append(kernel_influence(a, b)[0])
        held += paired.low <= 0 <= paired.high
        widths.append((paired.high - paired.low) / (apart.high - apart.low))
    error = np.std(values) / np.sqrt(200)
    assert abs(np.mean(values)) < 4 * error
    assert np.mean(blind) < -20 * error  # with the twins in the mean: too small
    assert held >= 170
    assert np.median(widths) < 0.5


def test_a_set_and_itself_are_at_zero() -> None:
    a, _ = twins(np.random.default_rng(1), 1500)  # more than a block
    value, psi_a, psi_b = kernel_influence(a, a, same_latents=True)
    assert value == pytest.approx(0.0, abs=1e-12)
    np.testing.assert_allclose(psi_a, 0.0, atol=1e-12)
    np.testing.assert_allclose(psi_b, 0.0, atol=1e-12)


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


def test_subsets_are_mean_and_spread_of_the_subsets_own_distances() -> None:
    x, y = sets(40, 50)
    drawn = list(subset_indices(40, 50, subsets=7, size=12, seed=3))
    assert all(len(set(i)) == len(set(j)) == 12 for i, j in drawn)
    values = [naive(x[i], y[j]) for i, j in drawn]
    found = kernel_subsets(x, y, subsets=7, size=12, seed=3)
    np.testing.assert_allclose((found.mean, found.std), (np.mean(values), np.std(values)), rtol=1e-10)
    assert (found.subsets, found.size) == (7, 12)


@pytest.mark.slow
def test_subsets_are_those_of_torch_fidelity() -> None:
    torch = pytest.importorskip("torch")
    theirs = pytest.importorskip("torch_fidelity.metric_kid", reason="torch-fidelity is not installed")
    x, y = sets(300, 250, dim=24, shift=0.1)
    expected = theirs.kid_features_to_metric(
        torch.from_numpy(x), torch.from_numpy(y), kid_subsets=20, kid_subset_size=100, rng_seed=5, verbose=False
    )
    found = kernel_subsets(x, y, subsets=20, size=100, seed=5)
    np.testing.assert_allclose(found.mean, expected["kernel_inception_distance_mean"], rtol=1e-6)
    np.testing.assert_allclose(found.std, expected["kernel_inception_distance_std"], rtol=1e-6)


def test_one_subset_of_everything_is_the_whole_sample_estimate() -> None:
    x, y = sets(30, 30)
    found = kernel_subsets(x, y, subsets=1, size=30)
    assert found.mean == pytest.approx(kernel_distance(x, y), rel=1e-9) and found.std == 0.0


def test_subsets_larger_than_a_side_are_refused() -> None:
    with pytest.raises(GanletError, match="A subset has 20 pictures but the sides have 17 and 23"):
        kernel_subsets(*sets(), size=20)
    with pytest.raises(GanletError, match="0 subsets"):
        kernel_subsets(*sets(), subsets=0, size=5)
