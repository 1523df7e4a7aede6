"""A forecast of training memory as people read it.

Everything takes the plain dicts of `Forecast.as_json()`; a value that is missing there is a dash here. What was assumed
stands on lines of its own and never inside a sum that was traced.
"""

from collections.abc import Sequence

from rich import box
from rich.columns import Columns
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ganlet.errors import printable
from ganlet.report.cells import cell
from ganlet.report.document import Json, number, table, words
from ganlet.report.forecasts import LOOKS, bounded, headline, in_mib, parts_of, span_of, spread
from ganlet.report.wording import DASH, figure, whole

FITS, MAY_NOT, DOES_NOT, UNKNOWN = "✓ fits", "? may not fit", "✗ does not fit", f"{DASH} not known"
STYLES = {FITS: "green", MAY_NOT: "yellow", DOES_NOT: "bold red", UNKNOWN: ""}


def forecast_table(forecasts: list[Json], limit_mib: float | None = None, device: str = "") -> Table:
    """A column per stage: what the peak is made of, what is reserved, then what is only assumed, then the verdict."""
    printed = _table("Forecast of training memory" + (f" on {device}" if device else "") + ", MiB")
    printed.add_column("", no_wrap=True)
    for forecast in forecasts:
        stage, batch = words(forecast, "stage") or DASH, figure(number(forecast, "batch"))
        printed.add_column(cell(f"{printable(stage)}\nbatch {batch}", keep_layout=True), justify="right")

    def line(name: str, cells: Sequence[str | Text] = (), style: str = "", ends: bool = False) -> None:
        printed.add_row(
            cell(name),
            *(cell(c, keep_layout=True) if isinstance(c, str) else c for c in cells),
            style=style,
            end_section=ends,
        )

    def values(key: str) -> list[str]:
        return [in_mib(number(forecast, key)) for forecast in forecasts]

    def spreads(key: str) -> list[str]:
        return [spread(forecast.get(key)) for forecast in forecasts]

    parts = [parts_of(forecast) for forecast in forecasts]
    kinds = [kind for kind in LOOKS if any(kind in found for found in parts)]
    for kind in kinds:
        line(kind.capitalize(), [in_mib(found.get(kind)) for found in parts], ends=kind == kinds[-1])
    line("Peak of live tensors", values("peak_mib"), "bold")
    line("  reached in", [words(forecast, "peak_phase").replace(" ", "\n", 1) or DASH for forecast in forecasts])
    if any(words(forecast, "place") != "cpu" for forecast in forecasts):
        line("Reserved by the allocator", values("reserved_mib"), ends=True)
        line("Assumed, not measured:")
        line("  CUDA context", spreads("context_mib"))
        line("  convolution workspace", spreads("workspace_mib"))
        line("Whole on the card:")
        line("  reserved and assumed", spreads("card_mib"), "bold", ends=True)
    if limit_mib is not None:
        found = [verdict(forecast, limit_mib) for forecast in forecasts]
        line(f"Limit of {whole(limit_mib)} MiB", [Text(word, style=STYLES[word]) for word in found])
    return printed


def verdict(forecast: Json, limit_mib: float) -> str:
    """Mark and words: fits when the most that is assumed fits, does not fit when not even the least does."""
    span = span_of(forecast.get("card_mib"))
    if span is None:
        return UNKNOWN
    low, high = span
    return FITS if high <= limit_mib else MAY_NOT if low <= limit_mib else DOES_NOT


def forecast_bars(forecasts: list[Json], width: int = 78) -> Group:
    """A bar per stage of what its peak is made of, all to one scale; each part begins with its letter."""
    stacks = [parts_of(forecast) for forecast in forecasts]
    full = max((sum(stack.values()) for stack in stacks), default=0.0)
    lines = []
    for forecast, stack in zip(forecasts, stacks, strict=True):
        lines += [Text(headline(forecast), style="bold"), _bar(stack, full, max(1, width)), Text("")]
    kinds = [kind for kind in LOOKS if any(kind in stack for stack in stacks)]
    legend = [Text(f"{LOOKS[kind].letter} {kind}", style=LOOKS[kind].style) for kind in kinds]
    return Group(*lines, Columns(legend, padding=(0, 3)))


def _bar(stack: dict[str, float], full: float, width: int) -> Text:
    """The cells of a bar: its ends are rounded, not its parts, so that the parts add up to the whole."""
    drawn, total, filled = Text(no_wrap=True), 0.0, 0
    for kind, mib in stack.items():
        total += mib
        cells = round(total / full * width) - filled
        filled += cells
        look = LOOKS[kind]
        drawn.append((look.letter + look.block * (cells - 1))[:cells], style=look.style)
    return drawn


def phases_table(forecast: Json) -> Table:
    """The peak of each phase of a step, in the order in which they come, with a bar from zero."""
    known = table(forecast, "phases")
    highest = max((number(known, name) or 0.0 for name in known), default=0.0)
    printed = _table(f"Peak of each phase of a step, {words(forecast, 'stage') or DASH}")
    printed.add_column("Phase")
    printed.add_column("MiB", justify="right", no_wrap=True)
    printed.add_column("", min_width=30, no_wrap=True)
    for name in known:
        mib = number(known, name)
        cells = round(30 * mib / highest) if mib is not None and highest > 0 else 0
        mark = " ◂ peak" if mib is not None and mib == highest > 0 else ""
        printed.add_row(cell(name), Text(in_mib(mib)), Text("█" * cells + mark, style="bold" if mark else ""))
    return printed


def options_table(options: list[Json], device: str, limit_mib: float) -> Group:
    """The largest batch of each way to train within a limit, and below the table the words that choose each."""
    printed = _table(f"What fits {device or 'the limit'}: {whole(limit_mib)} MiB to use")
    printed.caption = Text(_advice(options) + "Context and workspace are assumed, not measured, and are counted.")
    printed.caption_justify = "left"
    printed.add_column("\nWay", no_wrap=True)
    printed.add_column("Largest\nbatch", justify="right", no_wrap=True)
    printed.add_column("On the card\nMiB", justify="right", no_wrap=True)
    printed.add_column("", no_wrap=True)
    told: list[Text] = []
    for option in options:
        batch, chosen = number(option, "batch"), option.get("recommended") is True
        name, said = words(option, "way") or DASH, option.get("words")
        cells = [name, "✗ none" if batch is None else figure(batch), spread(option.get("card_mib"))]
        printed.add_row(*map(cell, cells), Text("→ recommended" if chosen else ""), style="bold" if chosen else "")
        if isinstance(said, list | tuple) and said:
            told.append(
                Text(
                    "\n  ".join([f"{printable(name)}:", *map(printable, said)]),
                    style="bold" if chosen else "",
                    overflow="fold",
                )
            )
    return Group(printed, Text("\nWords for the command line", style="bold"), *told, Text(""))


def _advice(options: list[Json]) -> str:
    """The largest batch is a bound, no advice where the recipe's own batch fits."""
    for option in options:
        wanted, batch = number(option, "wanted_batch"), number(option, "batch")
        if option.get("recommended") is True and wanted is not None and batch is not None and wanted <= batch:
            return f"The recipe's own batch {figure(wanted)} fits: no need to change it. "
    return ""


def sampling_table(rows: list[Json]) -> Table:
    """What drawing pictures takes, per runtime and batch: forecast, and measured where that was asked for."""
    printed = _table("Forecast of memory while sampling, MiB")
    measured = any(number(row, "measured_mib") is not None for row in rows)
    headings = ["Weights", "Scratch", "Peak", *(["Measured", "Whole process"] if measured else [])]
    printed.add_column("Runtime", no_wrap=True)
    printed.add_column("Batch", justify="right")
    for heading in headings:
        printed.add_column(heading, justify="right", no_wrap=" " not in heading)
    for row in rows:
        batch = number(row, "batch")
        cells = [words(row, "runtime") or DASH, figure(batch) if batch else "as built"]
        cells += [in_mib(number(row, "weights_mib")), bounded(row.get("scratch_mib")), bounded(row.get("peak_mib"))]
        if measured:
            cells += [in_mib(number(row, "measured_mib")), in_mib(number(row, "process_mib"))]
        printed.add_row(*map(cell, cells))
    told = {f"{words(row, 'runtime')}: {words(row, 'basis')}": None for row in rows if words(row, "basis")}
    printed.caption, printed.caption_justify = Text("\n".join(map(printable, told))), "left"
    return printed


def _table(title: str) -> Table:
    heading = cell(title, style="bold")
    least = min(80, len(title))  # a title is not broken where the table below it is narrower
    printed = Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    printed.min_width = least
    return printed
