"""A forecast of training memory as pictures, for a page (SVG) or a file (PNG)."""

import io
import math
import zlib
from collections.abc import Callable
from itertools import groupby
from typing import Any

from ganlet.errors import GanletError
from ganlet.report.document import Json
from ganlet.report.forecasts import (
    BETWEEN,
    FILL,
    LOOKS,
    SERIES,
    Look,
    headline,
    in_mib,
    parts_of,
    timeline_of,
)

SETTINGS = {"svg.hashsalt": "ganlet", "text.parse_math": False, "svg.fonttype": "none", "font.size": 9}
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
    stacks = [parts_of(forecast) for forecast in forecasts]
    full = max((sum(stack.values()) for stack in stacks), default=0.0) or 1.0
    for row, (forecast, stack) in enumerate(zip(forecasts, stacks, strict=True)):
        axes.text(0, row - 0.33, headline(forecast), color=INK, va="bottom")
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
    points = timeline_of(forecast)
    axes.set_xlabel("one step, tensor by tensor" if points else "no timeline in this forecast", color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    if not points:
        return
    y = [mib for mib, _ in points]
    place, top = y.index(max(y)), max(*y, 0.0) or 1.0
    axes.fill_between(range(len(y)), y, color=SERIES[0], alpha=0.18, linewidth=0, step="mid")
    axes.plot(range(len(y)), y, color=SERIES[0], linewidth=1.2, drawstyle="steps-mid")
    axes.plot([place], [max(y)], "o", color=INK, markersize=4)
    told = f"peak {in_mib(max(y))} MiB" + (f", {points[place][1]}" if points[place][1] else "")
    side = "left" if place < len(y) / 3 else "right" if place > 2 * len(y) / 3 else "center"
    axes.text(place, 1.04 * top, told, color=INK, ha=side, va="bottom")
    lanes = _lanes(points)
    lane = 1.3 * LANE_IN / TIMELINE_IN * top
    for row, (name, runs) in enumerate(lanes.items()):
        colour = SERIES[0] if name == points[place][1] else FILL
        below, starts = -(row + 0.9) * lane, [first - 0.5 for first, _ in runs]
        axes.barh(below, [count for _, count in runs], left=starts, height=0.6 * lane, color=colour, gid="phase")
    ticks = _ticks(top)
    heights = [*ticks, *(-(row + 0.9) * lane for row in range(len(lanes)))]
    axes.set_yticks(heights, [f"{t:,g} MiB" for t in ticks] + list(lanes))
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
    return 0.4 + TIMELINE_IN + LANE_IN * len(_lanes(timeline_of(forecast)))


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
