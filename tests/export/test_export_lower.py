"""Every rewrite is the same sum in another order: in float64 it agrees with torch's own operators to 1e-10."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ganlet.errors import GanletError
from ganlet.export import PROFILES, fold_batch_norm, layers_of, lowered, rewritten

EXACT = {"rtol": 0.0, "atol": 1e-10}
SLOPE = 0.25  # ONNX stores it as float32: one that this can hold

Layer = dict[str, Any]


def one_layer(layer: Layer, seed: int, activation: str = "Relu", norm: bool = False) -> tuple[ModelProto, Any, Any]:
    """A float64 model x -> ConvTranspose -> [BatchNormalization] -> activation, an input for it, and torch's answer."""
    drawn = np.random.default_rng(seed)
    group, kernel = layer.get("group", 1), layer["kernel"]
    inside, out = layer.get("inside", 2 * group), layer.get("out", 3 * group)
    x = drawn.standard_normal((2, inside, *layer["size"]))
    weight = drawn.standard_normal((inside, out // group, *kernel))
    bias = drawn.standard_normal(out)
    top, left, bottom, right = layer["pads"]
    weights = {"up.weight": weight} | ({"up.bias": bias} if layer.get("bias", True) else {})
    nodes = [
        helper.make_node(
            "ConvTranspose",
            ["x", *weights],
            ["up"],
            strides=layer["strides"],
            pads=layer["pads"],
            group=group,
            output_padding=layer.get("extra", [0, 0]),
        )
    ]
    expected = torch.nn.functional.conv_transpose2d(
        torch.from_numpy(x),
        torch.from_numpy(weight),
        torch.from_numpy(bias) if "up.bias" in weights else None,
        stride=layer["strides"],
        output_padding=layer.get("extra", [0, 0]),
        groups=group,
    )  # cropped by hand: torch cannot pad its sides differently
    expected = expected[:, :, top : expected.shape[2] - bottom, left : expected.shape[3] - right]
    if norm:
        statistics = {
            "norm.scale": drawn.standard_normal(out),
            "norm.shift": drawn.standard_normal(out),
            "norm.mean": drawn.standard_normal(out),
            "norm.var": drawn.random(out) + 0.1,
        }
        weights |= statistics
        nodes.append(helper.make_node("BatchNormalization", ["up", *statistics], ["normed"], epsilon=1e-5))
        scale, shift, mean, variance = (torch.from_numpy(value) for value in statistics.values())
        expected = torch.nn.functional.batch_norm(expected, mean, variance, scale, shift, eps=1e-5)
    about = {"alpha": SLOPE} if activation == "LeakyRelu" else {}
    nodes.append(helper.make_node(activation, [nodes[-1].output[0]], ["y"], **about))
    expected = {
        "Relu": torch.relu,
        "Tanh": torch.tanh,
        "LeakyRelu": lambda v: torch.nn.functional.leaky_relu(v, SLOPE),
    }[activation](expected)
    graph = helper.make_graph(
        nodes,
        "one layer",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["batch", *x.shape[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["batch", *expected.shape[1:]])],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    onnx.checker.check_model(model, full_check=True)
    return model, x, expected.numpy()


def drawn_by(model: ModelProto, x: Any) -> Any:
    """By onnx's own numpy implementation, after the checker has seen the model."""
    onnx.checker.check_model(model, full_check=True)
    return ReferenceEvaluator(model).run(None, {"x": x})[0]


@st.composite
def multiples(draw: st.DrawFn) -> Layer:
    """Any stride, kernel = multiple of it, and any padding that leaves a picture."""
    stride = draw(st.integers(1, 4))
    kernel = [stride * draw(st.integers(1, 4)) for _ in range(2)]
    size = [draw(st.integers(2, 5)) for _ in range(2)]
    pads = [0, 0, 0, 0]
    extra = [0, 0]
    for axis in range(2):
        whole = (size[axis] - 1) * stride + kernel[axis]
        pads[axis] = draw(st.integers(0, min(kernel[axis] - 1, whole - 1)))
        pads[axis + 2] = draw(st.integers(0, min(kernel[axis] - 1, whole - 1 - pads[axis])))
        extra[axis] = draw(st.integers(0, min(pads[axis + 2], stride - 1)))
    return {
        "strides": [stride, stride],
        "kernel": kernel,
        "size": size,
        "pads": pads,
        "extra": extra,
        "group": draw(st.integers(1, 3)),
        "bias": draw(st.booleans()),
    }


@settings(max_examples=60, deadline=None)
@given(layer=multiples(), seed=st.integers(0, 99), activation=st.sampled_from(["Relu", "Tanh", "LeakyRelu"]))
def test_a_shuffled_convolution_is_the_transposed_one(layer: Layer, seed: int, activation: str) -> None:
    model, x, expected = one_layer(layer, seed, activation)
    made = rewritten(model, {"up": "shuffled"})
    assert [node.op_type for node in made.graph.node][:2] == ["Conv", activation]  # before the shuffle: fewer passes
    np.testing.assert_allclose(drawn_by(made, x), expected, **EXACT)


@settings(max_examples=60, deadline=None)
@given(layer=multiples(), stride=st.integers(2, 4), seed=st.integers(0, 99))
def test_an_interleaved_convolution_is_the_transposed_one(layer: Layer, stride: int, seed: int) -> None:
    kernel = [stride * (length // layer["strides"][0]) for length in layer["kernel"]]
    pads = [min(pad, (kernel * 2)[axis] - 1, stride) for axis, pad in enumerate(layer["pads"])]
    extra = [min(more, pads[axis + 2], stride - 1) for axis, more in enumerate(layer["extra"])]
    fitting = {"strides": [stride, stride], "kernel": kernel, "pads": pads, "extra": extra, "group": 1}
    model, x, expected = one_layer(layer | fitting, seed, "LeakyRelu")
    made = rewritten(model, {"up": "interleaved"})
    kinds = [node.op_type for node in made.graph.node]
    assert kinds[:2] == ["Conv", "LeakyRelu"] and kinds.count("Transpose") == 3
    np.testing.assert_allclose(drawn_by(made, x), expected, **EXACT)


@settings(max_examples=40, deadline=None)
@given(
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    crop=st.tuples(*[st.integers(0, 4)] * 4),
    form=st.sampled_from(["conv1x1", "gemm"]),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_layer_on_one_pixel_is_one_product(
    kernel: tuple[int, int], stride: int, crop: tuple[int, ...], form: Any, bias: bool, seed: int
) -> None:
    pads = [min(crop[0], kernel[0] - 1), min(crop[1], kernel[1] - 1)]
    pads += [min(crop[2], kernel[0] - 1 - pads[0]), min(crop[3], kernel[1] - 1 - pads[1])]
    layer = {"strides": [stride, stride], "kernel": kernel, "size": [1, 1], "pads": pads, "bias": bias}
    model, x, expected = one_layer(layer, seed, "LeakyRelu")
    made = rewritten(model, {"up": form})
    kinds = [node.op_type for node in made.graph.node]
    by_form = {"gemm": ["Flatten", "Gemm", "LeakyRelu", "Reshape", "Transpose"]}
    assert kinds == by_form.get(form, ["Conv", "LeakyRelu", "Reshape"])
    np.testing.assert_allclose(drawn_by(made, x), expected, **EXACT)


@settings(max_examples=40, deadline=None)
@given(layer=multiples(), seed=st.integers(0, 99))
def test_a_batch_norm_folds_into_its_transposed_convolution(layer: Layer, seed: int) -> None:
    model, x, expected = one_layer(layer, seed, norm=True)
    folded = fold_batch_norm(model)
    assert [node.op_type for node in folded.graph.node] == ["ConvTranspose", "Relu"]
    np.testing.assert_allclose(drawn_by(rewritten(folded, {"up": "shuffled"}), x), expected, **EXACT)


@settings(max_examples=20, deadline=None)
@given(group=st.integers(1, 3), seed=st.integers(0, 99), bias=st.booleans())
def test_a_batch_norm_folds_into_a_convolution(group: int, seed: int, bias: bool) -> None:
    drawn = np.random.default_rng(seed)
    x = drawn.standard_normal((2, 2 * group, 5, 6))
    weights = {"c.weight": drawn.standard_normal((3 * group, 2, 3, 2))}
    weights |= {"c.bias": drawn.standard_normal(3 * group)} if bias else {}
    norm = {f"n.{key}": drawn.random(3 * group) + 0.1 for key in ("scale", "shift", "mean", "var")}
    nodes = [
        helper.make_node("Conv", ["x", *weights], ["c"], group=group),
        helper.make_node("BatchNormalization", ["c", *norm], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["batch", *x.shape[1:]])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["batch", 3 * group, 3, 5])],
        [numpy_helper.from_array(value, name) for name, value in (weights | norm).items()],
    )
    folded = fold_batch_norm(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))
    assert [node.op_type for node in folded.graph.node] == ["Conv"]
    tensors = [torch.from_numpy(value) for value in weights.values()]
    made = torch.nn.functional.conv2d(torch.from_numpy(x), *tensors, groups=group)
    scale, shift, mean, variance = (torch.from_numpy(value) for value in norm.values())
    expected = torch.nn.functional.batch_norm(made, mean, variance, scale, shift)
    np.testing.assert_allclose(drawn_by(folded, x), expected.numpy(), **EXACT)


# ---------------------------------------------------------------- what is left alone, and why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"kernel": [3, 4]}, "its kernel of 3 x 4 is no multiple of its stride 2"),
        ({"strides": [2, 4], "kernel": [4, 4]}, "its strides 2 and 4 differ"),
        ({"pads": [4, 0, 0, 0]}, "its padding is as large as its kernel of 4 x 4"),
        ({"extra": [1, 0]}, "its output padding is larger than its padding"),
        ({"group": 2, "size": [1, 1]}, "it has 2 groups on a 1 x 1 input"),
    ],
)
def test_what_has_no_exact_form_stays_and_says_why(changes: Layer, why: str) -> None:
    layer = {"strides": [2, 2], "kernel": [4, 4], "size": [3, 3], "pads": [0, 0, 0, 0]} | changes
    model, *_ = one_layer(layer, 0)
    (found,) = layers_of(model)
    assert found.forms == ("transposed",) and found.reason == why
    for name in PROFILES:
        made = lowered(model, name)
        assert made.graph.node == model.graph.node and made.graph.initializer == model.graph.initializer
    with pytest.raises(GanletError, match=r"cannot take the form 'shuffled' \(.*expected one of transposed"):
        rewritten(model, {"up": "shuffled"})


def test_dilated_and_computed_layers_stay() -> None:
    layer = {"strides": [2, 2], "kernel": [4, 4], "size": [3, 3], "pads": [0, 0, 0, 0]}
    for name, value, why in (("dilations", [2, 1], "dilations are"), ("auto_pad", "SAME_UPPER", "left to the runtime")):
        model, *_ = one_layer(layer, 0)
        node = model.graph.node[0]
        kept = [a for a in node.attribute if a.name != name and not (name == "auto_pad" and a.name == "pads")]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute(name, value)])
        (found,) = layers_of(model)
        assert found.forms == ("transposed",) and why in found.reason
    model, *_ = one_layer(layer, 0)
    model.graph.node.insert(0, helper.make_node("Relu", ["up.weight"], ["computed"]))
    model.graph.node[1].input[1] = "computed"
    assert "computed in the graph" in layers_of(model)[0].reason


def test_a_batch_norm_that_others_share_or_that_trains_stays() -> None:
    layer = {"strides": [2, 2], "kernel": [4, 4], "size": [3, 3], "pads": [1, 1, 1, 1]}
    model, *_ = one_layer(layer, 0, norm=True)
    model.graph.output.append(helper.make_tensor_value_info("up", TensorProto.DOUBLE, ["batch", 3, 6, 6]))
    folded = fold_batch_norm(model)
    assert [node.op_type for node in folded.graph.node] == ["ConvTranspose", "BatchNormalization", "Relu"]
    assert folded.graph.initializer == model.graph.initializer  # and nothing that nobody takes is left behind


@pytest.mark.parametrize("form", ["shuffled", "interleaved"])
def test_a_weight_that_two_layers_share_is_rewritten_for_each(form: Any) -> None:
    layer = {"strides": [2, 2], "kernel": [4, 4], "size": [3, 3], "pads": [1, 1, 1, 1], "inside": 2, "out": 2}
    model, x, first = one_layer(layer, 0)
    twice = onnx.ModelProto()
    twice.CopyFrom(model)
    twice.graph.node[-1].output[0] = "middle"
    second = onnx.NodeProto()
    second.CopyFrom(model.graph.node[0])
    second.input[0], second.output[0] = "middle", "y"
    twice.graph.node.append(second)
    twice.graph.output[0].CopyFrom(helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["batch", 2, 12, 12]))
    weight, bias = (torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in model.graph.initializer)
    expected = torch.nn.functional.conv_transpose2d(torch.from_numpy(first), weight, bias, stride=2, padding=1)
    made = rewritten(twice, {"up": form})
    assert [node.op_type for node in made.graph.node].count("Conv") == 2
    np.testing.assert_allclose(drawn_by(made, x), expected.numpy(), **EXACT)


def test_an_unknown_layer_form_or_profile_is_refused() -> None:
    model, *_ = one_layer({"strides": [2, 2], "kernel": [4, 4], "size": [3, 3], "pads": [1, 1, 1, 1]}, 0)
    with pytest.raises(GanletError, match="has no layer 'down'; expected one of up"):
        rewritten(model, {"down": "shuffled"})
    with pytest.raises(GanletError, match="cannot take the form 'gemm'"):
        rewritten(model, {"up": "gemm"})
    with pytest.raises(GanletError, match="no profile 'gpu'; expected one of cpu-fp32"):
        lowered(model, "gpu")


def test_a_graph_with_branches_is_refused() -> None:
    model, *_ = one_layer({"strides": [2, 2], "kernel": [4, 4], "size": [3, 3], "pads": [1, 1, 1, 1]}, 0)
    model.graph.node.append(helper.make_node("If", ["x"], ["z"], then_branch=model.graph, else_branch=model.graph))
    with pytest.raises(GanletError, match="holds functions, branches or sparse weights"):
        layers_of(model)
