"""Indicators of collapse on sets whose collapse is known, and their intervals in simulation."""

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics import paired_change_percent
from ganlet.metrics.collapse import (
    cluster_centres,
    duplicate_rate,
    effective_rank,
    latent_spread,
    modes_covered,
    near_distance,
    total_spread,
    within_share,
)


def with_spectrum(eigenvalues: list[float], count: int = 60, dim: int = 9) -> np.ndarray:
    """Features (count, dim) whose covariance has exactly these eigenvalues."""
    random = np.random.default_rng(0)
    flat = random.standard_normal((count, len(eigenvalues)))
    flat -= flat.mean(axis=0)
    flat, _ = np.linalg.qr(flat)  # orthonormal columns of mean zero
    turned, _ = np.linalg.qr(random.standard_normal((dim, dim)))
    return (flat * np.sqrt(np.array(eigenvalues) * count)) @ turned[: len(eigenvalues)] + 5.0


@pytest.mark.parametrize(
    ("eigenvalues", "rank"),
    [
        ([1.0] * 7, 7.0),
        ([4.0], 1.0),
        ([2.0, 2.0, 0.0], 2.0),
        ([0.5, 0.25, 0.25], 2**1.5),
        ([0.9, 0.1], 0.9**-0.9 * 0.1**-0.1),
    ],
)
@pytest.mark.parametrize("count", [60, 9])  # more pictures than features, and as many
def test_effective_rank_of_a_known_spectrum(eigenvalues: list[float], rank: float, count: int) -> None:
    assert effective_rank(with_spectrum(eigenvalues, count)).value == pytest.approx(rank, rel=1e-5)


def test_a_single_point_has_rank_one_even_with_rounding() -> None:
    point = np.random.default_rng(0).standard_normal(50) * 3
    assert effective_rank(np.tile(point, (30, 1))).value == 1.0
    shaken = np.tile(point, (30, 1)) * (1 + 1e-7 * np.random.default_rng(1).standard_normal((30, 50)))
    assert effective_rank(shaken).value == 1.0
    assert within_share(shaken, np.zeros((2, 50))).value == 0.0


@pytest.mark.parametrize(
    "statistic", [effective_rank, lambda x: within_share(x, np.array([[2.0, 0, 0], [-2.0, 0, 0]]))]
)
def test_influence_is_the_derivative_by_a_picture_s_weight(statistic) -> None:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(2)
    rows = random.standard_normal((40, 3)) * [3.0, 1.0, 0.5]
    found = statistic(rows)
    for index in (0, 7, 21):  # a picture twice in 40 copies of the set weighs 1/1600 more
        heavier = statistic(np.vstack([np.tile(rows, (40, 1)), rows[index : index + 1]]))
        assert (heavier.value - found.value) * 1601 == pytest.approx(found.a_influence[index], rel=0.02, abs=2e-3)


def test_the_interval_of_effective_rank_covers_it_as_often_as_it_says() -> None:
    scale = np.array([2.0, 1.5, 1.0, 0.5])
    p = scale**2 / (scale**2).sum()
    truth = float(np.exp(-(p * np.log(p)).sum()))
    covered = 0
    for seed in range(200):
        found = effective_rank(np.random.default_rng(seed).standard_normal((400, 4)) * scale, seed)
        covered += found.low <= truth <= found.high
    assert 180 <= covered <= 198, f"a 95 % interval covered the truth in {covered} of 200 simulations"


def test_a_student_that_loses_directions_is_told_from_its_teacher() -> None:
    teacher = np.random.default_rng(0).standard_normal((500, 20))
    student = teacher * np.where(np.arange(20) < 10, 1.0, 0.1)
    change = paired_change_percent(effective_rank(student), effective_rank(teacher))
    assert change.high < -40
    same = paired_change_percent(effective_rank(teacher), effective_rank(teacher * 3))
    assert same.value == pytest.approx(0, abs=1e-9) and same.high == pytest.approx(0, abs=1e-9)


def test_pictures_that_move_together_have_less_spread_but_the_same_rank() -> None:
    rows = np.random.default_rng(0).standard_normal((300, 6)) * np.arange(1, 7)
    whole, shrunk = total_spread(rows), total_spread(rows * 0.5 + 3)
    assert whole.value == pytest.approx(np.trace(np.cov(rows.T, bias=True)), rel=1e-12)
    assert whole.low < 91 < whole.high  # 1 + 4 + ... + 36
    assert paired_change_percent(shrunk, whole).value == pytest.approx(-75, abs=1e-9)
    assert effective_rank(rows * 0.5).value == pytest.approx(effective_rank(rows).value, rel=1e-12)
    assert total_spread(np.ones((4, 3))).value == 0.0


def blobs(spread: float, count: int = 50, clusters: int = 6) -> tuple[np.ndarray, np.ndarray]:
    owner = np.repeat(np.arange(clusters), count)
    return np.eye(clusters)[owner] * 10 + spread * np.random.default_rng(1).standard_normal(
        (len(owner), clusters)
    ), owner


def test_clusters_are_found_and_shrink_to_points() -> None:
    rows, owner = blobs(0.5)
    centres = cluster_centres(rows, 6)
    found = np.array([rows[owner == index].mean(axis=0) for index in range(6)])
    assert sorted(map(tuple, centres.round(6))) == sorted(map(tuple, found.round(6)))
    # Within: 6 x 0.25; between, for 6 corners at 10 e_i: 100 x 5/6. The sample comes near both.
    share = within_share(rows, centres).value
    assert share == pytest.approx(1.5 / (1.5 + 500 / 6), rel=0.1)
    shrunk, _ = blobs(0.05)
    assert within_share(shrunk, centres).value == pytest.approx(share / 100, rel=0.1)
    only = np.tile(rows[:1], (20, 1))
    assert within_share(only, centres).value == 0.0


def test_clusters_are_the_same_for_the_same_seed_and_there_are_enough_of_few_pictures() -> None:
    rows = np.random.default_rng(0).standard_normal((300, 5)).astype(np.float32)
    np.testing.assert_array_equal(cluster_centres(rows, 8, 2**40), cluster_centres(rows, 8, 2**40))
    assert (cluster_centres(rows, 8, 1) != cluster_centres(rows, 8, 2)).any()
    assert cluster_centres(np.ones((12, 5), np.float32), 10).tolist() == [[1.0] * 5] * 10  # without a warning


def test_duplicate_rate_of_constructed_sets() -> None:
    random = np.random.default_rng(0)
    data = random.standard_normal((400, 8))
    near = near_distance(data)
    assert duplicate_rate(data, near).value == pytest.approx(0.01, abs=0.003)
    fresh = random.standard_normal((400, 8))
    fresh[300:] = fresh[:100] + 1e-9  # 100 pairs
    rate = duplicate_rate(fresh, near)
    assert rate.low < 0.5 < rate.high and rate.value == pytest.approx(0.5, abs=0.02)
    assert duplicate_rate(np.tile(data[:1], (30, 1)), near).value == 1.0


def test_modes_of_embedded_digits_are_counted() -> None:
    from ganlet.data import load_pictures

    digits = load_pictures("digits", size=16, channels=1)
    rows = digits.pictures.reshape(len(digits), -1).astype(np.float32) / 255
    assert digits.labels is not None
    order = np.random.default_rng(0).permutation(len(rows))
    labelled, labels, rest = rows[order[:1500]], digits.labels[order[:1500]], order[1500:3000]
    whole = modes_covered(rows[rest], labelled, labels)
    assert (whole.value, whole.low, whole.high) == (1.0, 1.0, 1.0)
    some = rest[np.isin(digits.labels[rest], [0, 1, 6])]  # told apart by the nearest neighbour almost always
    assert modes_covered(rows[some], labelled, labels).value == pytest.approx(0.3, abs=1e-9)


def test_spread_per_latent_of_a_linear_generator() -> None:
    matrix = np.diag([3.0, 4.0]).astype(np.float32)
    z = np.random.default_rng(0).standard_normal((4000, 2)).astype(np.float32)
    found = latent_spread(lambda latent: latent @ matrix, z)
    angle = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    expected = np.sqrt((9 * np.cos(angle) ** 2 + 16 * np.sin(angle) ** 2) / 2).mean()
    assert found.low < expected < found.high and found.value == pytest.approx(expected, rel=0.01)
    assert latent_spread(lambda latent: np.ones((len(latent), 3, 2, 2), np.float32), z[:10]).value == 0.0
    with pytest.raises(GanletError, match="not finite"):
        latent_spread(lambda latent: np.full_like(latent, np.inf), z[:10])


def test_what_cannot_be_judged_is_refused() -> None:
    rows = np.random.default_rng(0).standard_normal((5, 3))
    with pytest.raises(GanletError, match="at least 2 pictures"):
        effective_rank(rows[:1])
    with pytest.raises(GanletError, match="at least 10 pictures"):
        cluster_centres(rows, 10)
    with pytest.raises(GanletError, match="4 labels for 5 pictures"):
        modes_covered(rows, rows, np.zeros(4, dtype=np.int64))
    with pytest.raises(GanletError, match="3 and 2 features"):
        within_share(rows, np.zeros((2, 2)))
