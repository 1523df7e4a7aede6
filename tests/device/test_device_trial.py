"""Small ONNX files that ask for gigabytes, for hours or for a crash end in a sentence, and the caller lives on."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganlet.device import trial
from ganlet.device.child import module_environment
from ganlet.device.feed import z_port
from ganlet.device.onnx_runner import OnnxRunner
from ganlet.device.openvino_runner import OpenVinoRunner
from ganlet.errors import GanletError
from ganlet.files import sha256_file
from ganlet.metrics.onnx_net import OnnxNet

ASK = trial._ask  # before the session's fixture replaces it

GIGABYTES = {
    "Concat": [helper.make_node("Concat", [f"d{i}", f"d{i}"], [f"d{i + 1}"], axis=1) for i in range(30)],
    "Expand": [helper.make_node("Expand", ["d0", "large"], ["d30"])],
    "Resize": [
        helper.make_node("Reshape", ["d0", "picture"], ["d1"]),
        helper.make_node("Resize", ["d1", "", "scales"], ["d30"], mode="nearest"),
    ],
    "ConvTranspose": [
        helper.make_node("Reshape", ["d0", "picture"], ["d1"]),
        helper.make_node("ConvTranspose", ["d1", "kernel"], ["d30"], strides=[2**15, 2**15]),
    ],
    "RandomNormal": [helper.make_node("RandomNormal", [], ["d30"], shape=[2**16, 2**16])],
}
SLOW = [
    helper.make_node("ReduceMean", ["d0"], ["scalar"], keepdims=0),
    helper.make_node("Expand", ["scalar", "square"], ["m0"]),
    *(helper.make_node("MatMul", [f"m{i}", f"m{i}"], [f"m{i + 1}"]) for i in range(2000)),
    helper.make_node("Identity", ["m2000"], ["d30"]),
]


@pytest.fixture(autouse=True)
def _real_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_ask", ASK)
    monkeypatch.setattr(trial, "_tried", set())


def asking(nodes: list[Any], folder: Path) -> Path:
    """A generator of 4x4 px whose pictures depend on the mean of d30, which `nodes` make of d0."""
    constants = {
        "w": np.full((8, 16), 0.1, np.float32),
        "picture": np.array([-1, 1, 4, 4]),
        "large": np.array([2**16, 2**11, 16]),
        "square": np.array([1500, 1500]),
        "scales": np.array([1, 1, 2**13, 2**14], np.float32),
        "kernel": np.ones((1, 1, 1, 1), np.float32),
    }
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["z", "w"], ["d0"]),
            *nodes,
            helper.make_node("ReduceMean", ["d30"], ["mean"], keepdims=0),
            helper.make_node("Add", ["d0", "mean"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["flat"]),
            helper.make_node("Reshape", ["flat", "picture"], ["images"]),
        ],
        "g",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 4, 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    notes = {"ganlet_schema": "1", "latent": "8", "range": "-1,1", "recipe_sha256": "0" * 64}
    helper.set_model_props(model, notes)
    path = folder / "asking.onnx"
    onnx.save(model, path)
    return path


@pytest.mark.parametrize(
    ("operator", "runner"),
    [
        ("Concat", OnnxRunner),
        ("Concat", OpenVinoRunner),
        ("Expand", OpenVinoRunner),
        ("Resize", OnnxRunner),
        ("ConvTranspose", OpenVinoRunner),
        ("RandomNormal", OnnxRunner),
    ],
)
def test_a_file_that_asks_for_gigabytes_is_given_up(operator: str, runner: Callable[..., Any], tmp_path: Path) -> None:
    with pytest.raises(GanletError, match=r"takes more than 2048 MiB|ended with the signal"):
        runner(asking(GIGABYTES[operator], tmp_path))


@pytest.mark.slow
def test_a_file_that_draws_for_minutes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "SECONDS", 2)
    with pytest.raises(GanletError, match="took longer than 2 s"):
        OnnxRunner(asking(SLOW, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_and_the_child(number: signal.Signals, tmp_path: Path) -> None:
    words = ["sample", str(asking(SLOW, tmp_path)), "-n", "1", "--out", str(tmp_path / "out")]
    command = [sys.executable, "-c", "from ganlet.cli import main; main()", *words]
    parent = subprocess.Popen(command, env=module_environment(), stderr=subprocess.PIPE)
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    if not children.exists():
        pytest.skip("needs the list of children in /proc")
    while not (child := children.read_text().strip()):
        assert parent.poll() is None
        time.sleep(0.02)
    time.sleep(0.5)  # until the call that started it has returned
    parent.send_signal(number)
    assert parent.wait(timeout=10) == 130
    status = Path(f"/proc/{child}/status")
    assert not status.exists() or "(zombie)" in status.read_text()


def test_a_runtime_that_crashes_is_told(tmp_path: Path, generator: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
    assert ASK(generator, [sys.executable, "-c", code]) == (
        f"{generator} was given up: the process that loaded it and drew one picture ended with the signal SIGSEGV; "
        "give a file that was exported by `ganlet export`, with its manifest.json.",
        True,
    )


def test_a_good_file_is_tried_once_and_a_listed_one_never(generator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(trial, "_ask", lambda path, command: asked.append(path) or ASK(path, command))
    for _ in range(2):
        assert OnnxRunner(generator, threads=1).ports == (z_port(8),)
    assert asked == [generator]
    monkeypatch.setattr(trial, "_tried", set())
    entry = {"bytes": generator.stat().st_size, "sha256": sha256_file(generator)}
    manifest = generator.with_name("manifest.json")
    manifest.write_text(json.dumps({"files": {generator.name: entry}}))
    try:
        OnnxRunner(generator, threads=1)
    finally:
        manifest.unlink()
    assert asked == [generator]


def test_a_faulty_file_is_told_in_the_words_of_its_runner(tmp_path: Path) -> None:
    path = asking([helper.make_node("NotAnOperator", ["d0"], ["d30"])], tmp_path)
    with pytest.raises(GanletError, match=r"cannot load .*NotAnOperator"):
        OnnxRunner(path)


def test_a_feature_net_is_tried_too(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
            helper.make_node("Expand", ["mean", "large"], ["wide"]),
            helper.make_node("ReduceMax", ["wide"], ["most"], keepdims=0),
            helper.make_node("Add", ["mean", "most"], ["features"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(np.array([2, 3]), "axes"),
            numpy_helper.from_array(np.array([2**16, 2**14, 1, 3]), "large"),
        ],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "n.onnx")
    with pytest.raises(GanletError, match="takes more than 2048 MiB"):
        OnnxNet(tmp_path / "n.onnx")
