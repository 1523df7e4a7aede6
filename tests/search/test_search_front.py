"""Fronts against brute force, the stopping rule against plain halving, and the choice below a size."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ganlet.errors import GanletError
from ganlet.search import Candidate, choose, front_numbers, goes_on

points = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=12)


@given(points)
def test_the_first_front_is_what_nothing_beats(values: list[tuple[int, ...]]) -> None:
    expected = [
        not any(all(o <= m for o, m in zip(other, mine, strict=True)) and other != mine for other in values)
        for mine in values
    ]
    assert [number == 0 for number in front_numbers(values)] == expected


@given(points)
def test_each_later_front_is_the_first_one_of_what_is_left(values: list[tuple[int, ...]]) -> None:
    numbers = front_numbers(values)
    for number in range(max(numbers) + 1):
        left = [index for index, found in enumerate(numbers) if found >= number]
        first = [left[i] for i, found in enumerate(front_numbers([values[i] for i in left])) if found == 0]
        assert first == [index for index in left if numbers[index] == number]


@given(st.lists(st.integers(0, 99), min_size=1, max_size=20, unique=True), st.integers(2, 5))
def test_with_one_value_it_is_successive_halving(values: list[int], reduction: int) -> None:
    through = [v for v in values if goes_on((v,), [(o,) for o in values if o != v], reduction)]
    assert sorted(through) == sorted(values)[: -(-len(values) // reduction)]


def test_a_trial_on_the_front_is_never_stopped_and_the_first_neither() -> None:
    line = [(float(i), float(9 - i), 1.0) for i in range(10)]  # smaller is worse: all on the front
    assert all(goes_on(line[i], line[:i] + line[i + 1 :], 3) for i in range(10))
    assert goes_on((9.0, 9.0, 9.0), [], 3)
    assert not goes_on((9.0, 9.0, 9.0), line, 3)


TRIALS = [
    Candidate(0, 2.0, 10.0, 1.0),
    Candidate(1, 1.0, 20.0, 5.0),
    Candidate(2, 1.5, 15.0, 0.5),
    Candidate(3, 1.0, 20.0, 0.4),
]


@pytest.mark.parametrize(
    ("target_mb", "latency_ms", "number"),
    [(None, None, 0), (2.0, None, 0), (1.9, None, 2), (1.2, None, 1), (None, 0.7, 2)],
)
def test_the_best_below_a_limit(target_mb: float | None, latency_ms: float | None, number: int) -> None:
    for order in itertools.permutations(TRIALS):
        found = choose(order, target_mb, latency_ms)
        assert found is not None and found.number == number


def test_nothing_below_the_limit_is_said_with_what_there_is() -> None:
    with pytest.raises(GanletError, match=r"at most 0\.5 MB: the smallest takes 1 MB, the fastest 0\.4 ms"):
        choose(TRIALS, 0.5)
    assert choose([], 0.5) is None
