"""How a transposed convolution in a graph becomes other operators: one function a form, which `lower.py` describes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from onnx import NodeProto, helper

from ganlet.export.graph import Array, Graph, attributes, layer_name

POINTWISE = {"Relu", "LeakyRelu", "Tanh", "Sigmoid", "Elu", "Selu", "Softplus", "HardSwish", "HardSigmoid", "Identity"}
"""Activations without a tensor of their own: they may change places with whatever only moves values."""


@dataclass(frozen=True)
class Geometry:
    """What a ConvTranspose of two spatial axes does, each tuple in the order height, width."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    begin: tuple[int, int]
    """Rows and columns that are cropped from the full output at its start."""
    end: tuple[int, int]
    """The same at its end: the padding less the output padding."""
    dilations: tuple[int, int]
    group: int
    known: bool
    """False where the padding is left to be computed (auto_pad, output_shape)."""


def geometry_of(graph: Graph, node: NodeProto) -> Geometry:
    found = attributes(node)
    kernel = graph.constants[node.input[1]].shape[2:]
    pads = found.get("pads", [0, 0, 0, 0])
    extra = found.get("output_padding", [0, 0])
    return Geometry(
        kernel=cast(tuple[int, int], tuple(kernel)),
        strides=cast(tuple[int, int], tuple(found.get("strides", (1, 1)))),
        begin=(pads[0], pads[1]),
        end=(pads[2] - extra[0], pads[3] - extra[1]),
        dilations=cast(tuple[int, int], tuple(found.get("dilations", (1, 1)))),
        group=found.get("group", 1),
        known=found.get("auto_pad", b"NOTSET") == b"NOTSET" and "output_shape" not in found,
    )


def shuffle(graph: Graph, node: NodeProto) -> None:
    """ConvTranspose (kernel m * s, stride s) -> Conv (kernel m) -> activation -> DepthToSpace(s) -> crop.

    Row q * s + r of the full output is the sum over t < m of input row q - t times kernel row t * s + r: for each r an
    ordinary convolution of m rows, reversed. Its s * s results are channels until DepthToSpace puts them in place.
    """
    stride = geometry_of(graph, node).strides[0]
    chain, made, crop = _convolved(graph, node)
    last = str(chain[-1].output[0])
    if stride > 1:
        made.append(_step("DepthToSpace", made, f"{last}_full", blocksize=stride, mode="CRD"))
    if any(map(any, crop)):
        made.append(_crop(graph, made, last, crop, axes=[2, 3]))
    made[-1].output[0] = last
    graph.replace(chain, made)


def interleave(graph: Graph, node: NodeProto) -> None:
    """The same Conv, whose s * s results are put in place with channels last, whole pixels at a time.

    The transposes to channels last and back are undone by those that ONNX Runtime puts around its int8 convolutions,
    so that of DepthToSpace and of them one transpose remains. The height and width of the input have to be known.
    """
    height, width = graph.shapes()[node.input[0]][2:]
    stride = geometry_of(graph, node).strides[0]
    chain, made, crop = _convolved(graph, node, phases_first=True)
    last = str(chain[-1].output[0])
    convolution = attributes(made[0])
    (kernel_height, kernel_width), pads = convolution["kernel_shape"], convolution["pads"]
    rows = cast(int, height) + pads[0] + pads[2] - kernel_height + 1
    columns = cast(int, width) + pads[1] + pads[3] - kernel_width + 1
    row_of_pixels = len(graph.constants[made[0].input[1]]) // stride  # numbers in s pixels: s * out

    def reshape(what: str, shape: list[int]) -> None:
        stored = graph.store(f"{last}_{what}_shape", np.array(shape, dtype=np.int64))
        made.append(_step("Reshape", made, f"{last}_{what}", stored))

    made.append(_step("Transpose", made, f"{last}_channels_last", perm=[0, 2, 3, 1]))
    reshape("phases", [0, rows, columns, stride, row_of_pixels])
    made.append(_step("Transpose", made, f"{last}_interleaved", perm=[0, 1, 3, 2, 4]))
    reshape("full", [0, rows * stride, columns * stride, row_of_pixels // stride])
    if any(map(any, crop)):
        made.append(_crop(graph, made, f"{last}_cropped", crop, axes=[1, 2]))
    made.append(_step("Transpose", made, last, perm=[0, 3, 1, 2]))
    graph.replace(chain, made)


def _convolved(
    graph: Graph, node: NodeProto, phases_first: bool = False
) -> tuple[list[NodeProto], list[NodeProto], list[list[int]]]:
    """A layer with its activations, the Conv and activations in their place, and what remains to be cropped.

    The Conv makes s * s phases of each channel, those of a channel together, or `phases_first` the channels of each.
    Whole strides of the crop are taken from its padding.
    """
    geometry = geometry_of(graph, node)
    stride, group = geometry.strides[0], geometry.group
    weight = shuffled_weight(graph.constants[node.input[1]], stride, group)  # (out * s * s, in / group, mh, mw)
    order = np.arange(len(weight))
    if phases_first:
        order = order.reshape(-1, stride**2).T.ravel()
    less = [[crop // stride for crop in side] for side in (geometry.begin, geometry.end)]
    crop = [[crop % stride for crop in side] for side in (geometry.begin, geometry.end)]
    reach = [length - 1 for length in weight.shape[2:]]
    pads = [whole - taken for side in less for whole, taken in zip(reach, side, strict=True)]
    chain = _with_activation(graph, node)
    about: dict[str, Any] = {"kernel_shape": weight.shape[2:], "pads": pads, "group": group}
    convolution = _layer_node(graph, "Conv", node, weight[order], order // stride**2, **about)
    return chain, [convolution, *_moved(chain[1:], convolution.output[0])], crop


def shuffled_weight(weight: Array, stride: int, group: int = 1) -> Array:
    """(in, out / group, m s, n s) of a ConvTranspose -> (out s s, in / group, m, n) of the Conv in its place.

    Channel c s s + i s + j holds what DepthToSpace (CRD) puts at row i, column j of each s x s block of channel c.
    """
    entering, out, height, width = weight.shape
    parts = weight.reshape(group, entering // group, out, height // stride, stride, width // stride, stride)
    parts = parts[:, :, :, ::-1, :, ::-1, :]  # (g, in / g, out / g, m, i, n, j), both kernel axes reversed
    moved = parts.transpose(0, 2, 4, 6, 1, 3, 5)  # (g, out / g, i, j, in / g, m, n)
    return moved.reshape(group * out * stride**2, entering // group, height // stride, width // stride)


def to_gemm(graph: Graph, node: NodeProto) -> None:
    """ConvTranspose on a 1 x 1 input -> Gemm -> activation -> Reshape with channels last -> Transpose; of a Gemm the
    weight is stored as (in, out), as int8 has it.

    As with `interleave`, the transpose is undone by the one that ONNX Runtime puts before an int8 convolution.
    """
    if node.op_type == "Gemm":
        _weight_by_columns(graph, node)
        return
    weight = _of_one_pixel(graph, node).transpose(0, 2, 3, 1)  # (in, h, w, out)
    entering, height, width, out = weight.shape
    chain = _with_activation(graph, node)
    last = str(chain[-1].output[0])
    made: list[NodeProto] = []
    rows = _rows(graph, node.input[0], made, last)
    channel_of = np.tile(np.arange(out), height * width)
    made.append(_layer_node(graph, "Gemm", node, weight.reshape(entering, -1), channel_of, source=rows))
    made += _moved(chain[1:], made[-1].output[0])
    shape = graph.store(f"{layer_name(node)}.shape", np.array([0, height, width, out], dtype=np.int64))
    made.append(_step("Reshape", made, f"{last}_channels_last", shape))
    made.append(_step("Transpose", made, last, perm=[0, 3, 1, 2]))
    graph.replace(chain, made)


def to_conv1x1(graph: Graph, node: NodeProto) -> None:
    """ConvTranspose on a 1 x 1 input -> Conv 1 x 1 -> activation -> Reshape; of a Gemm with a Reshape before it."""
    if node.op_type == "Gemm":
        _gemm_to_conv1x1(graph, node)
        return
    weight = _of_one_pixel(graph, node)
    entering, out, height, width = weight.shape
    chain = _with_activation(graph, node)
    kernel = np.ascontiguousarray(weight.reshape(entering, -1).T)[..., None, None]  # (out h w, in, 1, 1)
    channel_of = np.repeat(np.arange(out), height * width)
    first = _layer_node(graph, "Conv", node, kernel, channel_of, kernel_shape=[1, 1])
    made = [first, *_moved(chain[1:], first.output[0])]
    shape = graph.store(f"{layer_name(node)}.shape", np.array([0, out, height, width], dtype=np.int64))
    made.append(_step("Reshape", made, str(chain[-1].output[0]), shape))
    graph.replace(chain, made)


def _columns(graph: Graph, node: NodeProto) -> Array:
    """The weight of a Gemm as (in, out)."""
    weight = graph.constants[node.input[1]]
    return np.ascontiguousarray(weight.T) if attributes(node).get("transB", 0) else weight


def _weight_by_columns(graph: Graph, node: NodeProto) -> None:
    weight = _columns(graph, node)
    made = _layer_node(graph, "Gemm", node, weight, np.arange(weight.shape[1]))
    made.output[0] = node.output[0]
    graph.replace([node], [made])


def _gemm_to_conv1x1(graph: Graph, node: NodeProto) -> None:
    rows = np.ascontiguousarray(_columns(graph, node).T)  # (out, in)
    chain, name = _with_activation(graph, node), layer_name(node)
    pixel = graph.store(f"{name}.pixel_shape", np.array([0, rows.shape[1], 1, 1], dtype=np.int64))
    given = helper.make_node("Reshape", [node.input[0], pixel], [f"{name}_pixel"], name=f"{name}_pixel")
    about: dict[str, Any] = {"source": f"{name}_pixel", "kernel_shape": [1, 1]}
    first = _layer_node(graph, "Conv", node, rows[..., None, None], np.arange(len(rows)), **about)
    made = [given, first, *_moved(chain[1:], first.output[0])]
    shape = graph.store(f"{name}.shape", np.array([0, len(rows)], dtype=np.int64))
    made.append(_step("Reshape", made, str(chain[-1].output[0]), shape))
    graph.replace(chain, made)


def _of_one_pixel(graph: Graph, node: NodeProto) -> Array:
    """(in, out, h, w) of a ConvTranspose on a 1 x 1 input: each pixel of its cropped output is one inner product."""
    geometry = geometry_of(graph, node)
    (top, left), (bottom, right) = geometry.begin, geometry.end
    whole = graph.constants[node.input[1]]
    return whole[:, :, top : whole.shape[2] - bottom, left : whole.shape[3] - right]


def _rows(graph: Graph, source: str, made: list[NodeProto], last: str) -> str:
    """A tensor (batch, channels) of `source` (batch, channels, 1, 1): before its Reshape, or flattened."""
    reshape = graph.producers().get(source)
    if reshape is not None and reshape.op_type == "Reshape" and len(graph.inputs.get(reshape.input[0], [])) == 2:
        if graph.only_consumer(source) is not None:
            graph.nodes = [node for node in graph.nodes if node is not reshape]
        return str(reshape.input[0])
    made.append(helper.make_node("Flatten", [source], [f"{last}_rows"], name=f"{last}_rows", axis=1))
    return f"{last}_rows"


def _with_activation(graph: Graph, node: NodeProto) -> list[NodeProto]:
    """A layer and the pointwise activations that alone take what it makes."""
    chain = [node]
    while (following := graph.only_consumer(chain[-1].output[0])) is not None and following.op_type in POINTWISE:
        chain.append(following)
    return chain


def _layer_node(
    graph: Graph, kind: str, node: NodeProto, weight: Array, channel_of: Array, source: str | None = None, **about: Any
) -> NodeProto:
    """A Conv or Gemm in the place of `node`, whose outputs have the biases of the channels `channel_of`."""
    name = layer_name(node)
    inputs = [source or node.input[0], graph.store(f"{name}.weight", weight, [node])]
    if len(node.input) > 2 and node.input[2]:
        bias = graph.constants[node.input[2]][channel_of]
        inputs.append(graph.store(f"{name}.bias", bias, [node]))
    return helper.make_node(kind, inputs, [f"{node.output[0]}_lowered"], name=node.name, **about)


def _moved(activations: list[NodeProto], source: str) -> list[NodeProto]:
    """Copies of a chain of activations, applied to `source`."""
    made = []
    for activation in activations:
        copy = NodeProto()
        copy.CopyFrom(activation)
        copy.input[0] = source
        source = copy.output[0] = f"{activation.output[0]}_lowered"
        made.append(copy)
    return made


def _step(kind: str, made: list[NodeProto], output: str, *more: str, **about: Any) -> NodeProto:
    """A node that takes what the last of `made` makes."""
    name = f"{output}_{kind}"
    return helper.make_node(kind, [made[-1].output[0], *more], [output], name=name, **about)


def _crop(graph: Graph, made: list[NodeProto], last: str, crop: list[list[int]], axes: list[int]) -> NodeProto:
    """A Slice of rows and columns, which are `axes`: `crop` is [[top, left], [bottom, right]]."""
    begin, end = crop
    stops = [-length if length else np.iinfo(np.int64).max for length in end]
    bounds = {"starts": begin, "ends": stops, "axes": axes}
    names = [graph.store(f"{last}_{key}", np.array(value, dtype=np.int64)) for key, value in bounds.items()]
    return _step("Slice", made, last, *names)


FORMS: dict[str, Callable[[Graph, NodeProto], None]] = {
    "shuffled": shuffle,
    "interleaved": interleave,
    "conv1x1": to_conv1x1,
    "gemm": to_gemm,
}
"""Form -> what puts a layer into it."""
