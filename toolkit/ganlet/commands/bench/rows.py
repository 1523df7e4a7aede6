"""The rows of a benchmark's document, of what its children told."""

from collections.abc import Sequence
from typing import Any

from ganlet.commands.bench.course import Course
from ganlet.commands.bench.plan import MATMUL_SIDE, Subject
from ganlet.device.ratios import percentile, rate_ratio
from ganlet.errors import GanletError
from ganlet.export.flop import METADATA_KEY, flop_per_picture
from ganlet.files import MB

Document = dict[str, Any]


def row_of(subject: Subject, course: Course, peak_gflops: float | None) -> Document:
    """One row of the document. Pictures per second are those at the median latency."""
    row: Document = {
        "artefact": subject.name,
        "path": str(subject.path),
        "runtime": subject.runtime,
        "provider": course.ready.get("provider"),
        "batch": subject.batch,
        "status": "not_measured" if course.reason else "measured",
        "reason": course.reason,
        "file_mb": subject.file_bytes / MB,
    }
    if course.reason:
        return row
    flop, source = count_flop(subject, course.ready.get("metadata", {}))
    p50_ms = percentile(course.latency_ms, 50)
    percent = None
    if flop is not None and peak_gflops is not None:
        percent = 100 * flop * subject.batch / (p50_ms * 1e6) / peak_gflops
    return row | {
        "calls": len(course.latency_ms),
        "latency_ms": {"p50": p50_ms, "p95": percentile(course.latency_ms, 95)},
        "round_p50_ms": [percentile(calls, 50) for calls in course.rounds],
        "pictures_per_second": subject.batch * 1e3 / p50_ms,
        "peak_memory_mib": course.peak_memory_mib,
        "load_ms": course.ready["load_ms"],
        "flop_per_picture": flop,
        "flop_source": source,
        "percent_of_matmul_peak": percent,
    }


def count_flop(subject: Subject, metadata: dict[str, str]) -> tuple[int | None, str]:
    """Operations a picture and where the figure comes from, or None and why there is none."""
    stored = metadata.get(METADATA_KEY, "")
    if stored.isdecimal():
        return int(stored), "torch" if subject.path.is_dir() else "stored in the file"
    folder = subject.path.parent
    beside = [folder / "generator.onnx", folder.parent / "generator.onnx"]  # what engines were made of
    candidates = [subject.path] if subject.path.suffix.lower() == ".onnx" else [p for p in beside if p.is_file()]
    if not candidates:
        return None, "the file does not tell, and no generator.onnx lies beside it"
    try:
        import onnx
    except ImportError:
        return None, f"{candidates[0].name} does not tell, and the onnx package is not installed to count them"
    try:
        return flop_per_picture(onnx.load(candidates[0])), f"counted from {candidates[0].name}"
    except GanletError as error:
        return None, str(error)


def matmul_peak(products: Sequence[Course]) -> Document:
    """The better of the libraries' float32 matrix products, at their median time; None where none could be measured."""
    flop = 2 * MATMUL_SIDE**3
    found = {c.ready["provider"]: flop / (percentile(c.latency_ms, 50) * 1e6) for c in products if not c.reason}
    best = max(found, key=lambda name: found[name], default=None)
    reasons = [course.reason for course in products if course.reason]
    return {
        "gflops": None if best is None else found[best],
        "by": best,
        "all": found,
        "side": MATMUL_SIDE,
        "reason": " ".join(reasons),
    }


def add_ratio(row: Document, course: Course, rows: Sequence[Document], courses: Sequence[Course]) -> None:
    """The pictures per second against those of the first row of the same batch that could be measured."""
    if course.reason:
        return
    same = (c for r, c in zip(rows, courses, strict=True) if r["batch"] == row["batch"] and not c.reason)
    base = next(same)
    row["ratio"] = rate_ratio(course.rounds, base.rounds).as_json() | {"to": base.label}
