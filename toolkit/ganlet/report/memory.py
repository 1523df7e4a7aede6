"""A forecast of training memory as people read it: tables and bars for the terminal, pictures for a page or a file.

Everything takes the plain dicts of `Forecast.as_json()`; a value that is missing there is a dash here. What was assumed
stands on lines of its own and never inside a sum that was traced.
"""

import io
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from rich import box
from rich.columns import Columns
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ganlet.errors import GanletError
from ganlet.report.document import Json, number, table, words
from ganlet.report.wording import DASH, figure, whole

OTHER = "other"  # parts of a kind unknown here, and what the peak has beyond its parts
FITS, MAY_NOT, DOES_NOT, UNKNOWN = "✓ fits", "? may not fit", "✗ does not fit", f"{DASH} not known"
STYLES = {FITS: "green", MAY_NOT: "yellow", DOES_NOT: "bold red", UNKNOWN: ""}
SETTINGS = {"svg.hashsalt": "ganlet", "svg.fonttype": "none", "font.size": 9}
SERIES, FILL = ("#0b63b0", "#b3530b", "#2a7d46", "#8544a8"), "#7d8a97"  # the light colours of page.css
INK, RULE, GROUND = "#56606a", "#d3d8dd", "#ffffff"
IN_PAGE = {  # what an SVG says instead: the colour of its page, and outside one a tone that reads on black too
    **{SERIES[i]: f"var(--series-{i}, {tone})" for i, tone in enumerate(("#3b82c4", "#c2702a", "#3f9560", "#9c63bd"))},
    **{
        FILL: f"var(--fill, {FILL})",
        INK: "currentColor",
        RULE: "var(--rule, #717c8655)",
        GROUND: "var(--ground, #ffffff)",
    },
}
WIDTH_IN, TIMELINE_IN, LANE_IN = 4.9, 1.9, 0.17  # as narrow as the graphs of plots.py
BETWEEN = "between"  # what runs in no phase


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
    "teacher": Look("T", "▞", "bright_yellow", SERIES[1], 0.4),
    "buffers": Look("B", "▪", "white", FILL),
    "activations": Look("A", "█", "magenta", SERIES[3]),
    OTHER: Look("?", "·", "white", FILL, 0.4),
}


# ---------------------------------------------------------------- tables and bars for the terminal


def forecast_table(forecasts: list[Json], limit_mib: float | None = None, device: str = "") -> Table:
    """A column per stage: what the peak is made of, what is reserved, then what is only assumed, then the verdict."""
    printed = _table("Forecast of training memory, MiB")
    printed.add_column("", no_wrap=True)
    for forecast in forecasts:
        stage, batch = words(forecast, "stage") or DASH, figure(number(forecast, "batch"))
        printed.add_column(Text(f"{stage}\nbatch {batch}"), justify="right")

    def line(name: str, cells: Sequence[str | Text] = (), style: str = "", ends: bool = False) -> None:
        printed.add_row(
            Text(name), *(Text(c) if isinstance(c, str) else c for c in cells), style=style, end_section=ends
        )

    def values(key: str) -> list[str]:
        return [_mib(number(forecast, key)) for forecast in forecasts]

    def spreads(key: str) -> list[str]:
        return [_spread(forecast.get(key)) for forecast in forecasts]

    parts = [_parts(forecast) for forecast in forecasts]
    kinds = [kind for kind in LOOKS if any(kind in found for found in parts)]
    for kind in kinds:
        line(kind.capitalize(), [_mib(found.get(kind)) for found in parts], ends=kind == kinds[-1])
    line("Peak of live tensors", values("peak_mib"), "bold")
    line("  reached in", [words(forecast, "peak_phase").replace(" ", "\n", 1) or DASH for forecast in forecasts])
    line("Reserved by the allocator", values("reserved_mib"), ends=True)
    line("Assumed, not measured:")
    line("  CUDA context", spreads("context_mib"))
    line("  convolution workspace", spreads("workspace_mib"))
    line("Whole on the card:")
    line("  reserved and assumed", spreads("card_mib"), "bold", ends=True)
    if limit_mib is not None:
        line(f"{device or 'Limit'}:")
        found = [verdict(forecast, limit_mib) for forecast in forecasts]
        line(f"  {whole(limit_mib)} MiB to use", [Text(word, style=STYLES[word]) for word in found])
    return printed


def verdict(forecast: Json, limit_mib: float) -> str:
    """Mark and words: fits when the most that is assumed fits, does not fit when not even the least does."""
    span = _span(forecast.get("card_mib"))
    if span is None:
        return UNKNOWN
    low, high = span
    return FITS if high <= limit_mib else MAY_NOT if low <= limit_mib else DOES_NOT


def forecast_bars(forecasts: list[Json], width: int = 78) -> Group:
    """A bar per stage of what its peak is made of, all to one scale; each part begins with its letter."""
    stacks = [_parts(forecast) for forecast in forecasts]
    full = max((sum(stack.values()) for stack in stacks), default=0.0)
    lines = []
    for forecast, stack in zip(forecasts, stacks, strict=True):
        lines += [Text(_headline(forecast), style="bold"), _bar(stack, full, max(1, width)), Text("")]
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
        printed.add_row(Text(name), Text(_mib(mib)), Text("█" * cells + mark, style="bold" if mark else ""))
    return printed


def options_table(options: list[Json], device: str, limit_mib: float) -> Table:
    """The largest batch of each way to train within a limit, and the words that choose it."""
    printed = _table(f"What fits {device or 'the limit'}: {whole(limit_mib)} MiB to use")
    printed.caption = Text("Context and workspace are assumed, not measured, and are in what is on the card.")
    printed.caption_justify = "left"
    printed.add_column("\nWay")
    printed.add_column("Largest\nbatch", justify="right", no_wrap=True)
    printed.add_column("On the card\nMiB", justify="right", no_wrap=True)
    printed.add_column("Words for the\ncommand line", overflow="fold", no_wrap=True)
    for option in options:
        batch, chosen = number(option, "batch"), option.get("recommended") is True
        way = (words(option, "way") or DASH) + ("\n→ recommended" if chosen else "")
        said = option.get("words")
        told = "\n".join(map(str, said)) if isinstance(said, list | tuple) else ""
        cells = [way, "✗ none" if batch is None else figure(batch), _spread(option.get("card_mib"))]
        cells.append(told or DASH if batch is not None else DASH)
        printed.add_row(*map(Text, cells), style="bold" if chosen else "")
    return printed


def _table(title: str) -> Table:
    heading = Text(title, style="bold")
    return Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")


# ---------------------------------------------------------------- pictures


def forecast_svg(forecasts: list[Json]) -> str:
    """A stacked bar per stage, for inline use in a page or on its own: the same bytes for the same forecasts."""
    return _for_page(_rendered(_draw_parts, forecasts, _height_in(forecasts), "svg"))


def forecast_png(forecasts: list[Json]) -> bytes:
    """The same picture on white."""
    return _rendered(_draw_parts, forecasts, _height_in(forecasts), "png")


def timeline_svg(forecast: Json) -> str:
    """Live memory over one step, the phases named along it and the peak marked."""
    return _for_page(_rendered(_draw_timeline, forecast, _timeline_height_in(forecast), "svg"))


def timeline_png(forecast: Json) -> bytes:
    """The same picture on white."""
    return _rendered(_draw_timeline, forecast, _timeline_height_in(forecast), "png")


def _height_in(forecasts: list[Json]) -> float:
    return 1.15 + 0.55 * max(1, len(forecasts))


def _draw_parts(axes: Any, forecasts: list[Json]) -> None:
    stacks = [_parts(forecast) for forecast in forecasts]
    full = max((sum(stack.values()) for stack in stacks), default=0.0) or 1.0
    for row, (forecast, stack) in enumerate(zip(forecasts, stacks, strict=True)):
        axes.text(0, row - 0.33, _headline(forecast), color=INK, va="bottom", parse_math=False)
        left = 0.0
        for kind, mib in stack.items():
            look, pale = LOOKS[kind], LOOKS[kind].opacity < 1
            shade = {"color": look.colour, "alpha": look.opacity, "linewidth": 0}
            axes.barh(row, mib, left=left, height=0.5, gid="part", **shade)  # without a gid plots.py takes it away
            if mib > 0.03 * full:
                colour = INK if pale else GROUND
                axes.text(left + mib / 2, row, look.letter, color=colour, ha="center", va="center_baseline")
            left += mib
    kinds = [kind for kind in LOOKS if any(kind in stack for stack in stacks)]
    marks = [_mark(axes, LOOKS[kind]) for kind in kinds]
    style = {"frameon": False, "borderpad": 0, "labelcolor": INK, "handletextpad": 0.1, "columnspacing": 1.2}
    names = [f"{LOOKS[kind].letter}  {kind}" for kind in kinds]
    axes.figure.legend(marks, names, loc="outside lower left", ncols=3, **style)
    axes.set_xlim(0, full * 1.02)
    axes.set_ylim(max(1, len(forecasts)) - 0.65, -0.8)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel("MiB", color=INK)


def _mark(axes: Any, look: Look) -> Any:
    return axes.plot([], [], "s", color=look.colour, alpha=look.opacity, markeredgewidth=0)[0]


def _draw_timeline(axes: Any, forecast: Json) -> None:
    points = _timeline(forecast)
    axes.set_xlabel("one step, tensor by tensor" if points else "no timeline in this forecast", color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    if not points:
        return
    y = [mib for mib, _ in points]
    place, top = y.index(max(y)), max(y) or 1.0
    axes.fill_between(range(len(y)), y, color=SERIES[0], alpha=0.18, linewidth=0, step="mid")
    axes.plot(range(len(y)), y, color=SERIES[0], linewidth=1.2, drawstyle="steps-mid")
    axes.plot([place], [max(y)], "o", color=INK, markersize=4)
    told = f"peak {_mib(max(y))} MiB" + (f", {points[place][1]}" if points[place][1] else "")
    side = "left" if place < len(y) / 3 else "right" if place > 2 * len(y) / 3 else "center"
    axes.text(place, 1.04 * top, told, color=INK, ha=side, va="bottom", parse_math=False)
    lanes = _lanes(points)
    lane = 1.3 * LANE_IN / TIMELINE_IN * top
    for row, (name, runs) in enumerate(lanes.items()):
        colour = SERIES[0] if name == points[place][1] else FILL
        below, starts = -(row + 0.9) * lane, [first - 0.5 for first, _ in runs]
        axes.barh(below, [count for _, count in runs], left=starts, height=0.6 * lane, color=colour, gid="phase")
    ticks = _ticks(top)
    heights = [*ticks, *(-(row + 0.9) * lane for row in range(len(lanes)))]
    axes.set_yticks(heights, [f"{t:,g} MiB" for t in ticks] + [name.replace("$", r"\$") for name in lanes])
    axes.hlines(ticks, -0.5, len(y) - 0.5, color=RULE, linewidth=0.6, zorder=0)
    axes.set_xlim(-0.5, len(y) - 0.5)
    axes.set_ylim(-(len(lanes) + 0.4) * lane, 1.2 * top)


def _ticks(top: float) -> list[float]:
    """Zero and round figures up to `top`, three to six in all."""
    power = 10.0 ** math.floor(math.log10(top))
    step = next(power * part for part in (0.2, 0.5, 1, 2) if top / (power * part) < 5.5)
    return [index * step for index in range(int(top / step) + 1)]


def _lanes(points: list[tuple[float, str]]) -> dict[str, list[tuple[int, int]]]:
    """When each phase runs, as (first point, number of points), in the order in which phases first come."""
    lanes: dict[str, list[tuple[int, int]]] = {}
    first = 0
    for name, group in groupby(points, key=lambda point: point[1]):
        count = len(list(group))
        if name not in ("", BETWEEN):
            lanes.setdefault(name, []).append((first, count))
        first += count
    return lanes


def _timeline_height_in(forecast: Json) -> float:
    return 0.4 + TIMELINE_IN + LANE_IN * len(_lanes(_timeline(forecast)))


def _rendered(draw: Callable[[Any, Any], None], shown: Any, height_in: float, form: str) -> bytes:
    """What `draw` makes of `shown`, as "svg" or "png"."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError as error:  # a device has no matplotlib, and the tables above need none
        raise GanletError(
            "Pictures of a forecast need the package matplotlib, which is not installed; "
            'install it with `pip install "ganlet[train]"`.'
        ) from error
    with matplotlib.rc_context(SETTINGS):
        drawn = Figure(figsize=(WIDTH_IN, height_in), layout="constrained", facecolor=GROUND)
        axes = drawn.add_subplot()
        axes.tick_params(colors=INK, length=0)
        axes.spines[:].set_visible(False)
        draw(axes, shown)
        nameless = {"svg": ("Date", "Creator", "Format", "Type"), "png": ("Software",)}[form]
        buffer = io.BytesIO()
        drawn.savefig(buffer, format=form, dpi=200, metadata=dict.fromkeys(nameless))
    return buffer.getvalue()


def _for_page(content: bytes) -> str:
    """The colours of the page instead of those on white."""
    from ganlet.report import plots

    svg = plots._for_page(content.decode(), f"memory-{zlib.crc32(content):08x}")
    for colour, told in IN_PAGE.items():
        svg = svg.replace(colour, told)
    return svg.replace("<svg ", f'<svg xmlns="http://www.w3.org/2000/svg" color="{FILL}" ', 1)


# ---------------------------------------------------------------- reading a forecast


def _parts(forecast: Json) -> dict[str, float]:
    """What the peak is made of in the order of LOOKS, without what is zero; what nobody named is other."""
    known = table(forecast, "parts")
    given = {kind: max(0.0, number(known, kind) or 0.0) for kind in known}
    unnamed = (number(forecast, "peak_mib") or 0.0) - sum(given.values())
    found = {kind: given.get(kind, 0.0) for kind in LOOKS}
    found[OTHER] = sum(given.values()) - sum(mib for kind, mib in found.items() if kind != OTHER)
    if unnamed > 1e-3 * sum(given.values()):
        found[OTHER] += unnamed
    return {kind: mib for kind, mib in found.items() if mib > 1e-9}


def _timeline(forecast: Json) -> list[tuple[float, str]]:
    """(live MiB, phase) of every point that has a value."""
    given = forecast.get("timeline")
    pairs = [p for p in given if isinstance(p, list | tuple) and len(p) == 2] if isinstance(given, list | tuple) else []
    read = [(number({"mib": mib}, "mib"), name if isinstance(name, str) else "") for mib, name in pairs]
    return [(mib, name) for mib, name in read if mib is not None]


def _span(value: Any) -> tuple[float, float] | None:
    """The interval [low, high], or None."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = (number({"bound": bound}, "bound") for bound in value)
    return None if low is None or high is None else (low, high)


def _spread(value: Any) -> str:
    span = _span(value)
    return DASH if span is None else f"{whole(span[0])} to {whole(span[1])}"


def _mib(value: float | None) -> str:
    """With one decimal throughout, so that a column reads from top to bottom."""
    return "<0.1" if value is not None and 0 < value < 0.05 else DASH if value is None else f"{value:,.1f}"


def _headline(forecast: Json) -> str:
    batch, peak = number(forecast, "batch"), number(forecast, "peak_mib")
    told = [words(forecast, "stage") or DASH, f"batch {figure(batch)}" if batch is not None else ""]
    return ", ".join(part for part in told if part) + (f": {_mib(peak)} MiB" if peak is not None else "")
