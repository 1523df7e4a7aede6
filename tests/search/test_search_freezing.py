"""The search for frozen layers on made-up distances: what is tried, what fits, which one is chosen."""

from collections.abc import Callable

import numpy as np
import pytest

from ganlet.errors import Diverged, GanletError
from ganlet.metrics import Figure
from ganlet.metrics.intervals import figure
from ganlet.search.freezing import Freezing, Rules, Tried, best_of, change_percent, choose, search_freezing

LAYERS = [0, 1, 2, 3]
NOISE = np.random.default_rng(0).normal(size=(2, 200))


def distance(value: float, spread: float = 1.0) -> Figure:
    """A figure whose pictures vary alike for every candidate, plus a part of its own that grows with `spread`."""
    own = np.random.default_rng(int(value * 1000)).normal(size=200) * spread * 10
    return figure(value, NOISE[0] + own - own.mean(), NOISE[1], seed=0)


def memory_mib(freezing: Freezing) -> float:
    return 100.0 - 3 * freezing.generator - 10 * freezing.critic


def recorded(value_of: Callable[[Freezing], float]) -> tuple[list[Freezing], Callable[[Freezing], Figure]]:
    asked: list[Freezing] = []

    def measure(freezing: Freezing) -> Figure:
        asked.append(freezing)
        return distance(value_of(freezing), 0.1)

    return asked, measure


def test_the_critic_first_then_the_generator_each_candidate_once() -> None:
    asked, measure = recorded(lambda f: 500.0 + 200 * (f.critic > 2) + 200 * (f.generator > 1))
    tried = search_freezing(LAYERS, LAYERS, memory_mib, measure, Rules(5.0))
    assert asked == [Freezing(0, 0), Freezing(0, 1), Freezing(0, 2), Freezing(0, 3)] + [
        Freezing(k, 2) for k in (1, 2, 3)
    ]
    assert [t.freezing for t in tried] == asked
    assert choose(tried, Rules(5.0)).freezing == Freezing(1, 2)


@pytest.mark.parametrize(("generators", "critics", "expected"), [([1], LAYERS, (1, 3)), (LAYERS, [0], (3, 0))])
def test_a_number_that_is_given_stays(generators: list[int], critics: list[int], expected: tuple[int, int]) -> None:
    asked, measure = recorded(lambda f: 500.0)
    tried = search_freezing(generators, critics, memory_mib, measure, Rules(5.0))
    assert len(asked) == 4 and choose(tried, Rules(5.0)).freezing == Freezing(*expected)


def test_what_does_not_fit_is_neither_run_nor_chosen() -> None:
    asked, measure = recorded(lambda f: 500.0 + 100 * (f.critic + f.generator))  # the fewer frozen, the better
    tried = search_freezing(LAYERS, LAYERS, memory_mib, measure, Rules(5.0, limit_mib=75.0))
    assert asked and all(memory_mib(f) <= 75.0 for f in asked)
    assert {t.note for t in tried if t.distance is None} == {"does not fit"}
    assert choose(tried, Rules(5.0, 75.0)).freezing == Freezing(0, 3)
    tight = search_freezing(LAYERS, LAYERS, memory_mib, measure, Rules(5.0, limit_mib=65.0))
    assert choose(tight, Rules(5.0, 65.0)).freezing == Freezing(2, 3)  # 64 MiB: no critic fits with fewer of these
    with pytest.raises(GanletError, match=r"limit of 60 MiB is below the 61 MiB .* smaller batch"):
        search_freezing(LAYERS, LAYERS, memory_mib, measure, Rules(5.0, limit_mib=60.0))


def test_the_tolerance_is_held_against_the_whole_interval() -> None:
    """7 % above the best is not measurably more than 5 % where the interval is wide, and is where it is narrow."""
    best = Tried(Freezing(0, 0), 100.0, distance(500.0, 0.1))
    wide, narrow = (Tried(Freezing(1, 0), 50.0, distance(535.0, spread)) for spread in (20.0, 0.1))
    for other, chosen in ((wide, wide), (narrow, best)):
        change = change_percent(other, best)
        assert change is not None and (change.low > 5.0) == (chosen is best)
        assert choose([best, other], Rules(5.0)) is chosen
    assert choose([best, narrow], Rules(10.0)) is narrow


def test_of_equal_memory_the_nearer_one() -> None:
    same = [Tried(Freezing(k, 0), 50.0, distance(500.0 + k, 0.1)) for k in (2, 1, 3)]
    assert choose(same, Rules(5.0)).freezing == Freezing(1, 0) == best_of(same).freezing


def test_a_candidate_that_breaks_is_noted_and_all_that_break_are_refused() -> None:
    def breaks(freezing: Freezing) -> Figure:
        if freezing.critic < 3:
            raise Diverged("Training broke at step 3.")
        return distance(500.0)

    tried = search_freezing([0], LAYERS, memory_mib, breaks, Rules(5.0))
    assert [t.note for t in tried] == ["Training broke at step 3."] * 3 + [""]
    with pytest.raises(GanletError, match=r"broke with every number of frozen layers; lower transfer\.train\.lr"):
        search_freezing([0], LAYERS[:3], memory_mib, breaks, Rules(5.0))
