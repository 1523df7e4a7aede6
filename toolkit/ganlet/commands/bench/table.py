"""A benchmark's document for a terminal."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from ganlet.errors import printable

FULL_PERCENT = 100
_HEADS = ("p50 ms", "p95 ms", "pictures/s", "x first", "peak MiB", "load ms", "MB", "% of peak")


def rows_table(document: dict[str, Any]) -> Table:
    """One line a row; those that were not measured are told by `notes`."""
    table = Table(box=None, pad_edge=False)
    table.add_column("artifact@runtime", overflow="fold")
    for head in ("batch", *_HEADS):
        table.add_column(head, justify="right", no_wrap=True)
    for row in document["rows"]:
        cells = _cells(row) if row["status"] == "measured" else ["-"] * len(_HEADS)
        table.add_row(escape(printable(f"{row['artefact']}@{row['runtime']}")), str(row["batch"]), *cells)
    return table


def notes(document: dict[str, Any]) -> list[str]:
    """What the table leaves out, a sentence each."""
    peak = document["matmul_peak"]
    said = []
    if peak["gflops"] is None:
        said.append(f"The peak of this machine was not measured: {peak['reason']}")
    else:
        said.append(f"The peak is {peak['gflops']:.1f} GFLOP/s, a float32 matrix product by {peak['by']}.")
    measured = [row for row in document["rows"] if row["status"] == "measured"]
    if measured:
        coverage = 100 * measured[0]["ratio"]["coverage"]
        said.append(
            "x first: pictures per second against the first row of that batch; its interval holds the true median with "
            f"{coverage:.0f} %, by {document['rounds']} rounds."
        )
    if any((row["percent_of_matmul_peak"] or 0) > FULL_PERCENT for row in measured):
        said.append(
            "% of peak above 100: a runtime did better than that float32 product, by int8 arithmetic, by fewer "
            "operations than are counted for the network, by more threads, or as the machine was busy when the product "
            "was timed."
        )
    for row in measured:
        if row["flop_per_picture"] is None:
            said.append(f"{row['artefact']}: no % of peak, {row['flop_source']}.")
    for row in document["rows"]:
        if row["status"] != "measured":
            said.append(f"{row['artefact']}@{row['runtime']}, batch {row['batch']}: not measured. {row['reason']}")
    if "compare" in document:
        said.append(document["compare"]["sentence"])
    return list(dict.fromkeys(said))


def _cells(row: dict[str, Any]) -> list[str]:
    ratio, memory, percent = row["ratio"], row["peak_memory_mib"], row["percent_of_matmul_peak"]
    return [
        _short(row["latency_ms"]["p50"]),
        _short(row["latency_ms"]["p95"]),
        _short(row["pictures_per_second"]),
        f"{ratio['value']:.2f} ({ratio['low']:.2f}-{ratio['high']:.2f})",
        "-" if memory is None else f"{memory:.0f}",
        f"{row['load_ms']:.0f}",
        f"{row['file_mb']:.2f}",
        "-" if percent is None else f"{percent:.0f}",
    ]


def _short(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
