"""`ganlet export --to trt-rtx` and `--to tensorrt`: cards by name, what is left out, and engines in a run's report."""

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest

from ganlet.commands.export import engines
from ganlet.commands.export.engines import engine_targets
from ganlet.device.cuda import Card, DriverState, driver_state
from ganlet.errors import GanletError
from ganlet.export.engine_files import engine_name, targets_that_build
from ganlet.export.refusals import TARGETS
from ganlet.recipe import Recipe
from graphs import BF16, FP32, product, transposed
from support import Answer, Silent, expect_refused

BATCHES = (1, 1, 32)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: SimpleNamespace(name=name))


@pytest.fixture
def jetson(monkeypatch: pytest.MonkeyPatch, installed: None) -> None:
    state = DriverState(True, "", "12.6", (Card("Orin", "sm87", 7000),))
    monkeypatch.setattr(engines, "driver_state", lambda: state)


@pytest.mark.parametrize(
    ("gpus", "targets"),
    [
        ((), ()),
        (("gtx-1660-ti",), ("sm75",)),
        (("RTX 5090", "3060 12gb", "GTX 1660 Ti", "rtx-2060-6gb"), ("sm75", "sm86", "sm120")),
        (("sm121", "SM80"), ("sm80", "sm121")),
    ],
)
def test_cards_become_targets(installed: None, gpus: tuple[str, ...], targets: tuple[str, ...]) -> None:
    assert engine_targets("tensorrt_rtx", gpus, BATCHES, 1024) == targets


@pytest.mark.parametrize(
    ("gpu", "words"),
    [
        ("gtx-1050-ti", r"no engine for NVIDIA GeForce GTX 1050 Ti \(compute capability 6\.1\).*--to onnx"),
        ("jetson-orin-nano-8gb", r"compute capability 8\.7\).*--to tensorrt` on the board itself"),
        ("gtx-1661-ti", r"the nearest are gtx-1660-ti.* or give a target such as sm86"),
        ("sm87", "no engine for sm87; its targets are sm75, sm80"),
    ],
)
def test_a_card_without_engines_is_refused_with_the_reason(installed: None, gpu: str, words: str) -> None:
    with pytest.raises(GanletError, match=words):
        engine_targets("tensorrt_rtx", ("gtx-1660-ti", gpu), BATCHES, 1024)


def test_a_missing_package_names_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(
        GanletError, match=r"TensorRT for RTX is not installed here; run `pip install \"ganlet\[trt\]\"`"
    ):
        engine_targets("tensorrt_rtx", (), BATCHES, 1024)
    with pytest.raises(GanletError, match=r"TensorRT is not installed here; run `pip install tensorrt --extra-index"):
        engine_targets("tensorrt", (), BATCHES, 1024)


def test_numbers_that_cannot_be_are_refused_before_any_work(installed: None) -> None:
    with pytest.raises(GanletError, match="batch of 1, 8 and 4"):
        engine_targets("tensorrt_rtx", (), (1, 8, 4), 1024)
    with pytest.raises(GanletError, match="workspace of 0 MiB"):
        engine_targets("tensorrt_rtx", (), BATCHES, 0)


def test_tensorrt_builds_for_its_own_card_only(jetson: None) -> None:
    for gpus in ((), ("jetson-orin-nano-8gb",), ("sm87",)):
        assert engine_targets("tensorrt", gpus, BATCHES, 1024) == ("sm87",)
    with pytest.raises(GanletError, match=r"this machine, Orin \(sm87\), not for rtx-4090"):
        engine_targets("tensorrt", ("sm87", "rtx-4090"), BATCHES, 1024)


def test_tensorrt_needs_a_driver(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    state = DriverState(False, "no NVIDIA driver: x", "", ())
    monkeypatch.setattr(engines, "driver_state", lambda: state)
    with pytest.raises(
        GanletError, match=r"here is none to use \(no NVIDIA driver: x\); run this command on the board"
    ):
        engine_targets("tensorrt", ("jetson-orin-nano-8gb",), BATCHES, 1024)


def test_names_of_engines() -> None:
    assert engine_name(("sm75",), "fp32") == "engines/sm75.engine"
    assert engine_name(("sm120", "sm86", "sm86"), "fp16") == "engines/sm86+sm120.fp16.engine"
    assert engine_name(("sm87",), "int8", "tensorrt") == "engines/sm87.int8.tensorrt.engine"


def test_with_no_card_named_a_target_that_refuses_is_left_out_and_said(tmp_path: Path) -> None:
    said: list[str] = []
    onnx.save(transposed(FP32), tmp_path / "x.onnx")
    assert targets_that_build(tmp_path / "x.onnx", said.append) == TARGETS and not said
    onnx.save(product("Gemm", FP32), tmp_path / "x.onnx")
    assert targets_that_build(tmp_path / "x.onnx", said.append) == TARGETS[1:]
    assert len(said) == 1 and "no engine for sm75" in said[0] and "--precision fp16" in said[0]
    # What every target refuses is no matter of targets: the builder itself shall say it.
    onnx.save(transposed(BF16), tmp_path / "x.onnx")
    assert targets_that_build(tmp_path / "x.onnx", said.append) == TARGETS[1:]


def test_a_recipe_for_a_card_without_engines_stops_before_training(
    make_recipe: Callable[..., Recipe], tmp_path: Path, installed: None
) -> None:
    from ganlet.commands.run import run_recipe

    recipe = make_recipe(export__targets=["trt-rtx"], export__gpus=["gtx-1050-ti"])
    with pytest.raises(GanletError, match="no engine for NVIDIA GeForce GTX 1050 Ti"):
        run_recipe(recipe, tmp_path / "out", Silent())
    assert not list(tmp_path.rglob("config.json"))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="TensorRT for RTX is not installed (extra trt)")
def test_an_engine_from_the_command_line_to_the_report(
    ganlet: Callable[..., Answer], finished_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    words = ("export", run, "--to", "trt-rtx", "--gpu", "GTX 1660 Ti", "--gpu", "sm86", "--max-batch", 4)
    code, out, err = ganlet(*words, "--json")
    engine = run / "engines" / "sm75+sm86.engine"
    assert code == 0 and json.loads(out.splitlines()[-1])["path"] == str(engine), (out, err)
    files = json.loads((run / "manifest.json").read_text())["files"]
    listed = files["engines/sm75+sm86.engine"]
    assert listed["targets"] == ["sm75", "sm86"] and listed["profile"] == {"min": 1, "opt": 1, "max": 4}
    assert listed["precision"] == "fp32" and listed["versions"]["tensorrt-rtx"]
    assert listed["made_from"] == {"onnx": "generator.onnx", "sha256": files["generator.onnx"]["sha256"]}
    before = engine.stat().st_mtime_ns
    assert "is complete, skipped" in ganlet(*words)[2] and engine.stat().st_mtime_ns == before
    assert ganlet(*words, "--opt-batch", 2)[0] == 0 and engine.stat().st_mtime_ns != before

    code, out, _ = ganlet("verify", run, "--json")
    report: dict[str, Any] = json.loads(out.splitlines()[-1])
    row = report["artifacts"][-1]
    assert code == 1 and row["path"] == "engines/sm75+sm86.engine" and row["model_mb"] == engine.stat().st_size / 1e6
    assert ("plan of engines/sm75+sm86.engine", "passed") in [(c["name"], c["status"]) for c in report["checks"]]
    assert ganlet("report", run)[0] == 0 and "engines/sm75+sm86.engine" in (run / "report.html").read_text()
    if not driver_state().ready:
        assert "the engine was built here but not run" in (run / "report.html").read_text()
        assert row["parity"]["status"] == "not_verified" and "no NVIDIA driver" in row["parity"]["reason"]
        expect_refused(ganlet("sample", engine, "--out", tmp_path / "out"), "on an NVIDIA card only", ".onnx file")

    engine.write_bytes(engine.read_bytes()[:-1])
    expect_refused(ganlet("verify", run), "not the file that manifest.json lists")
    expect_refused(ganlet("sample", engine, "--out", tmp_path / "out"), "was changed after it was made")
