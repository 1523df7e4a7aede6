"""Operations a picture, against analytic values and against what convolutions of ones really add up."""

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from ganlet.errors import GanletError
from ganlet.export.flop import flop_per_picture
from ganlet.export.onnx_export import onnx_bytes
from ganlet.models.dcgan import GeneratorConfig
from ganlet.models.families import build_generator

TEACHER, STUDENT = (2048, 1024, 512, 256, 128), (512, 256, 128, 64)


def model_of(nodes: list[Any], x: list[Any], constants: dict[str, Any], opset: int = 20) -> onnx.ModelProto:
    """A graph x -> y. A constant that is a tuple is a shape without values."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)]
    inputs += [helper.make_tensor_value_info(n, TensorProto.FLOAT, v) for n, v in constants.items() if type(v) is tuple]
    held = [numpy_helper.from_array(v, n) for n, v in constants.items() if type(v) is not tuple]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", inputs, [output], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])


def basework(widths: tuple[int, ...], strides: tuple[int, ...]) -> onnx.ModelProto:
    """The base work's generator by widths, weights without values."""
    constants: dict[str, Any] = {"shape": np.array([-1, 100, 1, 1])}
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["v0"])]
    entering = 100
    for number, (width, stride) in enumerate(zip([*widths, 3], (1, *strides), strict=True)):
        kernel = 4 if number == 0 else 2 * stride
        constants[f"w{number}"] = (entering, width, kernel, kernel)
        places = {"strides": [stride] * 2, "pads": [0 if number == 0 else stride // 2] * 4}
        out = "y" if number == len(widths) else f"v{number + 1}"
        nodes.append(helper.make_node("ConvTranspose", [f"v{number}", f"w{number}"], [out], **places))
        entering = width
    return model_of(nodes, ["batch", 100], constants)


@pytest.mark.parametrize(
    ("widths", "strides", "gflop"), [(TEACHER, (2,) * 5, 4.35), (STUDENT, (4, 2, 2, 2), 0.83)], ids=["1-2", "kd"]
)
def test_the_base_works_generators_need_what_is_known_of_them(widths: Any, strides: Any, gflop: float) -> None:
    found = flop_per_picture(basework(widths, strides))
    sides = np.cumprod([1, 4, *strides[:-1]])
    kernels = [4, *(2 * s for s in strides)]
    pairs = zip([100, *widths], [*widths, 3], kernels, sides, strict=True)
    assert found == 2 * sum(int(i) * o * k**2 * s**2 for i, o, k, s in pairs)  # times two: multiplied, and added
    assert found / 1e9 == pytest.approx(gflop, abs=0.005)


@settings(max_examples=30, deadline=None)
@given(
    side=st.integers(3, 7),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    pad=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
)
def test_a_convolution_counts_what_is_no_padding(
    side: int, kernel: int, stride: int, pad: int, dilation: int, groups: int
) -> None:
    if dilation * (kernel - 1) + 1 > side + 2 * pad:
        return
    weights = np.ones((6, 4 // groups, kernel, kernel), np.float32)
    told = {"strides": [stride] * 2, "pads": [pad] * 4, "dilations": [dilation] * 2, "group": groups}
    model = model_of([helper.make_node("Conv", ["x", "w"], ["y"], **told)], ["n", 4, side, side], {"w": weights})
    ones = functional.conv2d(
        torch.ones(1, 4, side, side), torch.ones(weights.shape), None, stride, pad, dilation, groups
    )
    assert flop_per_picture(model) == 2 * int(ones.sum())


@settings(max_examples=30, deadline=None)
@given(side=st.integers(1, 5), m=st.integers(1, 3), stride=st.integers(1, 3), groups=st.sampled_from([1, 2]))
def test_a_transposed_convolution_counts_what_is_cropped_too(side: int, m: int, stride: int, groups: int) -> None:
    weights = np.ones((4, 6 // groups, m * stride, m * stride), np.float32)
    told = {"strides": [stride] * 2, "pads": [(m * stride - 1) // 2] * 4, "group": groups}
    if (side - 1) * stride + m * stride - 2 * told["pads"][0] < 1:
        return
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], **told)
    ones = functional.conv_transpose2d(
        torch.ones(1, 4, side, side), torch.ones(weights.shape), stride=stride, groups=groups
    )
    assert flop_per_picture(model_of([node], ["n", 4, side, side], {"w": weights})) == 2 * int(ones.sum())


@settings(max_examples=20, deadline=None)
@given(side=st.integers(2, 6), m=st.integers(1, 3), stride=st.integers(2, 4))
def test_the_rewritten_layer_needs_as_much_as_the_layer(side: int, m: int, stride: int) -> None:
    entering, out = 5, 3
    as_is = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[stride] * 2)
    rewritten = [
        helper.make_node("Conv", ["x", "w"], ["v"], pads=[m - 1] * 4),
        helper.make_node("DepthToSpace", ["v"], ["y"], blocksize=stride, mode="CRD"),
    ]
    before = model_of([as_is], ["n", entering, side, side], {"w": (entering, out, m * stride, m * stride)})
    after = model_of(rewritten, ["n", entering, side, side], {"w": (out * stride**2, entering, m, m)})
    assert flop_per_picture(before) == flop_per_picture(after)


def test_quantised_weights_count_the_same() -> None:
    nodes = [
        helper.make_node("DequantizeLinear", ["w8", "scale"], ["w"]),
        helper.make_node("Conv", ["x", "w"], ["y"]),
    ]
    constants = {"w8": np.zeros((40, 5, 3, 3), np.int8), "scale": np.float32(0.1).reshape(())}
    assert flop_per_picture(model_of(nodes, ["n", 5, 8, 8], constants)) == 2 * 40 * 5 * 3**2 * 6**2


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_matrix_product_counts_its_inner_axis(transposed: int) -> None:
    gemm = helper.make_node("Gemm", ["x", "w"], ["y"], transB=transposed)
    weights = (7, 11) if transposed == 0 else (11, 7)
    assert flop_per_picture(model_of([gemm], ["n", 7], {"w": weights})) == 2 * 7 * 11
    attention = helper.make_node("MatMul", ["x", "w"], ["y"])
    assert flop_per_picture(model_of([attention], ["n", 5, 7], {"w": (7, 11)})) == 2 * 5 * 7 * 11


def test_the_exported_file_counts_what_torch_counts() -> None:
    config = GeneratorConfig(latent=8, widths=(12, 6), strides=(4, 2), kernels=(8, 4), channels=3)
    generator = build_generator(config).eval()
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        generator(torch.zeros(1, 8))
    model = onnx.load_from_string(onnx_bytes(generator, ""))
    assert flop_per_picture(model) == counter.get_total_flops() > 0
    assert {p.key: p.value for p in model.metadata_props}["flop_per_picture"] == str(counter.get_total_flops())


def test_what_cannot_be_counted_is_refused() -> None:
    with pytest.raises(GanletError, match="Einsum cannot be counted"):
        flop_per_picture(
            model_of([helper.make_node("Einsum", ["x", "w"], ["y"], equation="ij,jk")], [1, 2], {"w": (2, 3)})
        )
    free = model_of([helper.make_node("Conv", ["x", "w"], ["y"])], ["n", 5, "height", 8], {"w": (4, 5, 3, 3)})
    with pytest.raises(GanletError, match="Conv cannot be counted: the shape of 'x' is not known"):
        flop_per_picture(free)
