"""Footprints: measured in a fresh process, whose memory is its own."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ganlet.device import footprint
from ganlet.device.child import module_environment
from ganlet.device.footprint import main, measure, measure_here, peak_memory_mib
from ganlet.errors import GanletError

linux_only = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")


def test_measure_reports_latency_and_memory(generator: Path) -> None:
    found = measure(generator, batch=2, runs=5, warmup=1, threads=1)
    assert 0 < found.latency_p50_ms <= found.latency_p95_ms and found.load_ms > 0
    assert found.provider == "CPUExecutionProvider" and (found.batch, found.runs, found.threads) == (2, 5, 1)
    assert found.pictures_per_second > 0
    if found.model_memory_mib is not None and found.baseline_memory_mib is not None:
        assert found.baseline_memory_mib > 10 and found.model_memory_mib >= 0


@linux_only
def test_the_childs_peak_is_not_its_parents(generator: Path) -> None:
    ballast = np.ones(300 * 2**20, dtype=np.uint8)
    own_mib = peak_memory_mib()
    found = measure(generator, runs=1, warmup=0, threads=1)
    assert own_mib is not None and own_mib > 300 and ballast[-1] == 1
    assert found.peak_memory_mib is not None and found.peak_memory_mib < 200, found


@linux_only
def test_peak_memory_follows_an_allocation() -> None:
    code = (
        "import numpy as np; from ganlet.device.footprint import peak_memory_mib as peak\n"
        "before = peak(); np.ones(100 * 2**20, dtype=np.uint8); print(peak() - before)"
    )
    child = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=module_environment()
    )
    assert 95 < float(child.stdout) < 105


def test_figures_of_a_clock_of_known_steps(generator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Load 1 s, then calls of 10, 20, 30 and 40 ms: mean 25, median 25, 95th percentile 38.5 (linear interpolation).
    ticks = iter([0.0, 1.0, 2.0, 2.010, 3.0, 3.020, 4.0, 4.030, 5.0, 5.040])
    monkeypatch.setattr(footprint.time, "perf_counter", lambda: next(ticks))
    found = measure_here(generator, batch=8, runs=4, warmup=2, threads=1, provider="cpu")
    assert found.load_ms == pytest.approx(1000)
    assert (found.latency_p50_ms, found.latency_p95_ms) == pytest.approx((25, 38.5))
    assert found.pictures_per_second == pytest.approx(8 / 0.025)


def test_a_conditional_generator_is_measured(make_generator: Callable[..., Path]) -> None:
    assert measure_here(make_generator(classes=3), 2, 1, 0, 1, "cpu").runs == 1


def test_the_childs_error_is_ours(tmp_path: Path) -> None:
    with pytest.raises(GanletError, match=r"none\.onnx does not exist"):
        measure(tmp_path / "none.onnx", runs=1)


def test_a_child_that_dies_is_told(generator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    died = subprocess.CompletedProcess([], -9, stdout="not json", stderr="Killed\n")
    monkeypatch.setattr(footprint.subprocess, "run", lambda *_, **__: died)
    with pytest.raises(GanletError, match=r"exit code -9 .*Killed"):
        measure(generator)


@pytest.mark.parametrize("numbers", [{"batch": 0}, {"runs": 0}, {"warmup": -1}])
def test_numbers_out_of_range_are_refused(generator: Path, numbers: dict[str, int]) -> None:
    with pytest.raises(GanletError, match="expected 1 or more"):
        measure(generator, **numbers)  # type: ignore[arg-type]


def test_the_command_prints_one_json_line(generator: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(generator), "--runs", "2", "--warmup", "0", "--threads", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["runs"] == 2
    assert main([str(tmp_path / "none.onnx")]) == 2
    assert "does not exist" in json.loads(capsys.readouterr().out)["error"]
