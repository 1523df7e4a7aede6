"""Figures of timed rounds: percentiles, and ratios with an interval that assumes no distribution."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

WANTED_COVERAGE = 0.95


@dataclass(frozen=True)
class Ratio:
    """A median over rounds and the interval that holds the true median with probability `coverage`.

    Below six rounds no interval covers 95 %: then it goes from the smallest to the largest, and `coverage` says so.
    """

    value: float
    low: float
    high: float
    coverage: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.2f}x ({self.low:.2f} to {self.high:.2f})"


def percentile(latency_ms: Sequence[float], percent: float) -> float:
    """The percentile of all calls of all rounds, linear between neighbours."""
    return float(np.percentile(np.asarray(latency_ms, dtype=np.float64), percent))


def median_interval(values: Sequence[float]) -> Ratio:
    """The median of independent `values`, and an interval between two of them in order of size.

    Between the k-th smallest and the k-th largest of n lies the true median with probability 1 - 2 P(B < k), B binomial
    (n, 1/2) (David and Nagaraja 2003, "Order Statistics", section 7.1); the largest k that gives 95 % is taken.
    """
    ordered = sorted(values)
    n = len(ordered)
    outside, k = 2 / 2**n, 1
    while k < n // 2 and outside + 2 * math.comb(n, k) / 2**n <= 1 - WANTED_COVERAGE:
        outside += 2 * math.comb(n, k) / 2**n
        k += 1
    return Ratio(float(np.median(ordered)), ordered[k - 1], ordered[n - k], max(0.0, 1 - outside))


def rate_ratio(rounds: Sequence[Sequence[float]], base: Sequence[Sequence[float]]) -> Ratio:
    """How many times the pictures per second of `base`: medians of each round, compared round by round.

    Both are milliseconds a call, by round, of equal batches. What slows the machine down for a while slows both sides
    of a round, and leaves their ratio alone.
    """
    pairs = zip(rounds, base, strict=True)
    return median_interval([percentile(theirs, 50) / percentile(own, 50) for own, theirs in pairs])
