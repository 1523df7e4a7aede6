"""The benchmark itself: children that are made ready one after the other, then timed round by round."""

import os
import platform
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ganlet.artifact import versions
from ganlet.commands.bench.child import Child
from ganlet.commands.bench.compare import compared, pairs_of
from ganlet.commands.bench.course import Answering, Course, Start
from ganlet.commands.bench.plan import Settings, Subject, matmul_commands, subjects_of
from ganlet.commands.bench.rows import Document, add_ratio, matmul_peak, row_of
from ganlet.limits import quota_threads
from ganlet.observer import Observer, Update

BUSY = 0.5  # load a core, above which figures of this machine are not worth much


def bench(
    sources: Sequence[Path],
    settings: Settings,
    observer: Observer,
    pair: tuple[str, str] | None = None,
    start: Start | None = None,
) -> Document:
    """Measure `sources` (see `subjects_of`); `pair` are two of their names to be compared, B with A.

    Returns the document that `ganlet bench --json` prints. A row that could not be measured says why; `start` replaces
    the children's start in tests. Raises GanletError for bad input, before anything is started.
    """
    return measure_subjects(subjects_of(sources, settings), settings, observer, pair, start)


def measure_subjects(
    subjects: Sequence[Subject],
    settings: Settings,
    observer: Observer,
    pair: tuple[str, str] | None = None,
    start: Start | None = None,
) -> Document:
    """The same of rows already chosen."""
    pairs = [] if pair is None else pairs_of(subjects, *pair)
    courses = [Course(s.label, s.command) for s in subjects]
    products = [Course("matrix product", command) for command in matmul_commands(settings.threads)]
    machine = describe_machine()
    if machine["busy"]:
        observer.say(f"bench: this machine is busy (load {machine['load']:.1f}): trust ratios, not milliseconds")
    with observer.watch("bench", "rounds") as update:
        run_rounds([*courses, *products], settings, start or partial(_start, settings.threads), update)
    peak = matmul_peak(products)
    rows = [row_of(s, course, peak["gflops"]) for s, course in zip(subjects, courses, strict=True)]
    for row, course in zip(rows, courses, strict=True):
        add_ratio(row, course, rows, courses)
    document: Document = {
        "schema": 1,
        "machine": machine,
        "threads": settings.threads,
        "runs": settings.runs,
        "rounds": settings.rounds,
        "matmul_peak": peak,
        "rows": rows,
    }
    if pair is not None:
        document["compare"] = compared(pair, [(courses[a], courses[b], subjects[a].batch) for a, b in pairs])
    # Some rows may fail; but something must have been measured, and what was to be compared.
    some = any(row["status"] == "measured" for row in rows)
    document["complete"] = some and document.get("compare", {}).get("status") != "not_measured"
    return document


def run_rounds(courses: Sequence[Course], settings: Settings, start: Start, update: Update) -> None:
    """Make all ready, then time A B C, A B C, ...: what the machine does meanwhile hits all alike.

    A child that fails is left out from then on. All of them are ended at last, also after an interruption.
    """
    in_all = (settings.rounds + 1) * len(courses)
    done = 0
    try:
        for number in range(settings.rounds + 1):
            for course in courses:
                course.attempt(partial(course.round, settings) if number else partial(course.open, start))
                done += 1
                update(done, in_all)
    finally:
        for course in courses:
            course.close()


def describe_machine() -> Document:
    """Processor, cores, load of the last minute (None on Windows), versions."""
    cores = os.cpu_count() or 1
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores,
        "load": load,
        "busy": load is not None and load > BUSY * cores,
        "versions": versions(),
    }


def _start(threads: int | None, command: Sequence[str]) -> Answering:
    return Child(list(command), quota_threads() if threads is None else threads)
