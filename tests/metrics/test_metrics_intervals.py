"""Intervals of the linearised statistics against brute force and against known truths."""

from collections.abc import Callable

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics import (
    Figure,
    Interval,
    decide,
    frechet_distance,
    intervals,
    kernel_distance,
    moments,
    paired_change_percent,
    pictures_needed,
    proportion,
)
from ganlet.metrics.frechet import frechet_influence
from ganlet.metrics.intervals import figure, mean_figure, paired_figure
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


def test_sets_of_the_same_latents_are_resampled_as_pairs() -> None:
    """A student that draws nearly what its teacher does: as wide as the bootstrap of pairs."""
    x, noise = np.random.default_rng(3).standard_normal((2, COUNT, DIM))
    y = 1.2 * x + 0.3 * noise
    generator, drawn = np.random.default_rng(1), []
    for _ in range(400):
        picks = generator.integers(0, COUNT, COUNT)
        drawn.append(frechet(x[picks], y[picks]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    paired, separate = paired_figure(*frechet_influence(x, y)), figure(*frechet_influence(x, y))
    assert (paired.high - paired.low) / (high - low) == pytest.approx(1, abs=0.2)
    assert paired.high - paired.low < 0.6 * (separate.high - separate.low) and paired.value == separate.value


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


def test_intervals_cover_as_often_as_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """200 simulations of a 95 % interval: of the distance, of the change on paired latents, of a mean and a share."""
    monkeypatch.setattr(intervals, "RESAMPLES", 200)
    change = 100 * (((SHIFT - 0.2) @ (SHIFT - 0.2) + ((SCALE - 1) ** 2).sum()) / TRUTH - 1)
    covered = dict.fromkeys(("distance", "change", "mean", "share"), 0)
    for seed in range(200):
        x, y = sets(seed)
        teacher, student = (figure(*frechet_influence(part, y), seed=seed) for part in (x, x + 0.2))
        paired = paired_change_percent(student, teacher, seed)
        mean = mean_figure(np.random.default_rng(seed).exponential(size=200), seed)
        share = proportion(int(np.random.default_rng(seed).binomial(300, 0.04)), 300)
        covered["distance"] += teacher.low <= TRUTH <= teacher.high
        covered["change"] += paired.low <= change <= paired.high
        covered["mean"] += mean.low <= 1 <= mean.high
        covered["share"] += share.low <= 0.04 <= share.high
    assert all(180 <= count <= 198 for count in covered.values()), covered


def test_a_share_is_between_its_exact_bounds() -> None:
    from scipy.stats import binomtest

    for hits, count in ((0, 20), (1, 50), (25, 50), (400, 400)):
        wilson = binomtest(hits, count).proportion_ci(0.95, method="wilson")
        found = proportion(hits, count)
        assert (found.value, found.low, found.high) == pytest.approx((hits / count, wilson.low, wilson.high), abs=1e-6)
        assert found.low <= found.value <= found.high
    for hits, count in ((1, 0), (3, 2), (-1, 4)):
        with pytest.raises(GanletError, match=f"{hits} of {count} for a share"):
            proportion(hits, count)


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [(-3.1, 1.1, "passed"), (10.7, 15.0, "passed"), (10.7, 15.01, "undecided"), (15.0, 20.0, "undecided"),
     (15.01, 20.0, "failed")],
)  # fmt: skip
def test_a_decision_is_about_the_whole_interval(low: float, high: float, decision: str) -> None:
    assert decide(Interval((low + high) / 2, low, high), 15.0) == decision


def test_the_pictures_that_are_needed_decide() -> None:
    """The interval of the mean of N numbers shrinks as 1 / sqrt(N): with M of them it just leaves the limit alone."""
    assert pictures_needed(Interval(10.0, 0.0, 20.0), 15.0, 500) == 2000  # half of 10 to half of 5: four times as many
    assert pictures_needed(Interval(20.0, 10.0, 40.0), 15.0, 500) == 2000  # the half that faces the limit counts
    assert pictures_needed(Interval(14.0, 9.0, 17.1), 15.0, 500) == 4900  # 4,805, rounded up to two digits
    assert pictures_needed(Interval(15.0, 9.0, 17.0), 15.0, 500) is None
    numbers = np.random.default_rng(0).normal(0.0, 60.0, 400)
    few = mean_figure(numbers - numbers.mean() + 11.0)
    assert decide(few.interval, 15.0) == "undecided"
    needed = pictures_needed(few.interval, 15.0, 400)
    assert needed is not None
    gap, half = 15.0 - few.value, few.high - few.value
    many = mean_figure(np.random.default_rng(1).normal(few.value, 60.0, needed))
    assert (many.high - many.low) / 2 == pytest.approx(gap, rel=0.1) and half > gap
