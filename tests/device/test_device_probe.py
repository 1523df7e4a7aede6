"""Probes: a layer that is really run, in a process whose death is a finding."""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganlet.device import probe
from ganlet.device.onnx_session import CPU
from ganlet.device.probe import DOUBLES, LIST, answer, ask, read_answer


def test_the_model_in_the_source_is_what_its_comment_says() -> None:
    weight = numpy_helper.from_array(np.full((1, 1, 1, 1), 2, np.float32), "w")
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 1, 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Conv", ["x", "w"], ["y"])], "g", [x], [y], [weight])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, producer_name="")
    assert made.SerializeToString(deterministic=True) == DOUBLES
    onnx.checker.check_model(onnx.load_from_string(DOUBLES), full_check=True)


def test_the_processor_answers_from_a_process_of_its_own() -> None:
    assert ask(CPU) == ("", f"onnxruntime {onnxruntime.__version__} ran a layer on it")
    assert ask(LIST) == ("", " ".join(onnxruntime.get_available_providers()))


def test_a_listed_provider_that_runs_nothing_is_at_fault() -> None:
    if "AzureExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this wheel lists no provider that runs nothing")
    assert answer("AzureExecutionProvider") == {"fault": f"it is listed, but Conv would run on {CPU}", "detail": ""}


def test_openvino_answers_with_its_devices() -> None:
    openvino = pytest.importorskip("openvino", reason="the extra openvino is not installed")
    found = answer("openvino")
    assert found["fault"] == "" and "CPU" in found["detail"] and openvino.__version__.split("-")[0] in found["detail"]


def test_wrong_results_are_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = DOUBLES.index(np.float32(2).tobytes())
    monkeypatch.setattr(probe, "DOUBLES", DOUBLES[:weight] + np.float32(3).tobytes() + DOUBLES[weight + 4 :])
    assert answer(CPU)["fault"] == "it computes [3.0, 9.0] where [2.0, 6.0] is right"


def test_a_missing_runtime_is_a_fault_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    assert 'pip install "ganlet[cpu]"' in answer(CPU)["fault"]


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "ended with exit code -4 and no answer"),
        ("print('loading...')", "ended with exit code 0 and no answer"),
        ("print('3')", "no answer"),
        ("import time; time.sleep(60)", "did not answer within 1 s"),
    ],
)
def test_a_child_that_dies_babbles_or_hangs_is_a_fault(code: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TIMEOUT_S", 1 if "sleep" in code else 60)
    assert fault in read_answer([sys.executable, "-c", code])[0]
