"""`ganlet bench`: what it measures, in which order, and what it says. Only two tests start real children."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from ganlet.artifact import CONFIG
from ganlet.commands.bench import Settings, bench, notes, parse_batches, rows_table
from ganlet.commands.bench.child import Child
from ganlet.commands.bench.plan import MATMUL_SIDE, subjects_of
from ganlet.commands.bench.rows import count_flop
from ganlet.device.ratios import median_interval, percentile, rate_ratio
from ganlet.errors import GanletError
from support import Answer, Silent, expect_refused

KITTENS = Path(__file__).parents[2] / "exported" / "kittens" / "generator.onnx"


class FakeChild:
    """A child whose calls take `ms` each, that dies in round `dies`; `log` is shared by all."""

    def __init__(self, name: str, log: list[str], ms: Callable[[int], float], dies: int | None, **ready: Any) -> None:
        self.name, self.log, self.ms, self.dies, self.told = name, log, ms, dies, ready
        self.number = 0

    def ready(self) -> dict[str, Any]:
        self.log.append(f"open {self.name}")
        if self.dies == 0:
            raise GanletError("No such runtime.")
        return {"provider": "fake", "load_ms": 5.0} | self.told

    def round(self, calls: int, seconds: float) -> dict[str, Any]:
        self.number += 1
        self.log.append(self.name)
        if self.dies == self.number:
            raise GanletError("Its process was ended by SIGKILL.")
        return {"latency_ms": [self.ms(self.number)] * calls, "peak_memory_mib": 50.0 + self.number}

    def close(self) -> None:
        self.log.append(f"close {self.name}")


class Children:
    """Starts fake children; how long their calls take is told by the artifact's name."""

    def __init__(self, dies: dict[str, int] | None = None, **ms: Callable[[int], float]) -> None:
        self.log: list[str] = []
        self.dies, self.ms = dies or {}, {"matmul": lambda number: 10.0} | ms

    def start(self, command: Sequence[str]) -> FakeChild:
        words = list(command)
        name = "matmul" if "--matmul" in words else Path(words[4]).stem
        told = {} if name == "matmul" else {"metadata": {"flop_per_picture": "1000000"}}
        label = name if name == "matmul" else f"{name}/{words[words.index('--batch') + 1]}"
        return FakeChild(label, self.log, self.ms[name], self.dies.get(name), **told)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two artifacts that no runtime ever sees."""
    paths = tmp_path / "a.onnx", tmp_path / "b.onnx"
    for path in paths:
        path.write_bytes(b"x" * 2_000_000)
    return paths


def only_cpu(**told: Any) -> Settings:
    return Settings(**{"batches": (1,), "runs": 2, "rounds": 3, "providers": ("cpu",), "threads": 1} | told)


# ---------------------------------------------------------------- figures


def test_a_percentile_is_linear_between_calls() -> None:
    assert percentile([40, 10, 30, 20], 50) == 25
    assert percentile([40, 10, 30, 20], 95) == pytest.approx(38.5)


@pytest.mark.parametrize(
    ("n", "k", "coverage"), [(1, 1, 0.0), (5, 1, 0.9375), (6, 1, 0.96875), (9, 2, 0.9609375), (20, 6, 0.9586105)]
)
def test_the_interval_of_a_median_is_the_sign_tests(n: int, k: int, coverage: float) -> None:
    # The binomial's own sums: for n = 20, k = 6 it is 1 - 2 (1 + 20 + 190 + 1140 + 4845 + 15504) / 2^20.
    values = np.random.default_rng(n).permutation(n).astype(float)
    found = median_interval(list(values))
    assert (found.low, found.high) == (k - 1, n - k)
    assert found.coverage == pytest.approx(coverage, abs=1e-7)
    assert found.value == np.median(values)


def test_the_interval_of_a_median_covers_it_as_often_as_it_says() -> None:
    drawn = np.random.default_rng(0).exponential(size=(2000, 8))  # median ln 2
    found = [median_interval(list(row)) for row in drawn]
    hits = np.mean([interval.low <= np.log(2) <= interval.high for interval in found])
    assert hits == pytest.approx(found[0].coverage, abs=0.015) and found[0].coverage > 0.95


def test_a_ratio_compares_round_by_round() -> None:
    # The machine is three times slower in the second round: both sides are, so their ratio stays 2.
    base, own = [[10.0, 10.0], [30.0, 30.0]], [[5.0, 5.0], [15.0, 15.0]]
    assert rate_ratio(own, base).value == 2 and rate_ratio(own, base).low == rate_ratio(own, base).high == 2


# ---------------------------------------------------------------- the benchmark


def test_all_take_turns_and_all_are_ended(pair: tuple[Path, Path]) -> None:
    children = Children(a=lambda n: 20.0, b=lambda n: 10.0)
    bench(pair, only_cpu(rounds=2, batches=(1, 4)), Silent(), start=children.start)
    turn = ["a/1", "b/1", "a/4", "b/4", "matmul", "matmul"]
    opened, closed = [f"open {name}" for name in turn], [f"close {name}" for name in turn]
    assert children.log == [*opened, *turn, *turn, *closed]


def test_rows_of_known_times(pair: tuple[Path, Path]) -> None:
    children = Children(a=lambda n: 20.0, b=lambda n: 10.0 + n)
    document = bench(pair, only_cpu(), Silent(), ("a.onnx", "b.onnx"), start=children.start)
    json.dumps(document, allow_nan=False)
    a, b = document["rows"]
    assert a["ratio"]["value"] == 1 and a["ratio"]["to"] == "a.onnx@cpu" and a["file_mb"] == 2.0
    assert b["latency_ms"] == pytest.approx({"p50": 12.0, "p95": 13.0})  # 11, 11, 12, 12, 13, 13
    assert b["pictures_per_second"] == pytest.approx(1000 / 12) and b["calls"] == 6
    assert b["peak_memory_mib"] == 53 and b["load_ms"] == 5 and b["provider"] == "fake"
    assert b["ratio"]["value"] == pytest.approx(20 / 12)
    assert (b["ratio"]["low"], b["ratio"]["high"]) == pytest.approx((20 / 13, 20 / 11))
    peak_gflops = 2 * MATMUL_SIDE**3 / 10e-3 / 1e9
    assert document["matmul_peak"]["gflops"] == pytest.approx(peak_gflops)
    assert b["percent_of_matmul_peak"] == pytest.approx(100 * 1e6 / 12e-3 / (peak_gflops * 1e9))
    said = "b.onnx draws 1.67x (1.54 to 1.82) the pictures per second of a.onnx at batch 1."
    assert document["compare"]["sentence"] == said and said in notes(document) and document["complete"]


def test_a_batch_is_compared_with_the_first_row_of_the_same_batch(pair: tuple[Path, Path]) -> None:
    children = Children(a=lambda n: 20.0, b=lambda n: 10.0)
    settings = only_cpu(batches=(1, 8))
    document = bench(pair, settings, Silent(), ("b.onnx@cpu", str(pair[0])), start=children.start)
    assert [row["batch"] for row in document["rows"]] == [1, 1, 8, 8]
    assert [row["ratio"]["value"] for row in document["rows"]] == [1, 2, 1, 2]
    assert document["rows"][3]["pictures_per_second"] == pytest.approx(800)
    assert document["compare"]["sentence"] == (
        f"{pair[0]} draws 0.50x (0.50 to 0.50) the pictures per second of b.onnx@cpu at batch 1, "
        "0.50x (0.50 to 0.50) at batch 8."
    )


@pytest.mark.parametrize(("dies", "said"), [(0, "No such runtime"), (2, "SIGKILL")])
def test_what_fails_is_a_row_and_not_the_end(pair: tuple[Path, Path], dies: int, said: str) -> None:
    children = Children({"a": dies}, a=lambda n: 20.0, b=lambda n: 10.0)
    document = bench(pair, only_cpu(), Silent(), ("a.onnx", "b.onnx"), start=children.start)
    a, b = document["rows"]
    assert a["status"] == "not_measured" and said in a["reason"] and "latency_ms" not in a
    assert b["status"] == "measured" and b["calls"] == 6 and b["ratio"]["to"] == "b.onnx@cpu"
    assert document["compare"]["status"] == "not_measured" and said in document["compare"]["sentence"]
    assert not document["complete"] and any(
        f"a.onnx@cpu, batch 1: not measured. {a['reason']}" == n for n in notes(document)
    )
    assert children.log.count("close a/1") == 1 and children.log.count("a/1") == dies
    assert rows_table(document).row_count == 2


def test_without_any_peak_there_is_no_percent(pair: tuple[Path, Path]) -> None:
    children = Children({"matmul": 1}, a=lambda n: 20.0)
    document = bench(pair[:1], only_cpu(), Silent(), start=children.start)
    assert document["rows"][0]["percent_of_matmul_peak"] is None and document["complete"]
    assert any("peak of this machine was not measured: Its process" in note for note in notes(document))


def test_children_are_ended_when_the_user_stops(pair: tuple[Path, Path]) -> None:
    def stop(number: int) -> float:
        raise KeyboardInterrupt

    children = Children(a=lambda n: 20.0, b=stop)
    with pytest.raises(KeyboardInterrupt):
        bench(pair, only_cpu(), Silent(), start=children.start)
    assert sum(line.startswith("close") for line in children.log) == 4


# ---------------------------------------------------------------- what is measured


def test_a_run_is_all_its_artifacts_and_stages(tmp_path: Path) -> None:
    for name in ("z.onnx", "generator.onnx", "engines/b.onnx", "notes.txt", "teacher/config.json", "web/c.onnx"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"schema": 1, "stage": "teacher", "files": {}, "provenance": {}}')
    found = subjects_of([tmp_path, tmp_path / "z.onnx"], only_cpu(batches=(1, 2)))
    once = ["generator.onnx@cpu", "b.onnx@cpu", "z.onnx@cpu", "teacher@torch"]
    assert [(s.batch, s.label) for s in found] == [(batch, label) for batch in (1, 2) for label in once]


def test_files_of_one_name_are_told_apart_by_path(tmp_path: Path) -> None:
    paths = [tmp_path / folder / "generator.onnx" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    assert [s.name for s in subjects_of(paths, only_cpu())] == [str(path) for path in paths]


def test_operations_are_the_files_own_or_of_the_generator_beside(tmp_path: Path) -> None:
    def subject(path: Path) -> Any:
        return subjects_of([path], only_cpu())[0]

    count, source = count_flop(subject(KITTENS), {})
    assert count == 20_134_400 and source == "counted from generator.onnx"  # 20-40-48-32 channels: 2 x 10.07 M
    assert count_flop(subject(KITTENS), {"flop_per_picture": "17"}) == (17, "stored in the file")
    (tmp_path / "engines").mkdir()
    engine = tmp_path / "engines" / "sm75.engine"
    engine.touch()
    other = type("Other", (), {"path": engine})()
    assert count_flop(other, {})[0] is None and "no generator.onnx lies beside" in count_flop(other, {})[1]
    shutil.copy(KITTENS, tmp_path)
    assert count_flop(other, {}) == (20_134_400, "counted from generator.onnx")


def test_without_onnx_the_operations_say_why_they_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    count, reason = count_flop(subjects_of([KITTENS], only_cpu())[0], {})
    assert count is None and "the onnx package is not installed" in reason


# ---------------------------------------------------------------- bad input


def test_bad_input_is_refused_before_anything_starts(
    ganlet: Callable[..., Answer], pair: tuple[Path, Path], tmp_path: Path
) -> None:
    a, b = pair
    expect_refused(ganlet("bench"), "Got nothing to measure")
    expect_refused(ganlet("bench", a, "--batch", "0"), "Got a batch of 0", "1 or more")
    expect_refused(ganlet("bench", a, "--batch", "1,many"), "'1,many'", "such as 1,16")
    expect_refused(ganlet("bench", a, "--rounds", "0"), "0 rounds")
    expect_refused(ganlet("bench", a, "--threads", "0"), "0 threads")
    expect_refused(ganlet("bench", a, "--provider", "abacus"), "no provider 'abacus'", "cpu")
    expect_refused(
        ganlet("bench", a, b, "--provider", "cpu", "--compare", "a.onnx", "c.onnx"),
        "'c.onnx', which is not measured",
        "b.onnx@cpu",
    )
    expect_refused(ganlet("bench", tmp_path / "none.onnx"), "none.onnx does not exist")
    expect_refused(ganlet("bench", Path(__file__)), "test_bench.py is no artifact", ".onnx")
    (tmp_path / "empty").mkdir()
    expect_refused(ganlet("bench", tmp_path / "empty"), "holds no artifact", "ganlet export")


def test_two_runtimes_of_one_artifact_must_be_named(pair: tuple[Path, Path]) -> None:
    settings = only_cpu(providers=("cpu", "auto"))
    with pytest.raises(GanletError, match=r"several runtimes; name one of a\.onnx@cpu, a\.onnx@auto"):
        bench(pair, settings, Silent(), ("a.onnx", "b.onnx@cpu"), start=Children().start)


def test_batches_are_read_once_each() -> None:
    assert parse_batches("16,1,16") == (16, 1)


# ---------------------------------------------------------------- real children


def child_of(code: str, **told: Any) -> Child:
    return Child([sys.executable, "-c", code], **told)


def test_a_killed_child_says_how_it_ended() -> None:
    code = 'import os, sys; print(\'{"ready": {"pid": %d}}\' % os.getpid(), flush=True); sys.stdin.read()'
    child = child_of(code)
    os.kill(child.ready()["pid"], signal.SIGKILL)
    with pytest.raises(GanletError, match=r"ended by SIGKILL \(mostly a lack of memory"):
        child.round(1, 1.0)
    child.close()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.abort()", "ended by SIGABRT .a crash of the runtime"),
        ("raise SystemExit('libcuda is missing')", r"exit code 1 \(libcuda is missing\)"),
        ('print(\'{"error": "A sentence."}\')', "A sentence"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
    ],
)
def test_a_child_that_is_never_ready_says_why(code: str, said: str) -> None:
    child = child_of(code, answer_seconds=1.0 if "sleep" in code else 60.0)
    with pytest.raises(GanletError, match=said):
        child.ready()
    child.close()


@pytest.mark.slow
def test_an_exported_file_beside_its_stage(ganlet: Callable[..., Answer], finished_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    model = onnx.load(run / "generator.onnx")
    model.graph.node[-1].op_type = "NoSuchOperator"
    onnx.save(model, run / "broken.onnx")
    words = ["--batch", "1", "--runs", "3", "--rounds", "2", "--threads", "1", "--provider", "cpu", "--json"]
    code, out, _ = ganlet("bench", run, *words, "--compare", "student", "generator.onnx")
    document = json.loads(out.splitlines()[-1])
    rows = {row["artefact"]: row for row in document["rows"]}
    assert code == 0 and list(rows) == ["generator.onnx", "broken.onnx", "teacher", "student"]
    assert rows["broken.onnx"]["status"] == "not_measured" and "cannot load" in rows["broken.onnx"]["reason"]
    assert rows["student"]["runtime"] == "torch" and rows["student"]["provider"].startswith("torch 2")
    counted = {rows[name]["flop_per_picture"] for name in ("generator.onnx", "student")}
    assert len(counted) == 1 and rows["generator.onnx"]["flop_source"] == "stored in the file"
    for name in ("generator.onnx", "teacher", "student"):
        row = rows[name]
        assert row["calls"] == 6 and 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p95"], row
        assert row["percent_of_matmul_peak"] > 0 and (row["peak_memory_mib"] or 99) > 20
    assert (run / "student" / CONFIG).is_file() and "the pictures per second of student at batch 1" in out
    assert document["matmul_peak"]["gflops"] > 0 and len(document["matmul_peak"]["all"]) == 2
