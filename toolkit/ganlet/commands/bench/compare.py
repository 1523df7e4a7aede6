"""`ganlet bench --compare A B`: one sentence."""

from collections.abc import Sequence
from typing import Any

from ganlet.commands.bench.course import Course
from ganlet.commands.bench.plan import Subject
from ganlet.device.ratios import rate_ratio
from ganlet.errors import GanletError

Document = dict[str, Any]


def pairs_of(subjects: Sequence[Subject], a: str, b: str) -> list[tuple[int, int]]:
    """Positions of the rows of A and of B, a pair for each batch. Raises GanletError unless each is one row a batch."""
    of_batch: dict[int, list[int]] = {}
    for name in (a, b):
        hits = [i for i, s in enumerate(subjects) if name in (s.name, str(s.path), s.label)]
        if not hits:
            known = ", ".join(dict.fromkeys(s.label for s in subjects))
            raise GanletError(f"--compare got {name!r}, which is not measured here; expected two of {known}.")
        if len({subjects[i].runtime for i in hits}) > 1:
            words = ", ".join(dict.fromkeys(subjects[i].label for i in hits))
            raise GanletError(f"--compare got {name!r}, which is measured on several runtimes; name one of {words}.")
        for i in hits:
            of_batch.setdefault(subjects[i].batch, []).append(i)
    return [(rows[0], rows[1]) for rows in of_batch.values()]


def compared(pair: tuple[str, str], courses: Sequence[tuple[Course, Course, int]]) -> Document:
    """B against A at every batch, and the one sentence that says it."""
    a, b = pair
    failed = [(course, batch) for *both, batch in courses for course in both if course.reason]
    if failed:
        course, batch = failed[0]
        return {
            "a": a,
            "b": b,
            "status": "not_measured",
            "sentence": f"{b} was not compared with {a}: {course.label} failed at batch {batch}. {course.reason}",
        }
    ratios = {batch: rate_ratio(second.rounds, first.rounds) for first, second, batch in courses}
    said = [f"{ratio} at batch {batch}" for batch, ratio in ratios.items()]
    first_batch, *others = said
    at, where = first_batch.rsplit(" at ", 1)
    sentence = f"{b} draws {at} the pictures per second of {a} at {where}" + "".join(f", {more}" for more in others)
    return {
        "a": a,
        "b": b,
        "status": "measured",
        "ratios": {str(batch): ratio.as_json() for batch, ratio in ratios.items()},
        "sentence": sentence + ".",
    }
