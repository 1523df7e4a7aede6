"""Two maps of features, data and generators together: one sees at a glance where a generator does not go."""

import io
from collections.abc import Mapping

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ganlet.metrics.embedding import has_umap, pca, tsne, umap
from ganlet.verify.fidelity import Features

POINTS = 250  # of each set: t-SNE takes seconds, and more would hide each other
PANEL_IN = 4.2
DPI = 110
STYLES = (("#9aa3ab", "o", 16), ("#b3530b", "^", 17), ("#0b63b0", "x", 17), ("#2a7d46", "+", 22))


def feature_map(sets: Mapping[str, Features], seed: int) -> bytes:
    """PNG of the first features of each set (N, d), the data first: principal components, t-SNE, and UMAP if installed.

    The same bytes for the same features and packages. Raises GanletError when scikit-learn is missing.
    """
    parts = {name: features[:POINTS] for name, features in sets.items()}
    rows = np.concatenate(list(parts.values()))
    flat, shares = pca(rows)
    panels: dict[str, NDArray[np.float64]] = {f"Principal components ({shares.sum():.0%} of the variance)": flat}
    panels["t-SNE"] = tsne(rows, seed)
    if has_umap():
        panels["UMAP"] = umap(rows, seed)
    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=(PANEL_IN * len(panels), PANEL_IN + 0.4), dpi=DPI, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        for place, (title, points) in enumerate(panels.items(), 1):
            axes = figure.add_subplot(1, len(panels), place)
            axes.set_title(title, fontsize=10)
            axes.set_xticks([])
            axes.set_yticks([])
            start = 0
            for (name, part), (colour, marker, size) in zip(parts.items(), STYLES, strict=False):
                some = points[start : start + len(part)]
                start += len(part)
                axes.scatter(some[:, 0], some[:, 1], s=size, c=colour, marker=marker, label=name, linewidths=0.9)
        handles, names = axes.get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
        buffer = io.BytesIO()
        canvas.print_png(buffer, metadata={"Software": None})
    return buffer.getvalue()
