"""The two tables fit a terminal of 80 columns and lose no figure there."""

import io
from typing import Any

from rich.console import Console
from rich.table import Table

from ganlet.report import artifacts_table, checks_table, summary_table
from ganlet.report.tables import summary_rows

MINUS = "\N{MINUS SIGN}"


def printed(table: Table, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width, force_terminal=False).print(table)
    text = stream.getvalue()
    assert max(map(len, text.splitlines())) <= width
    return text


def test_the_summary_has_the_shape_of_the_base_work(passed: dict[str, Any]) -> None:
    text = printed(summary_table(passed))
    teacher, student = (next(line for line in text.splitlines() if name in line) for name in ("teacher", "student"))
    assert teacher.split() == ["teacher", "1.07", "M", "36.1", "4.3", "41.27", "0", "(baseline)"]
    assert student.split() == ["student", "274", "k", "21.9", "1.1", "42.59", f"{MINUS}3.2", "%"]
    assert "(41.09 to 44.09)" in text and f"({MINUS}5.5 to {MINUS}1.0)" in text  # the sign turns the interval round
    assert "minus = worse" in text and "FD lite0, 2,000 samples" in text and "…" not in text


def test_every_check_and_budget_has_a_mark_and_a_word(failed: dict[str, Any], bare: dict[str, Any]) -> None:
    text = printed(checks_table(failed))
    table, below = text.split("fidelity of student: ")  # a reason stands below, after the name of its check
    lines = {
        name: line for name in ("fidelity", "parity", "budget: model") for line in table.splitlines() if name in line
    }
    assert lines["fidelity"].split()[-6:] == ["21.4", "%", "≤", "15", "✗", "failed"]
    assert lines["parity"].split()[-2:] == ["✓", "passed"]
    assert "2.25" in lines["budget: model"] and "✗ failed" in lines["budget: model"]
    assert "rose by 21.4 %" in below and "…" not in text
    bare_text = printed(checks_table(bare))
    assert bare_text.count("? not verified") == 3 and "passed" not in bare_text


def test_a_least_is_told_apart_from_a_most(passed: dict[str, Any]) -> None:
    passed["checks"] = [
        {"name": "variety of teacher", "status": "passed", "measured": 77.0, "limit": 10.0, "unit": "%", "reason": ""}
        | {"limit_is": "least"},
        {"name": "PSNR of a file of before", "status": "passed", "measured": 40.0, "limit": 38.0, "unit": "dB"},
        {"name": "distance of teacher", "status": "passed", "measured": 1.0, "limit": 5.0, "unit": "", "reason": ""},
    ]
    text = printed(checks_table(passed))
    assert "≥ 10" in text and "≥ 38" in text and "≤ 5" in text


def test_missing_figures_are_dashes_and_nobody_is_the_baseline(bare: dict[str, Any]) -> None:
    text = printed(summary_table(bare))
    assert "baseline" not in text and "\N{EN DASH}" in text and "None" not in text
    assert printed(summary_table({"schema": 1})) and printed(checks_table({"schema": 1}))


def test_long_names_and_markup_stay_what_they_are(passed: dict[str, Any]) -> None:
    passed["checks"][0]["name"] = "[red]" + "a long name " * 12
    passed["stages"]["transfer"] = passed["stages"].pop("student")
    text = printed(checks_table(passed))
    assert "[red]a long" in text and "✓ passed" in text and "3.2 %" in text
    assert [row.stage for row in summary_rows(passed)] == ["teacher", "transfer"]


def test_every_artifact_has_a_line(quantised: dict[str, Any], bare: dict[str, Any]) -> None:
    text = printed(artifacts_table(quantised))
    plain, int8 = (next(line for line in text.splitlines() if name in line) for name in ("or.onnx", "int8.onnx"))
    assert plain.split() == ["generator.onnx", "1.12", "141.3", "42.58", "\N{EN DASH}", "1.23", "121.7"]
    assert int8.split() == ["generator.int8.onnx", "0.29", "40.7", "42.91", "+0.8", "%", "0.71", "121.7"]
    assert "…" not in text and "None" not in printed(artifacts_table(bare))


def test_names_in_tables_steer_no_terminal(passed: dict[str, Any]) -> None:
    attack = "\x1b[2J\n[red]\u202e"
    passed["checks"][0] |= {"name": attack, "reason": attack, "unit": attack, "status": "failed"}
    passed["artifacts"][0]["path"] = attack
    text = printed(checks_table(passed), 200) + printed(artifacts_table(passed), 200)
    assert "\x1b" not in text and "\u202e" not in text
    assert text.count("\\x1b[2J\\n[red]\\u202e") >= 3
