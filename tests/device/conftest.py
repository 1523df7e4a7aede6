"""Small generators written with onnx.helper: the device room itself must never see the onnx package."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

LATENT = 8
METADATA = {"ganlet_schema": "1", "latent": str(LATENT), "range": "-1,1", "recipe_sha256": "0" * 64}


def build(
    *,
    channels: int = 3,
    classes: int | None = None,
    metadata: dict[str, str] | None = None,
    batch: Any = "batch",
    output: str = "images",
    scale: float = 1.0,
    widths: tuple[int, ...] = (24, 12),
) -> onnx.ModelProto:
    """Transposed convolutions, ReLU, tanh: 4x4, doubled once a further width, random weights of a fixed seed."""
    random = np.random.default_rng(0)
    constants = [numpy_helper.from_array(np.array([-1, LATENT, 1, 1]), "shape")]
    nodes, values = [], "z"
    inputs = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [batch, LATENT])]
    if classes is not None:
        inputs.append(helper.make_tensor_value_info("label", TensorProto.INT64, [batch]))
        table = random.standard_normal((classes, LATENT)).astype(np.float32)
        constants.append(numpy_helper.from_array(table, "table"))
        nodes = [helper.make_node("Gather", ["table", "label"], ["row"]), helper.make_node("Mul", ["z", "row"], ["zy"])]
        values = "zy"
    nodes.append(helper.make_node("Reshape", [values, "shape"], ["x0"]))
    before = LATENT
    for index, width in enumerate([*widths, channels]):
        weight = random.standard_normal((before, width, 4, 4)) * scale * (1 if index == 0 else 0.5) / before**0.5
        constants.append(numpy_helper.from_array(weight.astype(np.float32), f"w{index}"))
        steps = {"strides": [1, 1]} if index == 0 else {"strides": [2, 2], "pads": [1] * 4}
        nodes.append(helper.make_node("ConvTranspose", [f"x{index}", f"w{index}"], [f"y{index}"], **steps))
        last = index == len(widths)
        nodes.append(helper.make_node("Tanh" if last else "Relu", [f"y{index}"], [output if last else f"x{index + 1}"]))
        before = width
    side = 4 * 2 ** len(widths)
    pictures = helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, channels, side, side])
    graph = helper.make_graph(nodes, "generator", inputs, [pictures], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    extra = {} if classes is None else {"classes": str(classes)}
    helper.set_model_props(model, METADATA | extra if metadata is None else metadata)
    return model


@pytest.fixture(scope="session")
def build_generator() -> Callable[..., onnx.ModelProto]:
    return build


@pytest.fixture
def make_generator(tmp_path: Path) -> Callable[..., Path]:
    def make(**options: Any) -> Path:
        path = tmp_path / "generator.onnx"
        onnx.save(build(**options), path)
        return path

    return make


@pytest.fixture(scope="session")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "generator.onnx"
    onnx.save(build(), path)
    return path
