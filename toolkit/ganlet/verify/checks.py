"""What verification found: frozen values that report.json holds."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ganlet.metrics import Interval, decide, pictures_needed

Status = Literal["passed", "failed", "undecided", "not_verified"]
MOST_SAMPLES = 100_000  # that verify.samples allows
MOST_PERCENT = 1000.0  # a change beyond it is told as a multiple


@dataclass(frozen=True)
class Check:
    """One statement that passed, failed, is undecided or could not be verified here, with the figure it rests on.

    Undecided: it was measured, but the interval of the figure lies on both sides of the limit.
    """

    name: str
    status: Status
    measured: float | None
    limit: float | None
    unit: str
    reason: str
    interval: Interval | None = None
    is_least: bool = False
    """Whether the figure has to be at least the limit; at most it otherwise."""

    def as_json(self) -> dict[str, Any]:
        """The row of report.json; "low" and "high" where the figure has an interval."""
        row: dict[str, Any] = {"name": self.name, "unit": self.unit, "limit": self.limit, "measured": self.measured}
        if self.interval is not None:
            row |= {"low": self.interval.low, "high": self.interval.high}
        if self.is_least:
            row["limit_is"] = "least"
        return row | {"status": self.status, "reason": self.reason}


def at_most(name: str, measured: float | None, limit: float, unit: str, reason: str) -> Check:
    """Passed when `measured` <= `limit`; not verified, with `reason`, when there is no measurement."""
    if measured is None:
        return Check(name, "not_verified", None, limit, unit, reason)
    return Check(name, "passed" if measured <= limit else "failed", measured, limit, unit, reason)


def at_least(name: str, measured: float | None, limit: float, unit: str, reason: str) -> Check:
    """Passed when `measured` >= `limit`; None means infinite, such as the PSNR of identical pictures."""
    status: Status = "passed" if measured is None or measured >= limit else "failed"
    why = f"at least {limit:g} {unit} expected; {reason}"
    return Check(name, status, measured, limit, unit, why, is_least=True)


def change_text(percent: float) -> str:
    """A change of a distance in words: +3.2 %, or "15 times as far" from ten times on."""
    if percent >= MOST_PERCENT:
        return f"{1 + percent / 100:,.0f} times as far"
    return f"{percent:+.1f} %"


def spread_text(interval: Interval) -> str:
    """The interval of a change in words: -1.0 to +3.2 %."""
    low, high = change_text(interval.low), change_text(interval.high)
    return f"{low.removesuffix(' %') if high.endswith(' %') else low} to {high}"


def surely_at_most(name: str, interval: Interval, limit: float, samples: int, reason: str) -> Check:
    """Whether a change in percent is at most `limit`: passed or failed only where the whole interval says so.

    Else undecided, with the number of samples that would decide it if the change stayed what it is.
    """
    status = decide(interval, limit)
    if status == "undecided":
        needed = pictures_needed(interval, limit, samples)
        remedy = "no number of samples can: it lies on the limit"
        if needed is not None:
            remedy = f"use at least {needed:,} (verify.samples = {needed}, and as many held-out pictures)"
        if needed is not None and needed > MOST_SAMPLES:
            remedy = f"it would take about {needed:,}, more than a run may draw; change the limit or the student"
        told = f"{samples:,} samples cannot tell a change of {change_text(interval.value)} from the {limit:g} % allowed"
        reason = f"{told}, {remedy}; {reason}"
    return Check(name, status, interval.value, limit, "%", reason, interval)


def verdict_of(checks: Iterable[Check]) -> Literal["passed", "failed"]:
    """The one word of a report. An undecided check is no pass: what the recipe asks to be shown was not shown."""
    return "failed" if any(check.status in ("failed", "undecided") for check in checks) else "passed"
