"""Reading report.json. Any value may be missing there (not verified yet), so every access goes through this module."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganlet.artifact import STAGES
from ganlet.errors import GanletError
from ganlet.files import read_json

SCHEMA = 1
REPORT = "report.json"
PAGE = "report.html"
BEYOND = 1e30  # no figure of a run is as large; it and infinity and NaN count as missing

Json = dict[str, Any]


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval; the bounds are None where they were not computed."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Metric:
    """A distance of a report: its key names metric, feature net and number of pictures."""

    key: str
    interval: Interval

    @property
    def parts(self) -> tuple[str, str, int | None]:
        """`fd_lite0_2k` -> ("fd", "lite0", 2000); a key of another form is ("KEY", "", None)."""
        found = re.fullmatch(r"([a-z]+)_(\w+)_(\d+)(k?)", self.key)
        if not found:
            return self.key, "", None
        return found[1], found[2], int(found[3]) * (1000 if found[4] else 1)


def is_current(run: Path) -> bool:
    """Whether RUN/report.html is there and nothing that it shows, nor what draws it, was written after it."""
    page = run / PAGE
    if not page.is_file():
        return False
    shown = [run / name for name in ("report.json", "recipe.toml", "manifest.json")]
    shown += [*run.glob("samples/*"), *run.glob("*/*.json"), *run.glob("*/*.jsonl"), *run.glob("*/progress/*")]
    shown += Path(__file__).parent.iterdir()
    written = page.stat().st_mtime_ns
    return all(path.stat().st_mtime_ns <= written for path in shown if path.is_file())


def remedy_of_file(path: Path) -> str:
    """What to give instead of a file."""
    if path.suffix.lower() == ".toml":
        return f"make the run of that recipe with `ganlet run {path}`"
    return f"give its folder, {path.parent}"


def read_report(run: Path) -> Json:
    """RUN/report.json. Raises GanletError when it is missing, damaged or of another schema."""
    path = run / REPORT
    remedy = f"make it with `ganlet verify {run}`"
    if not path.is_file():
        if run.exists() and not run.is_dir():
            raise GanletError(f"{run} is a file, expected the folder of a verified run; {remedy_of_file(run)}.")
        raise GanletError(f"{path} does not exist, expected the report of a verified run; {remedy}.")
    try:
        report = read_json(path)
    except GanletError as error:
        raise GanletError(f"{path} is not readable JSON, expected a report of schema {SCHEMA}; {remedy}.") from error
    if not isinstance(report, dict):
        raise GanletError(f"{path} holds no JSON object, expected a report of schema {SCHEMA}; {remedy}.")
    if report.get("schema") != SCHEMA or isinstance(report["schema"], bool):
        got = repr(report.get("schema"))[:40]
        raise GanletError(f"{path} has the schema {got}, expected {SCHEMA}; {remedy}.")
    return report


def table(parent: Json, key: str) -> Json:
    """The object at `key`; empty when there is none."""
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def rows(parent: Json, key: str) -> list[Json]:
    """The objects of the list at `key`; empty when there is none."""
    value = parent.get(key)
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []


def words(parent: Json, key: str) -> str:
    """The text at `key`; empty when there is none."""
    value = parent.get(key)
    return value.strip() if isinstance(value, str) else ""


def sentences(parent: Json, key: str) -> list[str]:
    """The texts of the list at `key`; empty when there is none."""
    value = parent.get(key)
    return [text.strip() for text in value if isinstance(text, str)] if isinstance(value, list) else []


def number(parent: Json, key: str) -> float | None:
    """The finite number at `key`, or None."""
    value = parent.get(key)
    known = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < BEYOND
    return value if known else None


def interval(parent: Json, key: str) -> Interval | None:
    """The value at `key` with its bounds, or None."""
    found = table(parent, key)
    value = number(found, "value")
    return None if value is None else Interval(value, number(found, "low"), number(found, "high"))


def metrics(parent: Json, key: str) -> list[Metric]:
    """The distances at `key` that have a value, the Frechet distance first: it is the one that checks rest on."""
    found = table(parent, key)
    measured = [Metric(name, known) for name in found if (known := interval(found, name)) is not None]
    return sorted(measured, key=lambda metric: not metric.key.startswith(("fd_", "fid_")))


def stages(report: Json) -> dict[str, Json]:
    """The stages of a report in the order in which they follow each other."""
    found = table(report, "stages")
    return {name: found[name] for name in STAGES if isinstance(found.get(name), dict)}
