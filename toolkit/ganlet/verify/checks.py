"""What verification found: frozen values that report.json holds."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "not_verified"]


@dataclass(frozen=True)
class Check:
    """One statement that passed, failed or could not be verified here, with the figure it rests on."""

    name: str
    status: Status
    measured: float | None
    limit: float | None
    unit: str
    reason: str


def at_most(name: str, measured: float | None, limit: float, unit: str, reason: str) -> Check:
    """Passed when `measured` <= `limit`; not verified, with `reason`, when there is no measurement."""
    if measured is None:
        return Check(name, "not_verified", None, limit, unit, reason)
    return Check(name, "passed" if measured <= limit else "failed", measured, limit, unit, reason)
