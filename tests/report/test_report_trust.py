"""Undecided checks, warnings, variety and memorisation: told plainly, on the page and in the terminal."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from test_report_page import Parsed

from ganlet.report import checks_table, closing_words, sentences, write_report
from ganlet.report.judgement import judge
from ganlet.report.plots import loss_plots

MakeRun = Callable[[dict[str, Any]], Path]


def text_of(run: Path) -> str:
    return Parsed(write_report(run).read_text(encoding="utf-8")).text


def test_an_undecided_run_neither_looks_passed_nor_failed(undecided: dict[str, Any], make_run: MakeRun) -> None:
    run = make_run(undecided)
    page = write_report(run).read_text(encoding="utf-8")
    text = Parsed(page).text
    assert '<header class="verdict undecided">' in page and "? Undecided in 1 of 5 checks" in text
    assert "? undecided fidelity of student 2,000 samples cannot tell a change of +12.0 %" in text
    assert "Undecided is no pass" in text and "exits with 1" in text
    assert "Passed all" not in text and "names no failed check" not in text


def test_the_terminal_tells_why_an_undecided_run_does_not_pass(
    undecided: dict[str, Any], passed: dict[str, Any], failed: dict[str, Any]
) -> None:
    stream = io.StringIO()
    Console(file=stream, width=80, force_terminal=False).print(checks_table(undecided))
    text = " ".join(stream.getvalue().split())
    assert "? undecided" in text and "cannot tell a change" in text
    told = "verdict: failed (nothing failed outright, but undecided is no pass: fidelity of student)"
    assert closing_words(undecided) == told
    assert closing_words(passed) == "verdict: passed" and closing_words(failed) == "verdict: failed"
    assert sentences(undecided, "warnings")[0].startswith("student: the spread")


def test_a_failed_check_counts_more_than_an_undecided_one(undecided: dict[str, Any]) -> None:
    undecided["budget"][1] |= {"status": "failed", "measured": 2.0}
    assert judge(undecided).state == "failed" and closing_words(undecided) == "verdict: failed"
    undecided["budget"][1]["status"] = "passed"
    for verdict in ("passed", None):  # nothing that a report says of itself makes an undecided check a pass
        assert judge(undecided | {"verdict": verdict}).state == "undecided"


def test_a_warning_stands_at_the_top_and_changes_no_verdict(passed: dict[str, Any], make_run: MakeRun) -> None:
    passed["warnings"] = ["student: it draws 70% of the classes <of> the data."]
    text = text_of(make_run(passed))
    assert "Passed all 5 checks" in text and "! warning student: it draws 70% of the classes <of> the data." in text
    assert text.index("! warning") < text.index("The same latents")


def test_variety_and_memorisation_are_told_in_words(undecided: dict[str, Any], make_run: MakeRun) -> None:
    run = make_run(undecided)
    for name in ("features", "neighbours"):
        (run / "samples" / f"{name}.png").write_bytes((run / "samples" / "data.png").read_bytes())
    text = text_of(run)
    start = text.index("Variety and memorisation")
    told = text[start : text.index("Progress of training", start)]
    assert "data 91.2 89.2 to 93.2 1 % 0.6 to 1.4" in told
    assert "student 55.2 53.2 to 57.2 \N{MINUS SIGN}31.0 %" in told
    assert "Classes covered" not in told  # nobody has them
    assert (
        "Memorisation in pixels: 6.1 % (95 % interval 4.9 to 7.3 %) of the samples are as near to one of 9,600" in told
    )
    assert "Features of data and generators" in told and "Nearest training pictures" in told
    assert "The generator of step 1,200 was kept, at a distance of 51.25 to the training pictures." in text
    assert "Training stopped early" in text


def test_without_held_out_pictures_memorisation_is_not_verified(passed: dict[str, Any], make_run: MakeRun) -> None:
    passed["memorisation"] = {"status": "not_verified", "reason": "No pictures are held out."}
    assert "Memorisation: No pictures are held out." in text_of(make_run(passed))


@pytest.mark.parametrize("wrong", [None, "text", 7, [3], {"x": None}, {"data": {"effective_rank": {"value": "x"}}}])
@pytest.mark.parametrize("key", ["variety", "memorisation", "warnings"])
def test_no_shape_of_these_values_breaks_the_page(passed: dict[str, Any], tmp_path: Path, key: str, wrong: Any) -> None:
    (tmp_path / "report.json").write_text(json.dumps(passed | {key: wrong}))
    assert "None" not in text_of(tmp_path)


def test_the_distance_while_training_is_drawn_apart_from_the_losses(run: Path) -> None:
    log = run / "student" / "metrics.jsonl"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines[::10]:
        line["distance_to_data"] = 400.0 - line["step"] / 10
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    plots = {plot.title: plot for plot in loss_plots(run / "student")}
    assert plots["distance to the training pictures"].series == ("distance to data",)
    assert "distance to data" not in plots["terms of the loss"].series
    assert plots["distance to the training pictures"].last_step == lines[::10][-1]["step"]
