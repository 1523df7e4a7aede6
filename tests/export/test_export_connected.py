"""Fully connected layers: their forms are the same sum, their roles come from the graph, int8 has a step an output."""

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ganlet.export import PROFILES, layers_of, lowered, rewritten
from ganlet.export.int8 import Scale, quantised

DRAWN = np.random.default_rng(0)
WEIGHTS = {
    "first.weight": DRAWN.standard_normal((5, 4)),  # (out, in), as torch exports it
    "first.bias": DRAWN.standard_normal(5),
    "second.weight": DRAWN.standard_normal((5, 6)),  # (in, out)
    "third.weight": DRAWN.standard_normal((3, 6)),
}


def three_layers(kind: int = TensorProto.DOUBLE) -> ModelProto:
    """z (batch, 4) -> Gemm -> ReLU -> Gemm -> Tanh -> Gemm -> images (batch, 3)."""
    nodes = [
        helper.make_node("Gemm", ["z", "first.weight", "first.bias"], ["a"], transB=1),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Gemm", ["b", "second.weight"], ["c"]),
        helper.make_node("Tanh", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "third.weight"], ["images"], transB=1),
    ]
    of_type = helper.tensor_dtype_to_np_dtype(kind)
    constants = [numpy_helper.from_array(value.astype(of_type), name) for name, value in WEIGHTS.items()]
    ends = [helper.make_tensor_value_info(*end) for end in (("z", kind, ["batch", 4]), ("images", kind, ["batch", 3]))]
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def answer(model: ModelProto, z: Any) -> Any:
    return ReferenceEvaluator(model).run(None, {"z": z})[0]


def by_hand(z: Any) -> Any:
    hidden = np.tanh(np.maximum(z @ WEIGHTS["first.weight"].T + WEIGHTS["first.bias"], 0) @ WEIGHTS["second.weight"])
    return hidden @ WEIGHTS["third.weight"].T


def test_roles_are_what_lies_between_a_layer_and_the_ends() -> None:
    assert [(layer.name, layer.role) for layer in layers_of(three_layers())] == [
        ("first", "first"),
        ("second", "hidden"),
        ("third", "last"),
    ]


@pytest.mark.parametrize("form", ["gemm", "conv1x1"])
def test_each_form_is_the_same_sum(form: Any) -> None:
    z = DRAWN.standard_normal((7, 4))
    made = rewritten(three_layers(), dict.fromkeys(("first", "second", "third"), form))
    np.testing.assert_allclose(answer(made, z), by_hand(z), rtol=0, atol=1e-12)
    kinds = {node.op_type for node in made.graph.node}
    assert ("Conv" in kinds, "Gemm" in kinds) == (form == "conv1x1", form == "gemm")


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_keeps_the_sum_and_turing_gets_no_product(profile: str) -> None:
    z = DRAWN.standard_normal((7, 4))
    made = lowered(three_layers(), profile)
    np.testing.assert_allclose(answer(made, z), by_hand(z), rtol=0, atol=1e-12)
    assert (profile in ("sm75", "trt-int8")) == all(node.op_type != "Gemm" for node in made.graph.node)


def test_int8_has_a_step_for_each_output() -> None:
    """Weights stored as (out, in) included: a step for each input could not be taken out of the sum."""
    model = lowered(three_layers(TensorProto.FLOAT), "cpu-int8")
    scales = {name: Scale(0.05) for name in ("z", "a", "b", "c", "d", "images")}
    made = quantised(model, {name: scales[name.removesuffix("_lowered")] for name in _ends(model)})
    steps = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer if t.name.endswith("weight.scale")}
    assert {name.split(".")[0]: step.shape for name, step in steps.items()} == {
        "first": (5,),
        "second": (6,),
        "third": (3,),
    }


def _ends(model: ModelProto) -> set[str]:
    gemms = [node for node in model.graph.node if node.op_type == "Gemm"]
    return {name for node in gemms for name in (node.input[0], node.output[0])}
