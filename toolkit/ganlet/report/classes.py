"""What a report says of each class of a conditional generator, as rows of words for the page."""

from dataclasses import dataclass

from ganlet.report.document import Interval, Json, interval, metrics, number, rows, stages, table, words
from ganlet.report.wording import bounds, figure

MOST_CLASSES = 100  # that have a row


@dataclass(frozen=True)
class ClassTable:
    """`headings` are the generators; a row is (class, a cell of each: agreement, its interval, distance)."""

    headings: list[str]
    rows: list[tuple[str, list[tuple[str, str, str]]]]
    note: str


def class_table(report: Json) -> ClassTable | None:
    """Agreement with the label and distance by class; None for a report without classes."""
    subjects = {name: row for name, row in stages(report).items() if table(row, "per_class")}
    subjects |= {words(row, "path"): row for row in rows(report, "artifacts") if table(row, "per_class")}
    if not subjects:
        return None
    names = list(dict.fromkeys(name for row in subjects.values() for name in table(row, "per_class")))
    found = [("all", [_agreement(table(row, "agreement")) for row in subjects.values()])]
    found += [
        (name, [_cell(table(table(row, "per_class"), name)) for row in subjects.values()])
        for name in names[:MOST_CLASSES]
    ]
    return ClassTable(list(subjects), found, _note(table(report, "classifier"), len(names)))


def _cell(one: Json) -> tuple[str, str, str]:
    distance = next(iter(metrics(one, "quality")), None)
    value = "" if distance is None else f"distance {figure(distance.interval.value, digits=3)}"
    return (*_agreement(table(one, "agreement"))[:2], value)


def _agreement(share: Json) -> tuple[str, str, str]:
    known = interval({"share": share}, "share")
    if known is None:
        return "", "", ""
    low, high = (None if bound is None else float(f"{100 * bound:.3g}") for bound in (known.low, known.high))
    return figure(100 * known.value, "%", digits=3), bounds(Interval(0, low, high)), ""


def _note(classifier: Json, classes: int) -> str:
    accuracy, learnt = interval(classifier, "accuracy"), number(classifier, "learnt")
    told = "How many of the pictures that a generator was asked for by a label are of that class"
    if accuracy is not None and learnt is not None:
        told += (
            f", by a {words(classifier, 'what')} that learnt {learnt:,.0f} training pictures and is right on "
            f"{100 * accuracy.value:.3g} % of real ones that it did not learn"
        )
    told += ". Small figures are 95 % intervals and the distance to the data's pictures of the class, where there are "
    told += "enough on both sides; distances of few pictures are larger than those of many."
    return told if classes <= MOST_CLASSES else f"{told} The first {MOST_CLASSES} of {classes} classes."
