"""report.json is read whole or refused in one sentence; figures read as people write them."""

import json
from pathlib import Path
from typing import Any

import pytest

from ganlet.errors import GanletError
from ganlet.report import read_report
from ganlet.report.document import Interval, Metric, metrics, number
from ganlet.report.judgement import FAILED, NOT_VERIFIED, PARTIAL, PASSED, judge
from ganlet.report.wording import DASH, MINUS, bounds, count, figure, metric_name, percent, seconds


def test_a_report_is_read(run: Path) -> None:
    assert read_report(run)["run"] == "kittens-quick"


@pytest.mark.parametrize(
    "content",
    [None, "", "{", "[]", "3", '{"schema": 2}', '{"schema": true}', '{"run": "no schema"}', "\udcff"],
)
def test_a_missing_or_damaged_report_is_one_sentence_with_its_remedy(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "report.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(GanletError) as caught:
        read_report(tmp_path)
    told = str(caught.value)
    assert str(tmp_path / "report.json") in told and "expected" in told and f"`ganlet verify {tmp_path}`" in told
    assert "\n" not in told and told.endswith(".")


@pytest.mark.parametrize("value", [None, "7", True, [], {}, float("nan"), float("inf"), 10**400])
def test_what_is_no_finite_number_counts_as_missing(value: Any) -> None:
    assert number({"value": value}, "value") is None


def test_the_frechet_distance_comes_first() -> None:
    found = metrics(
        {"quality": {"kid_x_50": {"value": 1}, "fd_x_50": {"value": 2}, "other": {"value": None}}}, "quality"
    )
    assert [metric.key for metric in found] == ["fd_x_50", "kid_x_50"]


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (figure(None, "MB"), DASH),
        (figure(4.3, "MB"), "4.3 MB"),
        (figure(0), "0"),
        (figure(1e-7), f"1e{MINUS}7"),
        (figure(0.0004), "0.0004"),
        (figure(127.517), "127.5"),
        (figure(12345.6), "12,346"),
        (figure(-2.5), f"{MINUS}2.5"),
        (count(1_070_000), "1.07 M"),
        (count(43_210), "43.2 k"),
        (count(812), "812"),
        (count(None), DASH),
        (seconds(110.0), "1 min 50 s"),
        (seconds(7.25), "7.25 s"),
        (seconds(7265), "2 h 1 min"),
        (percent(-3.21), f"{MINUS}3.2 %"),
        (percent(-0.001), "0.0 %"),
        (bounds(Interval(1.0, 0.5, None)), ""),
        (metric_name(Metric("fid_inception_10k", Interval(1.0))), "FID (inception features, 10,000 samples)"),
        (metric_name(Metric("fd_lite0_1500", Interval(1.0))), "Fréchet distance (lite0 features, 1,500 samples)"),
        (metric_name(Metric("strange", Interval(1.0))), "strange"),
    ],
)
def test_figures_read_as_people_write_them(written: str, expected: str) -> None:
    assert written == expected


# ---------------------------------------------------------------- the verdict


def test_the_sentence_of_a_passed_run_names_what_it_rests_on(passed: dict[str, Any]) -> None:
    verdict = judge(passed)
    assert (verdict.state, verdict.headline) == (PASSED, "passed all 5 checks")
    assert verdict.basis == (
        "The student has 3.9\N{MULTIPLICATION SIGN} fewer parameters than its teacher; its distance to the data is "
        "3.2 % above that of the teacher (95 % interval +1.0 to +5.5 %, limit 15 %), measured on 2,000 samples "
        "against held-out pictures."
    )


def test_a_failed_run_says_which_checks_failed_and_by_how_much(failed: dict[str, Any]) -> None:
    verdict = judge(failed)
    assert (verdict.state, verdict.headline) == (FAILED, "failed 2 of 5 checks")
    assert [(check.name, check.by_how_much) for check in verdict.failed] == [
        ("fidelity of student", "21.4 % against a limit of 15 %: 6.4 points above"),
        ("budget: model", "2.25 MB against a limit of 1.5 MB: 0.75 MB (50 %) above"),
    ]


def test_the_verdict_is_never_better_than_its_parts(passed: dict[str, Any]) -> None:
    failing = json.loads(json.dumps(passed))
    failing["artifacts"][0]["parity"]["status"] = "failed"
    del failing["checks"][1]
    assert judge(failing).state == FAILED
    assert judge(passed | {"verdict": "failed"}).state == FAILED
    assert judge(passed | {"verdict": None}).state == NOT_VERIFIED
    assert judge(passed | {"checks": [], "budget": [], "artifacts": []}).state == NOT_VERIFIED
    passed["checks"][1]["status"] = "not_verified"
    assert judge(passed).state == PARTIAL
    assert judge(passed).headline == "passed in part, 1 check not verified"


def test_a_budget_without_a_measured_value_has_not_passed(bare: dict[str, Any]) -> None:
    bare["verdict"] = "passed"
    verdict = judge(bare)
    assert verdict.state == NOT_VERIFIED
    assert [check.name for check in verdict.not_verified] == [
        "fidelity of student",
        "parity of generator.onnx",
        "budget: model",
    ]


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (1_070_000, "as many parameters as"),
        (2_140_000, "2\N{MULTIPLICATION SIGN} more parameters than"),
        (None, "without"),
    ],
)
def test_a_student_that_is_not_smaller_is_not_called_smaller(
    passed: dict[str, Any], parameters: int | None, expected: str
) -> None:
    passed["stages"]["student"]["parameters"] = parameters
    assert expected in judge(passed).basis and "fewer" not in judge(passed).basis
