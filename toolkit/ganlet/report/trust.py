"""Variety and memorisation of a report as rows of words, for the page."""

from dataclasses import dataclass

from ganlet.report.document import Interval, Json, interval, number, table
from ganlet.report.wording import bounds, figure, percent

INDICATORS = {
    "effective_rank": "Effective rank of features",
    "spread": "Spread of features",
    "within_share": "Part within clusters",
    "duplicate_rate": "Doubles among themselves",
    "latent_spread": "Movement per unit of latent",
    "modes_covered": "Classes covered",
}
SHARES = ("within_share", "duplicate_rate", "modes_covered")


@dataclass(frozen=True)
class VarietyRow:
    """One subject: the indicators in the order of INDICATORS, each with its interval and its change, in words."""

    subject: str
    cells: tuple[tuple[str, str, str], ...]


def variety_rows(report: Json) -> tuple[list[str], list[VarietyRow]]:
    """Headings and rows; indicators that no subject has are left out, and so are subjects without any."""
    found = table(report, "variety")
    known = [key for key in INDICATORS if any(interval(table(found, name), key) for name in found)]
    rows = [
        VarietyRow(name, tuple(_cell(table(found, name), key) for key in known))
        for name in found
        if any(interval(table(found, name), key) for key in known)
    ]
    return [INDICATORS[key] for key in known], rows


def _cell(row: Json, key: str) -> tuple[str, str, str]:
    value = interval(row, key)
    if value is None:
        return "", "", ""
    change = interval(table(row, "change_percent"), key)
    told = percent(change.value) if change else ""
    if key in SHARES:
        hundredfold = Interval(100 * value.value, *(None if b is None else 100 * b for b in (value.low, value.high)))
        return figure(hundredfold.value, "%", digits=3), bounds(_rounded(hundredfold)), told
    return figure(value.value, digits=3), bounds(_rounded(value)), told


def _rounded(value: Interval) -> Interval:
    """Three digits are what an interval needs."""
    low, high = (None if bound is None else float(f"{bound:.3g}") for bound in (value.low, value.high))
    return Interval(value.value, low, high)


def memorisation_rows(report: Json) -> list[tuple[str, str]]:
    """A sentence for each space that was searched, or why none was."""
    found = table(report, "memorisation")
    reason = found.get("reason")
    if isinstance(reason, str):
        return [("not verified", reason)]
    return [(space, told) for space in ("pixels", "features") if (told := _told(table(found, space)))]


def _told(space: Json) -> str:
    rate, searched = interval(space, "rate"), number(space, "searched")
    if rate is None or searched is None:
        return ""
    spread = bounds(Interval(0, *(None if b is None else float(f"{100 * b:.3g}") for b in (rate.low, rate.high))))
    known = f" (95 % interval {spread} %)" if spread else ""
    copies = interval(space, "copies")
    exact = f", {figure(100 * copies.value, '%', digits=3)} are exact copies" if copies else ""
    return (
        f"{figure(100 * rate.value, '%', digits=3)}{known} of the samples are as near to one of {searched:,.0f} "
        f"training pictures as the nearest 5 % of held-out pictures are{exact}."
    )
