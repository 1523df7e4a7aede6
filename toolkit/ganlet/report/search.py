"""A search as a table for the terminal and a picture: search.json's trials, those that nothing beats first."""

import io
from typing import Any

from rich.table import Table

from ganlet.errors import printable
from ganlet.report.cells import cell
from ganlet.report.document import Json, number, rows, table, words
from ganlet.report.wording import DASH, figure

SETTINGS = {"svg.hashsalt": "ganlet", "text.parse_math": False, "svg.fonttype": "none", "font.size": 9}
SIZE_IN = (5.4, 3.6)
FRONT, OTHER, CHOSEN = "#0b63b0", "#7d8a97", "#b3530b"
MOST_ROWS = 20


def finished(document: Json) -> list[Json]:
    """The trials that ran to their end, the smallest model first."""
    done = [row for row in rows(document, "trials") if words(row, "state") == "complete" and number(row, "model_mb")]
    return sorted(done, key=lambda row: (number(row, "model_mb") or 0.0, number(row, "distance") or 0.0))


def search_table(document: Json) -> Table:
    """The front: what no other trial beats in size, distance and latency at once."""
    states = [words(row, "state") for row in rows(document, "trials")]
    counted = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    distance = f"Distance, {words(document, 'features')}, {figure(number(document, 'samples'))} samples"
    printed = Table(title=cell(f"Front of {len(states)} trials ({counted or 'none yet'})"), title_justify="left")
    for heading in ("Trial", "Model MB", distance, "Latency ms", "Widths", "lr", "alpha", "features", "pixel", "init"):
        printed.add_column(cell(heading), justify="left" if heading in ("Widths", "pixel", "init") else "right")
    for row in [row for row in finished(document) if row.get("front") is True][:MOST_ROWS]:
        point = table(row, "point")
        widths = point.get("widths")
        chosen = row.get("number") == document.get("chosen")
        printed.add_row(
            cell(f"{row.get('number')}{' *' if chosen else ''}"),
            *(figure(number(row, key), digits=3) for key in ("model_mb", "distance", "latency_ms")),
            cell("-".join(map(str, widths)) if isinstance(widths, list | tuple) else DASH),
            *(figure(number(point, key), digits=2) for key in ("lr", "alpha", "features")),
            cell(words(point, "pixel") or DASH),
            cell(words(point, "init") or DASH),
            style="bold" if chosen else "",
        )
    if document.get("chosen") is not None:
        printed.caption = "* chosen"
    return printed


def search_svg(document: Json) -> str:
    """Distance over size, both on logarithmic axes; the front joined, the chosen trial ringed."""
    return _rendered(document, "svg").decode()


def search_png(document: Json) -> bytes:
    """The same picture."""
    return _rendered(document, "png")


def _rendered(document: Json, kind: str) -> bytes:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with matplotlib.rc_context(SETTINGS):
        drawn = Figure(figsize=SIZE_IN, layout="constrained", dpi=150)
        canvas: Any = (FigureCanvasSVG if kind == "svg" else FigureCanvasAgg)(drawn)
        _draw(drawn.add_subplot(), document)
        buffer = io.BytesIO()
        if kind == "svg":
            canvas.print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        else:
            canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()


def _draw(axes: Any, document: Json) -> None:
    """Circles grow with the latency: the third value that a trial is judged by."""
    from matplotlib.ticker import LogLocator, NullLocator

    done = finished(document)
    slowest = max((number(row, "latency_ms") or 0.0 for row in done), default=0.0) or 1.0
    for row in done:
        x, y = number(row, "model_mb"), number(row, "distance")
        area = 15 + 85 * (number(row, "latency_ms") or 0.0) / slowest
        is_chosen = row.get("number") == document.get("chosen")
        face, edge = (FRONT if row.get("front") is True else OTHER), (CHOSEN if is_chosen else "white")
        axes.scatter([x], [y], s=area, c=face, edgecolors=edge, linewidths=2 if is_chosen else 0.5, zorder=3, alpha=0.9)
        if row.get("front") is True:
            axes.annotate(str(row.get("number")), (x, y), textcoords="offset points", xytext=(6, 5), color=FRONT)
    line: list[tuple[float, float]] = []
    for row in done:  # the smallest model first: the line is what can be had at each size
        x, y = number(row, "model_mb") or 0.0, number(row, "distance") or 0.0
        if not line or y < line[-1][1]:
            line.append((x, y))
    if line:
        axes.step(*zip(*line, strict=True), where="post", color=FRONT, linewidth=1, zorder=2)
        for axis, scale in ((axes.xaxis, axes.set_xscale), (axes.yaxis, axes.set_yscale)):
            scale("log")
            axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
            axis.set_major_formatter(lambda value, _: f"{value:,.4g}")
            axis.set_minor_locator(NullLocator())
    axes.set_xlabel("generator.onnx, MB")
    axes.set_ylabel(f"distance to the training pictures, {printable(words(document, 'features'))}")
    axes.set_title("The larger the circle, the longer a picture takes", fontsize=9, loc="left", color=OTHER)
    axes.margins(0.08)
    axes.grid(color="#d3d8dd", linewidth=0.5)
    axes.spines[:].set_visible(False)
