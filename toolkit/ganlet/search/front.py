"""Who beats whom when there are several things to be small: fronts, which trial goes on, which one is chosen."""

from collections.abc import Sequence
from dataclasses import dataclass

from ganlet.errors import GanletError

Values = tuple[float, ...]
"""What is to be small, such as (model MB, distance, latency ms)."""


@dataclass(frozen=True)
class Candidate:
    """A finished trial, by its number."""

    number: int
    model_mb: float
    distance: float
    latency_ms: float

    @property
    def values(self) -> Values:
        return self.model_mb, self.distance, self.latency_ms


def beats(one: Values, other: Values) -> bool:
    """Pareto dominance: nowhere larger, and somewhere smaller."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def front_numbers(points: Sequence[Values]) -> list[int]:
    """Non-dominated sorting (Deb et al. 2002, III A): 0 for what nothing beats, 1 for what only those do, ..."""
    numbers = [-1] * len(points)
    left, number = set(range(len(points))), 0
    while left:
        front = {i for i in left if not any(beats(points[j], points[i]) for j in left)}
        for index in front:
            numbers[index] = number
        left -= front
        number += 1
    return numbers


def goes_on(mine: Values, others: Sequence[Values], reduction: int) -> bool:
    """Whether a trial is worth a longer run, among those that were measured after as long a one.

    Asynchronous successive halving (Li et al. 2020, ASHA, in its stopping form) goes on with the best 1/reduction by
    rank; here the rank is the number of trials on better fronts, since several values have no order. With one value it
    is the same. A trial that nothing beats is never stopped.
    """
    numbers = front_numbers([mine, *others])
    ahead = sum(number < numbers[0] for number in numbers)
    return ahead * reduction < len(numbers)


def choose(
    candidates: Sequence[Candidate], target_mb: float | None, latency_ms: float | None = None
) -> Candidate | None:
    """The least distance among those of at most `target_mb` and `latency_ms`; None where there are no candidates.

    Raises GanletError where there are some but none is small and fast enough.
    """
    fitting = [
        c
        for c in candidates
        if (target_mb is None or c.model_mb <= target_mb) and (latency_ms is None or c.latency_ms <= latency_ms)
    ]
    if candidates and not fitting:
        limits = [f"{target_mb:g} MB"] * (target_mb is not None) + [f"{latency_ms} ms"] * (latency_ms is not None)
        least_mb, least_ms = min(c.model_mb for c in candidates), min(c.latency_ms for c in candidates)
        raise GanletError(
            f"No trial that ran to its end is at most {' and '.join(limits)}: the smallest takes {least_mb:.3g} MB, "
            f"the fastest {least_ms:.3g} ms; lower the first value of search.widths, or raise the limit."
        )
    return min(fitting, key=lambda c: (c.distance, c.model_mb, c.number), default=None)
