"""The two tables of a run, for the terminal and the page: what each stage costs and gives, and every check."""

from dataclasses import dataclass
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from ganlet.errors import printable
from ganlet.report.cells import cell
from ganlet.report.document import Interval, Json, Metric, interval, metrics, number, rows, stages, table, words
from ganlet.report.judgement import FAILED, PASSED, budgets, checks
from ganlet.report.wording import DASH, bounds, count, figure, percent, short_metric_name

STYLES = {PASSED: "green", FAILED: "bold red"}
UNKNOWN_STYLE = "yellow"


@dataclass(frozen=True)
class SummaryRow:
    """A stage in one line. `change` is that of quality against the first stage in percent: negative is worse."""

    stage: str
    parameters: float | None
    training_mib: float | None
    predicted_mib: float | None
    model_mb: float | None
    distance: Metric | None
    change: Interval | None
    is_baseline: bool


def summary_rows(report: Json) -> list[SummaryRow]:
    """A row for each stage, in the order in which they follow each other."""
    found = stages(report)
    compared = any(interval(stage, "change_percent") for stage in found.values())
    return [
        _summary_row(name, stage, is_baseline=compared and index == 0 and not interval(stage, "change_percent"))
        for index, (name, stage) in enumerate(found.items())
    ]


def _summary_row(name: str, stage: Json, is_baseline: bool) -> SummaryRow:
    training = table(stage, "training")
    distances = metrics(stage, "quality")
    return SummaryRow(
        stage=name,
        parameters=number(stage, "parameters"),
        training_mib=number(training, "peak_memory_mib"),
        predicted_mib=number(training, "predicted_memory_mib"),
        model_mb=number(stage, "model_mb"),
        distance=distances[0] if distances else None,
        change=Interval(0.0) if is_baseline else _as_quality(interval(stage, "change_percent")),
        is_baseline=is_baseline,
    )


def _as_quality(change: Interval | None) -> Interval | None:
    """report.json counts the distance, where more is worse; the base work prints quality, where less is worse."""
    if change is None:
        return None
    low, high = (None if bound is None else -bound for bound in (change.high, change.low))
    return Interval(-change.value, low, high)


def distance_name(rows: list[SummaryRow]) -> str:
    """The name of the metric that the rows' distances share; no name when they differ."""
    names = {short_metric_name(row.distance) for row in rows if row.distance}
    return names.pop() if len(names) == 1 else ""


def summary_table(report: Json) -> Table:
    """The summary of the base work: a line per stage with its memory, its size and its change of quality."""
    found = summary_rows(report)
    metric = distance_name(found)
    caption = f"Distance: {metric}. In brackets: 95 % interval." if metric else None
    printed = Table(caption=caption, caption_justify="left", **_layout("Summary"))
    printed.add_column("\nStage", no_wrap=True)
    headings = (
        "\nParameters",
        "Training\nMiB",
        "Model\nMB",
        "Distance\nto data",
        "Quality change\n(minus = worse)",
    )
    for heading in headings:
        printed.add_column(heading, justify="right", no_wrap=True)
    for row in found:
        distance = row.distance.interval if row.distance else None
        cells = [row.stage, count(row.parameters), figure(row.training_mib), figure(row.model_mb)]
        cells.append(_with_bounds(figure(distance.value), bounds(distance)) if distance else DASH)
        cells.append(_change_cell(row))
        printed.add_row(cell(cells[0]), *map(Text, cells[1:]))
    return printed


def _layout(title: str) -> dict[str, Any]:
    return {"title": title, "title_justify": "left", "title_style": "bold", "box": box.SIMPLE_HEAD, "pad_edge": False}


def _change_cell(row: SummaryRow) -> str:
    if row.is_baseline:
        return "0 (baseline)"
    if row.change is None:
        return DASH
    return _with_bounds(percent(row.change.value), bounds(row.change, as_percent=True))


def _with_bounds(value: str, spread: str) -> str:
    return f"{value}\n({spread})" if spread else value


def artifacts_table(report: Json) -> Table:
    """A line for each exported file: its size, how near it is to the network, what it costs to run."""
    printed = Table(**_layout("Artifacts"))
    printed.add_column("\nFile", overflow="fold", ratio=1)
    headings = ("\nMB", "PSNR\ndB", "Distance\nto data", "against\nfp32", "Latency\nms", "Memory\nMiB")
    for heading in headings:
        printed.add_column(heading, justify="right", no_wrap=True)
    for row in rows(report, "artifacts"):
        parity, latency = table(row, "parity"), table(row, "latency_ms")
        distances, change = metrics(row, "quality"), interval(row, "change_percent")
        cells = [words(row, "path") or DASH, figure(number(row, "model_mb")), figure(number(parity, "psnr_db"))]
        cells.append(figure(distances[0].interval.value) if distances else DASH)
        cells += [percent(change.value) if change else DASH, figure(number(latency, "p50"), digits=3)]
        cells.append(figure(number(row, "peak_memory_mib")))
        printed.add_row(cell(cells[0]), *map(Text, cells[1:]))
    return printed


def checks_table(report: Json) -> Table:
    """Every check and budget with what was measured, its limit and its verdict; below, why where it did not pass."""
    named = [(check.name, check) for check in checks(report)]
    named += [(f"budget: {check.name}", check) for check in budgets(report)]
    why = [printable(f"{name}: {check.reason}") for name, check in named if check.reason and check.status != PASSED]
    printed = Table(caption=Text("\n".join(why)) if why else None, caption_justify="left", **_layout("Checks"))
    printed.add_column("Check", overflow="fold", ratio=1)
    printed.add_column("Measured", justify="right", no_wrap=True)
    printed.add_column("Limit", justify="right", no_wrap=True)
    printed.add_column("Verdict", no_wrap=True, min_width=len("? not verified"))
    for name, check in named:
        printed.add_row(
            cell(name),
            cell(figure(check.measured, check.unit if check.measured is not None else "")),
            cell(
                DASH
                if check.limit is None
                else check.at + figure(check.limit, "" if check.measured is not None else check.unit)
            ),
            Text(check.verdict, style=STYLES.get(check.status, UNKNOWN_STYLE)),
        )
    return printed
