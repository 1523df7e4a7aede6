"""A forecast of training memory as the report reads it: the dict of `Forecast.as_json()`, any value missing or not."""

from dataclasses import dataclass
from typing import Any

from ganlet.errors import printable
from ganlet.report.document import Json, number, table, words
from ganlet.report.wording import DASH, figure, whole

OTHER = "other"  # parts of a kind unknown here, and what the peak has beyond its parts
BETWEEN = "between"  # what runs in no phase
SERIES, FILL = ("#0b63b0", "#b3530b", "#2a7d46", "#8544a8"), "#7d8a97"  # the light colours of page.css


@dataclass(frozen=True)
class Look:
    """How a part is drawn: letter and block in the terminal, letter and colour in a picture, pale or full."""

    letter: str
    block: str
    style: str
    colour: str
    opacity: float = 1.0


LOOKS = {  # in the order in which they are stacked: what never shrinks first, what grows with the batch last
    "parameters": Look("P", "▓", "blue", SERIES[0]),
    "gradients": Look("G", "▒", "yellow", SERIES[1]),
    "optimiser state": Look("O", "░", "green", SERIES[2]),
    "average": Look("V", "▚", "bright_blue", SERIES[0], 0.4),
    "best": Look("E", "▨", "bright_green", SERIES[2], 0.4),
    "teacher": Look("T", "▞", "bright_yellow", SERIES[1], 0.4),
    "perceptual": Look("N", "▤", "bright_cyan", SERIES[3], 0.2),
    "buffers": Look("B", "▪", "white", FILL),
    "activations": Look("A", "█", "magenta", SERIES[3]),
    "workspace": Look("W", "▩", "bright_magenta", SERIES[3], 0.4),
    OTHER: Look("?", "·", "white", FILL, 0.4),
}


def parts_of(forecast: Json) -> dict[str, float]:
    """What the peak is made of in the order of LOOKS, without what is zero; what nobody named is other."""
    known = table(forecast, "parts")
    given = {kind: max(0.0, number(known, kind) or 0.0) for kind in known}
    unnamed = (number(forecast, "peak_mib") or 0.0) - sum(given.values())
    found = {kind: given.get(kind, 0.0) for kind in LOOKS}
    found[OTHER] = sum(given.values()) - sum(mib for kind, mib in found.items() if kind != OTHER)
    if unnamed > 1e-3 * sum(given.values()):
        found[OTHER] += unnamed
    return {kind: mib for kind, mib in found.items() if mib > 1e-9}


def timeline_of(forecast: Json) -> list[tuple[float, str]]:
    """(live MiB, phase) of every point that has a value."""
    given = forecast.get("timeline")
    pairs = [p for p in given if isinstance(p, list | tuple) and len(p) == 2] if isinstance(given, list | tuple) else []
    read = [(number({"mib": mib}, "mib"), printable(name) if isinstance(name, str) else "") for mib, name in pairs]
    return [(mib, name) for mib, name in read if mib is not None]


def span_of(value: Any) -> tuple[float, float] | None:
    """The interval [low, high], or None."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = (number({"bound": bound}, "bound") for bound in value)
    return None if low is None or high is None else (low, high)


def spread(value: Any) -> str:
    span = span_of(value)
    return DASH if span is None else f"{whole(span[0])} to {whole(span[1])}"


def bounded(value: Any) -> str:
    """An interval with one decimal, as one figure where both bounds are equal."""
    span = span_of(value)
    if span is None:
        return DASH
    low, high = map(in_mib, span)
    return low if low == high else f"{low} to {high}"


def in_mib(value: float | None) -> str:
    """With one decimal throughout, so that a column reads from top to bottom."""
    return "<0.1" if value is not None and 0 < value < 0.05 else DASH if value is None else f"{value:,.1f}"


def headline(forecast: Json) -> str:
    batch, peak = number(forecast, "batch"), number(forecast, "peak_mib")
    told = [printable(words(forecast, "stage")) or DASH, f"batch {figure(batch)}" if batch is not None else ""]
    return ", ".join(part for part in told if part) + (f": {in_mib(peak)} MiB" if peak is not None else "")
