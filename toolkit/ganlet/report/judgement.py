"""What a report says in one word and one sentence, and which checks it rests on.

The verdict of report.json is never made better here: a failed check makes the page a failed one, and what is undecided
or what nobody checked does not pass.
"""

from dataclasses import dataclass, replace

from ganlet.report.document import Json, interval, metrics, number, rows, sentences, stages, table, words
from ganlet.report.wording import MOST_PERCENT, TIMES, bounds, figure

PASSED, FAILED, UNDECIDED, NOT_VERIFIED, PARTIAL = "passed", "failed", "undecided", "not_verified", "partial"
MARKS = {PASSED: "✓", FAILED: "✗", UNDECIDED: "?", NOT_VERIFIED: "?", PARTIAL: "?"}
LABELS = {
    PASSED: "passed",
    FAILED: "failed",
    UNDECIDED: "undecided",
    NOT_VERIFIED: "not verified",
    PARTIAL: "passed in part",
}


@dataclass(frozen=True)
class Check:
    """One thing that was checked, or could not be."""

    name: str
    status: str
    measured: float | None
    limit: float | None
    unit: str
    reason: str
    is_least: bool = False
    """Whether the figure has to be at least the limit; at most it otherwise."""

    @property
    def at(self) -> str:
        """ "≥ " or "≤ ", which stands before the limit."""
        return "≥ " if self.is_least else "≤ "

    @property
    def verdict(self) -> str:
        """Mark and word: the word is there for whoever cannot see the colour or the mark."""
        return f"{MARKS[self.status]} {LABELS[self.status]}"

    @property
    def by_how_much(self) -> str:
        """The distance between the measured value and the limit, in words; empty when one of them is unknown."""
        if self.measured is None or self.limit is None:
            return ""
        gap = self.measured - self.limit
        relative = f" ({abs(gap / self.limit):.0%})".replace("%", " %") if self.limit and self.unit != "%" else ""
        distance = figure(abs(gap), "points" if self.unit == "%" else self.unit)
        side = "above" if gap > 0 else "below"
        measured, limit = figure(self.measured, self.unit), figure(self.limit, self.unit)
        return f"{measured} against a limit of {limit}: {distance}{relative} {side}"


@dataclass(frozen=True)
class Verdict:
    """The verdict of a whole report. `state` is one of PASSED, FAILED, UNDECIDED, PARTIAL, NOT_VERIFIED."""

    state: str
    headline: str
    basis: str
    failed: tuple[Check, ...]
    undecided: tuple[Check, ...]
    not_verified: tuple[Check, ...]
    warnings: tuple[str, ...]

    @property
    def mark(self) -> str:
        return MARKS[self.state]


def status_of(row: Json) -> str:
    """The status of a row; whatever is no known word counts as not verified."""
    status = row.get("status")
    return status if status in (PASSED, FAILED, UNDECIDED) else NOT_VERIFIED


def checks(report: Json) -> list[Check]:
    """The checks of a report, and the parity of each artifact that no check names."""
    listed = [_check(row) for row in rows(report, "checks")]
    for artifact in rows(report, "artifacts"):
        path, parity = words(artifact, "path"), table(artifact, "parity")
        names = {f"parity of {path}", f"PSNR of {path}"}
        if not any(check.name in names for check in listed):
            reason = words(parity, "reason")
            listed.append(Check(f"parity of {path}", status_of(parity), number(parity, "max_abs"), None, "", reason))
    return listed


def budgets(report: Json) -> list[Check]:
    """The budgets of a report. One without a measured value has not passed, whatever it says."""
    listed = []
    for row in rows(report, "budget"):
        status = status_of(row)
        if status == PASSED and number(row, "measured") is None:
            status = NOT_VERIFIED
        listed.append(_check(row, status))
    return listed


def _check(row: Json, status: str | None = None) -> Check:
    name = words(row, "name") or "unnamed check"
    measured, limit = number(row, "measured"), number(row, "limit")
    least = words(row, "limit_is") == "least" or name.startswith("PSNR ")  # a report of before has no such key
    status = status or status_of(row)
    return Check(name, status, measured, limit, words(row, "unit"), words(row, "reason"), least)


def judge(report: Json) -> Verdict:
    """The verdict of a report with the sentence it rests on."""
    everything = checks(report) + [replace(check, name=f"budget: {check.name}") for check in budgets(report)]
    failed = tuple(check for check in everything if check.status == FAILED)
    undecided = tuple(check for check in everything if check.status == UNDECIDED)
    unknown = tuple(check for check in everything if check.status == NOT_VERIFIED)
    passed = len(everything) - len(failed) - len(undecided) - len(unknown)
    if failed:
        state, headline = FAILED, f"failed {len(failed)} of {_several(len(everything), 'check')}"
    elif undecided:
        state, headline = UNDECIDED, f"undecided in {len(undecided)} of {_several(len(everything), 'check')}"
    elif report.get("verdict") == FAILED:
        state, headline = FAILED, "failed"
    elif report.get("verdict") != PASSED or not passed:
        state, headline = NOT_VERIFIED, "not verified"
    elif unknown:
        state, headline = PARTIAL, f"passed in part, {_several(len(unknown), 'check')} not verified"
    else:
        state, headline = PASSED, f"passed all {_several(passed, 'check')}" if passed > 1 else "passed"
    finding, warnings = words(report, "finding"), len(sentences(report, "warnings"))
    if finding and state in (FAILED, UNDECIDED):
        headline = f"{state}: {finding}"
    elif warnings and state in (PASSED, PARTIAL):
        headline += f", with {_several(warnings, 'warning')}"
    return Verdict(state, headline, basis(report), failed, undecided, unknown, tuple(sentences(report, "warnings")))


def opening_lines(report: Json) -> list[str]:
    """What the terminal shows first: the verdict in one line, then every warning."""
    return [f"verdict: {judge(report).headline}", *(f"warning: {text}" for text in sentences(report, "warnings"))]


def closing_words(report: Json) -> str:
    """The verdict of report.json for the terminal's last line, with what failed or why it is undecided."""
    verdict, finding = judge(report), words(report, "finding")
    last_line = f"verdict: {report.get('verdict')}"
    if finding and verdict.state in (FAILED, UNDECIDED):
        last_line += f", {finding}"
    if verdict.state == UNDECIDED:
        names = ", ".join(check.name for check in verdict.undecided)
        last_line += f" (nothing failed outright, but undecided is no pass: {names})"
    return last_line


def _several(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


# ---------------------------------------------------------------- the sentence


def basis(report: Json) -> str:
    """One sentence: how much smaller the last stage is than the first, how far its quality fell, how that is known."""
    found = stages(report)
    if not found:
        return "No trained stage is described in report.json."
    first, last = next(iter(found)), list(found)[-1]
    if first == last:
        return f"The {first} is the only stage of this run, so there is nothing to compare it with."
    ratio = _ratio(number(found[first], "parameters"), number(found[last], "parameters"))
    size = f"The {last} has {ratio} its {first}; its " if ratio else f"The {last} is described without its size; its "
    return f"{size}{_quality(report, last, first)}."


def _ratio(first: float | None, last: float | None) -> str:
    if not first or not last:
        return ""
    if first == last:
        return "as many parameters as"
    many, few, word = (first, last, "fewer") if first > last else (last, first, "more")
    return f"{figure(many / few, digits=2)}{TIMES} {word} parameters than"


def _quality(report: Json, last: str, first: str) -> str:
    stage = stages(report)[last]
    change, distances = interval(stage, "change_percent"), metrics(stage, "quality")
    if change is None:
        return f"quality against the {first} is not verified"
    side = "above" if change.value >= 0 else "below"
    fidelity = next((row for row in rows(report, "checks") if "fidelity" in words(row, "name")), {})
    limit, spread = number(fidelity, "limit"), bounds(change, as_percent=True)
    details = [f"95 % interval {spread} %"] * bool(spread)
    details += [f"limit {figure(limit, '%')}"] if limit is not None else []
    known = f" ({', '.join(details)})" if details else ""
    samples = distances[0].parts[2] if distances else None
    measured = f", measured on {samples:,} samples" if samples else ""
    kind = words(table(report, "reference"), "kind")
    against = f" against {kind}" if measured and kind else ""
    amount = f"{abs(change.value):.1f} % {side} that"
    if change.value >= MOST_PERCENT:
        amount = f"{1 + change.value / 100:,.0f} times that"
    return f"distance to the data is {amount} of the {first}{known}{measured}{against}"
