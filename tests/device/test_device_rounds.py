"""The benchmark's child: its protocol, and what a round times."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ganlet.device import rounds
from ganlet.device.child import module_environment
from ganlet.device.rounds import matmul_call, runner_call, serve, timed_round
from ganlet.errors import GanletError


def told(make_ready: Any, *requests: dict[str, float]) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and answers of a child with these requests."""
    answers = io.StringIO()
    code = serve(make_ready, io.StringIO("".join(json.dumps(request) + "\n" for request in requests)), answers)
    return code, [json.loads(line) for line in answers.getvalue().splitlines()]


def test_every_request_gets_its_calls() -> None:
    calls: list[None] = []
    code, answers = told(
        lambda: (lambda: calls.append(None), {"provider": "fake"}),
        {"calls": 4, "seconds": 60},
        {"calls": 2, "seconds": 60},
    )
    assert code == 0 and answers[0] == {"ready": {"provider": "fake"}}
    assert [len(answer["latency_ms"]) for answer in answers[1:]] == [4, 2]
    assert len(calls) == 3 + (1 + 4) + (1 + 2)  # warm-up of the process and of each round


def test_a_round_times_its_calls_and_not_its_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    steps_s = iter([9.0, 0.010, 0.020, 0.030])
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: now_s[0])

    def call() -> None:
        now_s[0] += next(steps_s)

    assert timed_round(call, 3, 60.0) == pytest.approx([10, 20, 30])


@pytest.mark.parametrize(("seconds", "calls"), [(0.0, 3), (4.5, 5), (100.0, 8)])
def test_a_round_ends_in_time_but_not_before_three_calls(
    monkeypatch: pytest.MonkeyPatch, seconds: float, calls: int
) -> None:
    now_s = [0.0]
    monkeypatch.setattr(rounds.time, "perf_counter", lambda: now_s[0])

    def call() -> None:
        now_s[0] += 1.0

    assert len(timed_round(call, 8, seconds)) == calls


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (GanletError("No such runtime."), "No such runtime."),
        (RuntimeError("bad\nmore"), "failed with RuntimeError (bad)."),
    ],
)
def test_a_fault_is_the_last_answer(fault: Exception, words: str) -> None:
    def make_ready() -> Any:
        raise fault

    code, answers = told(make_ready, {"calls": 1, "seconds": 1})
    assert code == 2 and len(answers) == 1 and words in answers[0]["error"]


def test_a_generator_is_made_ready(generator: Path) -> None:
    call, ready = runner_call(generator, 2, "cpu", 1)
    pictures: Any = call()
    assert pictures.shape[0] == 2 and ready["provider"] == "CPUExecutionProvider" and ready["load_ms"] > 0
    assert ready["metadata"]["latent"] == "8"


def test_the_matrix_product_is_one() -> None:
    call, ready = matmul_call(16)
    product: Any = call()
    assert product.shape == (16, 16) and product.dtype == "float32" and ready["provider"].startswith("numpy")


def test_the_process_answers_in_lines_whatever_a_runtime_prints(generator: Path) -> None:
    code = (
        "import os, sys; from ganlet.device.rounds import own_output, serve\n"
        "call = lambda: os.write(1, b'noise of a runtime\\n')\n"
        "sys.exit(serve(lambda: (call, {}), sys.stdin, own_output()))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        input='{"calls": 3, "seconds": 1}\n',
        capture_output=True,
        text=True,
        check=True,
        env=module_environment(),
    )
    ready, answer = (json.loads(line) for line in child.stdout.splitlines())
    assert ready == {"ready": {}} and len(answer["latency_ms"]) == 3 and "noise" in child.stderr
