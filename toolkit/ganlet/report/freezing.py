"""What the search for frozen layers came to: freezing.json as a table for the terminal and rows for the page."""

from pathlib import Path

from rich.table import Table

from ganlet.errors import GanletError
from ganlet.files import read_json
from ganlet.report.cells import cell
from ganlet.report.document import Interval, Json, interval, number, rows, table, words
from ganlet.report.wording import DASH, bounds, figure, percent

RESULT = Path("transfer") / "freezing.json"  # in the run's folder


def read_freezing(run: Path) -> Json:
    """RUN/transfer/freezing.json; empty where nothing was searched, or where it is damaged."""
    try:
        found = read_json(run / RESULT)
    except GanletError:
        return {}
    return found if isinstance(found, dict) else {}


def freezing_rows(document: Json) -> list[Json]:
    """The candidates, the least memory first, as both tables show them."""
    chosen = table(document, "chosen")
    known = sorted(rows(document, "candidates"), key=lambda row: number(row, "memory_mib") or 0.0)
    return [
        {
            "generator": figure(number(row, "generator")),
            "critic": figure(number(row, "critic")),
            "memory_mib": number(row, "memory_mib"),
            "distance": interval(row, "distance"),
            "change": interval(row, "change_percent"),
            "note": words(row, "note"),
            "is_chosen": all(number(row, key) == number(chosen, key) for key in ("generator", "critic")),
        }
        for row in known
    ]


def freezing_table(document: Json) -> Table:
    """A line a candidate, and why the chosen one is chosen."""
    samples, images = (figure(number(document, key)) for key in ("samples", "images"))
    printed = Table(title=f"Frozen layers, after {images} pictures of training", title_justify="left")
    for heading in ("Generator", "Critic", "Memory, MiB", f"Distance, {samples} samples", "Above the best, %", ""):
        printed.add_column(heading, justify="right" if heading else "left")
    for row in freezing_rows(document):
        printed.add_row(
            row["generator"],
            row["critic"],
            figure(row["memory_mib"]),
            _spread(row["distance"]),
            DASH if row["change"] is None else f"{percent(row['change'].value)} ({bounds(row['change'], True)})",
            cell(" ".join(word for word in (row["note"], "*" if row["is_chosen"] else "") if word)),
            style="bold" if row["is_chosen"] else "",
        )
    printed.caption, printed.caption_justify = cell(f"* {words(document, 'why')}"), "left"
    return printed


def _spread(known: Interval | None) -> str:
    return DASH if known is None else f"{figure(known.value)} ({bounds(known)})"
