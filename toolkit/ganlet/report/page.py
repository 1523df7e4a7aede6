"""RUN/report.html: one page that needs nothing but itself, to be read, printed or sent by mail."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from ganlet.device.not_verified import NOT_VERIFIED
from ganlet.errors import GanletError, printable
from ganlet.files import read_json, write_text
from ganlet.report import judgement, wording
from ganlet.report.classes import class_table
from ganlet.report.document import PAGE, Json, interval, metrics, number, read_report, rows, stages, table, words
from ganlet.report.freezing import freezing_rows, read_freezing
from ganlet.report.memory_page import memory_section
from ganlet.report.plots import DASHES, Plot, loss_plots
from ganlet.report.tables import distance_name, summary_rows
from ganlet.report.trust import memorisation_rows, variety_rows

SAMPLES = (
    ("teacher", "Teacher", "Pictures that the teacher draws."),
    ("transfer", "Transfer", "Pictures that the transferred teacher draws from the same latents."),
    ("student", "Student", "Pictures that the student draws from the same latents."),
    ("pruned", "Pruned", "Pictures that the pruned generator draws from the same latents."),
    ("quantized", "For int8", "Pictures that the generator trained for int8 draws in fp32 from the same latents."),
    ("generator.onnx", "Exported file", "Pictures that generator.onnx draws from the same latents."),
)
DATA = ("data", "Data", "Pictures of the training data, for comparison.")
TRUST = (
    (
        "features",
        "Features of data and generators",
        "Maps of picture features: where data have points and a generator has none, it draws no such pictures.",
    ),
    (
        "neighbours",
        "Nearest training pictures",
        "Samples of the exported file, each beside its three nearest training pictures in pixels and in features.",
    ),
)
STRIP_QUALITY = 85  # of WebP, of 100
LEAST_WIDTH = 2.0  # of a bar in percent: a tiny measurement still shows


@dataclass(frozen=True)
class Picture:
    """A picture inside the page, which the browser enlarges pixel by pixel."""

    title: str
    alt: str
    uri: str
    width_px: int
    height_px: int


@dataclass(frozen=True)
class StageLog:
    """What training left to look at of one stage."""

    name: str
    strip: Picture | None
    plots: tuple[Plot, ...]


@dataclass(frozen=True)
class Bar:
    """A budget drawn to scale, in percent of the width."""

    check: judgement.Check
    measured: float
    limit: float


def write_report(run: Path) -> Path:
    """Draw RUN/report.json and what lies beside it as RUN/report.html, atomically.

    Raises GanletError when report.json is missing or damaged; any other missing file only leaves its place empty.
    """
    report = read_report(run)
    page = run / PAGE
    write_text(page, render(run, report))
    return page


def render(run: Path, report: Json) -> str:
    """The page as text: the same bytes for the same files."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {name: getattr(wording, name) for name in ("figure", "count", "whole", "seconds", "percent")}
    templates.filters |= {name: getattr(wording, name) for name in ("bounds", "metric_name")}
    templates.filters["inline_svg"] = Markup  # only for what our plots drew: matplotlib escapes the text in them
    return templates.get_template("page.html").render(_context(run, report))


def _printable(value: Any) -> Any:
    """What the page shows of a value: text without characters that reorder or hide other text, on as many lines."""
    is_plain_text = isinstance(value, str) and not isinstance(value, Markup)
    return printable(value, keep_layout=True) if is_plain_text else value


def _context(run: Path, report: Json) -> dict[str, Any]:
    summary = summary_rows(report)
    shown = [*SAMPLES, *_variants(report), DATA]
    pictures = [_picture(run / "samples" / f"{name}.png", title, alt) for name, title, alt in shown]
    return {
        "run": words(report, "run") or run.name,
        "verdict": judgement.judge(report),
        "samples": [picture for picture in pictures if picture],
        "bars": [_bar(check) for check in judgement.budgets(report)],
        "checks": judgement.checks(report),
        "summary": summary,
        "distance_name": distance_name(summary),
        "trust": [p for p in (_picture(run / "samples" / f"{n}.png", t, a) for n, t, a in TRUST) if p],
        "variety": variety_rows(report),
        "memorisation": memorisation_rows(report),
        "classes": class_table(report),
        "evaluations": {name: _evaluation(stage) for name, stage in stages(report).items()},
        "stages": {name: _stage(stage) for name, stage in stages(report).items()},
        "logs": [_log(run, name, stage) for name, stage in stages(report).items()],
        "dashes": [" ".join(map(str, dashes)) for dashes in DASHES],
        "freezing": _freezing(run),
        "memory": memory_section(report),
        "artifacts": [_artifact(row, _manifest(run)) for row in rows(report, "artifacts")],
        "provenance": _provenance(report),
        "never_verified": NOT_VERIFIED,
        "recipe": _text(run / "recipe.toml"),
        "dash": wording.DASH,
    }


def _variants(report: Json) -> list[tuple[str, str, str]]:
    """The exported files besides generator.onnx, as SAMPLES lists pictures."""
    files = [(words(row, "path"), words(row, "precision")) for row in rows(report, "artifacts")]
    return [
        (path, f"Exported file, {precision}", f"Pictures that {path} draws from the same latents.")
        for path, precision in files
        if path not in ("", "generator.onnx") and Path(path).name == path
    ]


def _bar(check: judgement.Check) -> Bar:
    measured, limit = check.measured or 0.0, check.limit or 0.0
    full = max(measured, limit)
    share = 100 / full if full > 0 else 0.0
    return Bar(check, max(LEAST_WIDTH, measured * share) if measured > 0 else 0.0, limit * share)


def _stage(stage: Json) -> Json:
    """What the page tells of a stage beyond its line in the summary."""
    training = table(stage, "training")
    return {
        "family": words(stage, "family"),
        "run": words(stage, "run"),
        "steps": number(training, "steps"),
        "images": number(training, "images"),
        "seconds": number(training, "seconds"),
        "quality": metrics(stage, "quality"),
        "to_teacher": metrics(stage, "to_teacher"),
    }


def _freezing(run: Path) -> Json:
    """The search for frozen layers, where this run made one."""
    found = read_freezing(run)
    counts = {key: number(found, key) for key in ("images", "samples")}
    return {"rows": freezing_rows(found), "why": words(found, "why"), **counts}


def _evaluation(stage: Json) -> str:
    """What measuring the distance while training came to, in words; empty where nothing was measured."""
    found = table(table(stage, "training"), "evaluation")
    step, distance = number(found, "step"), number(found, "distance")
    if step is None or distance is None:
        return ""
    early = " Training stopped early, for it did not improve." if found.get("stopped_early") is True else ""
    kept = f"The generator of step {wording.whole(step)} was kept, at a distance of {wording.figure(distance)} to the"
    return f"{kept} training pictures.{early}"


def _artifact(row: Json, manifest: Json) -> Json:
    parity, path = table(row, "parity"), words(row, "path")
    latency = table(row, "latency_ms")
    status = judgement.status_of(parity)
    return {
        "path": path,
        "precision": words(row, "precision"),
        "model_mb": number(row, "model_mb"),
        "status": status,
        "parity": f"{judgement.MARKS[status]} {judgement.LABELS[status]}",
        "reason": words(parity, "reason"),
        "max_abs": number(parity, "max_abs"),
        "psnr_db": number(parity, "psnr_db"),
        "batches": {size: number(table(parity, "batches"), size) for size in table(parity, "batches")},
        "quality": metrics(row, "quality"),
        "change": interval(row, "change_percent"),
        "provider": words(row, "provider").removesuffix("ExecutionProvider"),
        "p50": number(latency, "p50"),
        "p95": number(latency, "p95"),
        "peak_memory_mib": number(row, "peak_memory_mib"),
        "sha256": words(table(table(manifest, "files"), path), "sha256"),
    }


def _provenance(report: Json) -> Json:
    found, reference = table(report, "provenance"), table(report, "reference")
    machine, credits = table(found, "machine"), found.get("credits")
    cores = number(machine, "cores")
    told = [words(machine, "processor"), f"{cores:.0f} cores" if cores else "", words(machine, "device")]
    return {
        "command": words(found, "command") or "ganlet run recipe.toml",
        "reference_kind": words(reference, "kind"),
        "reference_count": number(reference, "count"),
        "hashes": {
            "Comparison, SHA-256": words(reference, "sha256"),
            "Recipe, SHA-256": words(found, "recipe_sha256"),
            "Data, SHA-256": words(found, "data_sha256"),
        },
        "seed": number(found, "seed"),
        "machine": ", ".join(part for part in told if part),
        "versions": ", ".join(f"{name} {version}" for name, version in table(found, "versions").items()),
        "taken": _counts(table(table(report, "data"), "taken")),
        "passed_over": _counts(table(table(report, "data"), "passed_over")),
        "credits": [credit for credit in credits if isinstance(credit, str)] if isinstance(credits, list) else [],
    }


def _counts(numbers: Json) -> str:
    return ", ".join(f"{count:,} {kind}" for kind, count in numbers.items() if isinstance(count, int))


# ---------------------------------------------------------------- files beside report.json


def _log(run: Path, name: str, stage: Json) -> StageLog:
    folder = _stage_folder(run, name, words(stage, "run"))
    alt = f"Six fixed latents of the {name}, a row for each moment of training, from first to last."
    strip = _picture(folder / "progress" / "strip.png", name, alt, compressed=True)
    return StageLog(name, strip, tuple(loss_plots(folder, name)))


def _stage_folder(run: Path, name: str, elsewhere: str) -> Path:
    """Where a stage's logs lie: in this run, or for a teacher taken from another run, there (a run or a stage)."""
    places = [run / name, Path(elsewhere) / name, Path(elsewhere)] if elsewhere else []
    return next((place for place in places if place.is_dir()), run / name)


def _picture(path: Path, title: str, alt: str, compressed: bool = False) -> Picture | None:
    """The PNG at `path`, or None when there is none or it is damaged.

    Samples go in byte for byte; a strip, which only shows the way, may be `compressed` to a tenth of its size.
    """
    kind = "webp" if compressed else "png"
    try:
        content = path.read_bytes()
        with Image.open(path, formats=["PNG"]) as opened:
            width_px, height_px = opened.size
            opened.verify()
        if compressed:
            with Image.open(path, formats=["PNG"]) as opened:
                stream = io.BytesIO()
                opened.save(stream, "WEBP", quality=STRIP_QUALITY)
            content = stream.getvalue()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):  # Pillow's names for a damaged file
        return None
    uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Picture(title, alt, uri, width_px, height_px)


def _manifest(run: Path) -> Json:
    try:
        found = read_json(run / "manifest.json")
    except GanletError:  # the page then shows no hashes
        return {}
    return found if isinstance(found, dict) else {}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):  # the page then says that there is no recipe
        return ""
