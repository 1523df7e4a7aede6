"""Losses over time as SVG that takes its colours from the page: the same text serves light, dark and print."""

import io
import json
import re
import zlib
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ganlet.report.document import number

LOG = "metrics.jsonl"
MOST_POINTS = 500
SIZE_IN = (4.9, 2.3)  # 353 points wide: a phone shows it at its natural size, so its labels stay legible
INK, GRID = "#010203", "#040506"  # stand-ins that matplotlib accepts; _for_page turns them into the page's colours
SERIES = ("#010101", "#020202", "#030303", "#040404")
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1, 1.5), (6, 2, 1, 2))  # page.html draws its keys with the same
LOG_SCALE_FROM = 50  # largest over smallest value above which lines of positive values share an axis only as powers
DISTANCE = "distance_to_data"  # measured now and then while training
NO_LOSS = re.compile(r"step|lr.*|images|epoch|.*seconds|.*_mib|.*per_second")

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Plot:
    """A small graph. `series` names its lines in the order of the page's colours and dashes."""

    title: str
    svg: str
    series: tuple[str, ...]
    last_step: int
    is_log: bool


def loss_plots(stage: Path, name: str = "") -> list[Plot]:
    """Graphs of STAGE/metrics.jsonl: distance, losses, the critic's scores, terms of the loss; none without a log.

    `name` is the stage's own on the page, its folder's unless told. Neither gets into the page: a run from elsewhere
    may have any.
    """
    lines = read_log(stage / LOG)
    own = f"log-{zlib.crc32((name or stage.name).encode(errors='replace')):08x}"
    plots = []
    for title, names in _groups(lines).items():
        series = {name: _thinned(*_points(lines, name)) for name in names}
        positive = all((y > 0).all() for _, y in series.values())
        everything = np.concatenate([y for _, y in series.values()])
        is_log = positive and everything.max() > LOG_SCALE_FROM * everything.min()
        svg = draw(series, f"{own}-{title}".replace(" ", "-"), is_log)
        last_step = int(max(x[-1] for x, _ in series.values()))
        plots.append(Plot(title, svg, tuple(name.replace("_", " ") for name in names), last_step, is_log))
    return plots


def read_log(path: Path) -> list[dict[str, float]]:
    """The finite numbers of each line that has a step; a line cut short by an interruption is passed over."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # a stage made elsewhere has no log here
        return []
    lines = []
    for line in text.splitlines():
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and number(found, "step") is not None:
            known = {name: number(found, name) for name in found}
            lines.append({name: float(value) for name, value in known.items() if value is not None})
    return lines


def _groups(lines: list[dict[str, float]]) -> dict[str, list[str]]:
    """The logged names by the graph that they belong to, in the order in which they first appear."""
    names = [name for name in dict.fromkeys(name for line in lines for name in line) if not NO_LOSS.fullmatch(name)]
    losses = [name for name in names if name.endswith("loss")]
    scores = [name for name in names if name.startswith("score")]
    measured = [name for name in names if name == DISTANCE]
    terms = [name for name in names if name not in losses + scores + measured]
    groups = {
        "losses": losses,
        "scores of the critic": scores,
        "terms of the loss": terms,
        "distance to the training pictures": measured,
    }
    return {title: chosen[: len(SERIES)] for title, chosen in groups.items() if chosen}


def _points(lines: list[dict[str, float]], name: str) -> tuple[Values, Values]:
    """Steps (n,) and values (n,) of one name, in the order of the steps."""
    pairs = sorted((line["step"], line[name]) for line in lines if name in line)
    x, y = np.array(pairs, dtype=np.float64).T
    return x, y


def _thinned(x: Values, y: Values) -> tuple[Values, Values]:
    """At most MOST_POINTS points: the lowest and the highest of each stretch, so that no spike is lost."""
    if len(x) <= MOST_POINTS:
        return x, y
    kept = [part[[y[part].argmin(), y[part].argmax()]] for part in np.array_split(np.arange(len(x)), MOST_POINTS // 2)]
    chosen = np.unique(np.concatenate(kept))
    return x[chosen], y[chosen]


def draw(series: dict[str, tuple[Values, Values]], name: str, is_log: bool) -> str:
    """One graph as SVG without a size, for inline use. `name` has to be its own on the page: it begins every id."""
    settings = {"svg.hashsalt": "ganlet", "svg.fonttype": "none", "font.size": 9, "axes.unicode_minus": True}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=SIZE_IN, layout="constrained")
        canvas = FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        for (x, y), colour, dashes in zip(series.values(), SERIES, DASHES, strict=False):
            axes.plot(x, y, color=colour, dashes=dashes, linewidth=1.3, marker="o" if len(x) == 1 else "")
        axes.set_xlabel("step", color=INK)
        axes.set_yscale("log" if is_log else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(color=GRID, linewidth=0.6)
        axes.tick_params(which="both", colors=INK, length=0)
        axes.spines[:].set_visible(False)
        buffer = io.BytesIO()
        canvas.print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    return _for_page(buffer.getvalue().decode(), name)


def _for_page(svg: str, name: str) -> str:
    """Make matplotlib's SVG a part of a page: ids of its own, no namespaces, no style sheet, the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="patch_\d+">.*?</g>', "", svg, flags=re.DOTALL)  # the white ground of figure and axes
    viewbox = re.search(r'viewBox="[^"]*"', svg)
    svg = re.sub(r"<svg[^>]*>", f'<svg class="plot" {viewbox[0] if viewbox else ""}>', svg, count=1)
    svg = re.sub(r'<g id="[^"]*">', "<g>", svg).replace("<defs>\n </defs>", "")
    svg = re.sub(r'xlink:href="#|href="#', f'href="#{name}-', svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg).replace("url(#", f"url(#{name}-")
    svg = re.sub(r" ?font-family: [^;\"]*;?", "", svg)
    svg = svg.replace(INK, "currentColor").replace(GRID, "var(--rule)")
    for index, colour in enumerate(SERIES):
        svg = svg.replace(colour, f"var(--series-{index})")
    return "\n".join(line.rstrip() for line in svg.splitlines() if line.strip())
