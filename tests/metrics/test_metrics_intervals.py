"""Intervals of the linearised statistics against brute force and against known truths."""

from collections.abc import Callable

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics import Figure, frechet_distance, intervals, kernel_distance, moments, paired_change_percent
from ganlet.metrics.frechet import frechet_influence
from ganlet.metrics.intervals import figure
from ganlet.metrics.kernel import kernel_influence

DIM, COUNT = 5, 500
SCALE = np.array([1.0, 1.5, 0.5, 2.0, 1.0])
SHIFT = np.array([0.5, 0.0, -0.3, 0.8, 0.0])
TRUTH = float(SHIFT @ SHIFT + ((SCALE - 1) ** 2).sum())  # N(0, I) against N(SHIFT, diag SCALE^2)


def sets(seed: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.random.default_rng(seed).standard_normal((2, COUNT, DIM))
    return x, y * SCALE + SHIFT


def frechet(x: np.ndarray, y: np.ndarray) -> float:
    return frechet_distance(moments(x), moments(y))


def brute_force_width(statistic: Callable[[np.ndarray, np.ndarray], float], x: np.ndarray, y: np.ndarray) -> float:
    generator = np.random.default_rng(1)
    drawn = []
    for _ in range(400):
        i, j = generator.integers(0, len(x), len(x)), generator.integers(0, len(y), len(y))
        drawn.append(statistic(x[i], y[j]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(high - low)


def test_frechet_interval_is_as_wide_as_a_true_bootstrap() -> None:
    x, y = sets(0)
    linear = figure(*frechet_influence(x, y))
    assert (linear.high - linear.low) / brute_force_width(frechet, x, y) == pytest.approx(1, abs=0.2)


def test_kernel_interval_is_as_wide_as_a_true_bootstrap() -> None:
    x, y = (part[:250] for part in sets(0))
    linear = figure(*kernel_influence(x, y))
    assert (linear.high - linear.low) / brute_force_width(kernel_distance, x, y) == pytest.approx(1, abs=0.2)


def test_frechet_interval_covers_the_truth() -> None:
    found = [figure(*frechet_influence(*sets(seed))) for seed in range(40)]
    covered = sum(f.low <= TRUTH <= f.high for f in found)
    assert covered >= 34, f"a 95 % interval covered the truth in {covered} of 40 samples"


def test_paired_change_is_narrower_and_covers_the_truth() -> None:
    """A 'student' that is its teacher's picture moved by 0.2 in each feature, on the same latents."""
    truth = 100 * (((SHIFT - 0.2) @ (SHIFT - 0.2) + ((SCALE - 1) ** 2).sum()) / TRUTH - 1)
    covered, narrower = 0, 0
    for seed in range(40):
        x, y = sets(seed)
        teacher, student = figure(*frechet_influence(x, y)), figure(*frechet_influence(x + 0.2, y))
        paired = paired_change_percent(student, teacher)
        covered += paired.low <= truth <= paired.high
        separate = 100 * (student.high / teacher.low - student.low / teacher.high)
        narrower += paired.high - paired.low < 0.5 * separate
    assert covered >= 34 and narrower == 40, (covered, narrower)


def test_unpaired_latents_are_wider_than_paired_ones() -> None:
    x, y = sets(3)
    teacher, student = figure(*frechet_influence(x, y)), figure(*frechet_influence(x + 0.2, y))
    order = np.random.default_rng(0).permutation(COUNT)
    shuffled = Figure(student.value, student.low, student.high, student.a_influence[order], student.b_influence)
    paired, unpaired = paired_change_percent(student, teacher), paired_change_percent(shuffled, teacher)
    assert paired.value == unpaired.value
    assert paired.high - paired.low < unpaired.high - unpaired.low


def test_a_figure_against_itself_does_not_change() -> None:
    teacher = figure(*frechet_influence(*sets(0)))
    same = paired_change_percent(teacher, teacher)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_equal_seeds_agree_bit_by_bit_for_any_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    found = frechet_influence(*sets(0))
    first, again, other = figure(*found, seed=7), figure(*found, seed=7), figure(*found, seed=8)
    assert first.interval == again.interval
    assert first.interval != other.interval
    monkeypatch.setattr(intervals, "INDICES_AT_ONCE", 1)
    assert figure(*found, seed=7).interval == first.interval


def test_interval_is_cut_at_the_least_possible_value() -> None:
    noise = np.random.default_rng(0).standard_normal(20)
    cut = figure(0.1, noise - noise.mean(), np.zeros(5), least=0.0)
    assert cut.low == 0.0 and cut.high > 0.1


def test_a_change_of_unpaired_sets_or_from_zero_is_refused() -> None:
    zeros = np.zeros(4)
    one = figure(1.0, zeros, zeros)
    with pytest.raises(GanletError, match="5 and 4 pictures"):
        paired_change_percent(figure(1.0, np.zeros(5), zeros), one)
    with pytest.raises(GanletError, match="5 and 4 pictures"):
        paired_change_percent(figure(1.0, zeros, np.zeros(5)), one)
    with pytest.raises(GanletError, match="too close to zero"):
        paired_change_percent(one, figure(0.0, zeros, zeros))
    with pytest.raises(GanletError, match="too close to zero"):
        paired_change_percent(one, figure(0.1, np.array([-3.0, -1.0, 1.0, 3.0]), zeros))
