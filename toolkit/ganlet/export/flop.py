"""Floating-point operations that a generator needs for one picture, counted from its ONNX graph.

A multiplication and its addition count twice, as two operations. Counted are the products of convolutions and
matrices; norms, activations and sums are not. A transposed convolution counts every pair of an input value and a
weight, also where the result is cropped away; a convolution counts every such pair but not its zero padding. By this
count ConvTranspose and its rewrites (Conv + DepthToSpace + crop, Gemm) need the same, whatever the precision: it is the
useful work of the generator, not that of one way to do it.

The exporter stores the figure in the file (`flop_per_picture`), so that a device need not have the onnx package.
"""

import math
from collections.abc import Sequence
from typing import Any

from ganlet.errors import GanletError

METADATA_KEY = "flop_per_picture"

# Operator -> position of its input and of its weights. The last four are what other tools write for int8.
_CONVOLUTIONS = {"Conv": (0, 1), "ConvInteger": (0, 1), "QLinearConv": (0, 3)}
_PRODUCTS = {"Gemm": (0, 1), "MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3)}
_UNCOUNTABLE = {"Loop", "Scan", "If", "Einsum", "LSTM", "GRU", "RNN", "DeformConv"}
_SMALL = 1024  # elements: constants up to here may decide a shape, larger ones are weights whose values do not matter


def flop_per_picture(model: Any) -> int:
    """Operations for one picture of an `onnx.ModelProto` whose inputs have the batch as first axis.

    Raises GanletError when a shape is not known before the model runs, or for an operator that cannot be counted.
    """
    graph, shapes = _shapes(model)
    total = 0
    for node in graph.node:
        try:
            total += _flop(node, shapes)
        except KeyError as error:
            raise GanletError(
                f"The operations of {node.op_type} cannot be counted: the shape of {error.args[0]!r} is not known "
                "before the model runs; expected fixed shapes but for the batch."
            ) from error
    return total


def _flop(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    if node.op_type in _UNCOUNTABLE:
        raise GanletError(f"The operations of {node.op_type} cannot be counted; expected convolutions and matrices.")
    if node.op_type == "ConvTranspose":
        weights = shapes[node.input[1]]  # (in, out / groups, *kernel)
        batch, _, *places = shapes[node.input[0]]
        return 2 * batch * math.prod(places) * math.prod(weights)
    if node.op_type in _CONVOLUTIONS:
        entering, weights_at = _CONVOLUTIONS[node.op_type]
        return 2 * _convolution_pairs(node, shapes[node.input[entering]], shapes[node.input[weights_at]], shapes)
    if node.op_type in _PRODUCTS:
        left, _ = _PRODUCTS[node.op_type]
        rows = shapes[node.input[left]]
        inner = rows[0] if node.op_type == "Gemm" and _attribute(node, "transA", 0) else rows[-1]
        return 2 * math.prod(shapes[node.output[0]]) * inner
    return 0


def _convolution_pairs(node: Any, x: Sequence[int], weights: Sequence[int], shapes: dict[str, tuple[int, ...]]) -> int:
    """Pairs of an input value and a weight (out, in / groups, *kernel), zero padding left out."""
    axes = len(x) - 2
    out = shapes[node.output[0]][2:]
    strides = _attribute(node, "strides", [1] * axes)
    dilations = _attribute(node, "dilations", [1] * axes)
    pads = _attribute(node, "pads", [0] * (2 * axes))
    same = _attribute(node, "auto_pad", b"NOTSET")
    pairs = x[0] * weights[0] * weights[1]
    for axis, (length, kernel, step, spread) in enumerate(zip(x[2:], weights[2:], strides, dilations, strict=True)):
        before = pads[axis]
        if same in (b"SAME_UPPER", b"SAME_LOWER"):
            around = max(0, (out[axis] - 1) * step + (kernel - 1) * spread + 1 - length)
            before = around // 2 if same == b"SAME_UPPER" else around - around // 2
        places = (place * step + tap * spread - before for place in range(out[axis]) for tap in range(kernel))
        pairs *= sum(0 <= place < length for place in places)
    return pairs


def _attribute(node: Any, name: str, default: Any) -> Any:
    from onnx import helper

    return next((helper.get_attribute_value(found) for found in node.attribute if found.name == name), default)


def _shapes(model: Any) -> tuple[Any, dict[str, tuple[int, ...]]]:
    """The graph without functions, and the shape of every value in it whose shape is known at batch 1."""
    import onnx

    light = onnx.ModelProto()
    light.CopyFrom(_without_weights(model))
    light = onnx.inliner.inline_local_functions(light) if light.functions else light
    for value in light.graph.input:
        axes = value.type.tensor_type.shape.dim
        if axes and not axes[0].HasField("dim_value"):
            axes[0].dim_value = 1
    # What the exporter noted of shapes holds the free batch, and would be kept beside our one.
    del light.graph.value_info[:]
    for value in light.graph.output:
        value.type.tensor_type.ClearField("shape")
    graph = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        axes = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(axis.HasField("dim_value") for axis in axes):
            shapes[value.name] = tuple(axis.dim_value for axis in axes)
    return graph, shapes


def _without_weights(model: Any) -> Any:
    """The model with large constants as inputs of their shape: shapes follow from it, and nothing large is copied."""
    from onnx import ModelProto, helper

    light = ModelProto()
    light.ir_version = model.ir_version
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    named = {tensor.name for tensor in model.graph.initializer}
    graph.input.extend(value for value in model.graph.input if value.name not in named)
    graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= _SMALL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return light
