"""Exact rewrites of a generator's graph: the same pictures from other operators, which a device may run faster.

A transposed convolution can take four forms. Each is the same sum in another order, so in float64 they agree to 1e-14;
weights are only moved, never changed.

    transposed  ConvTranspose, as it is
    shuffled    Conv with stride * stride times the channels -> activation -> DepthToSpace -> crop
    conv1x1     on a 1 x 1 input: Conv 1 x 1 that makes all pixels as channels -> activation -> Reshape
    gemm        on a 1 x 1 input: the same as a matrix product
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
from onnx import ModelProto, NodeProto, helper

from ganlet.errors import GanletError
from ganlet.export.graph import Array, Graph, attributes, layer_name

Form = Literal["transposed", "shuffled", "conv1x1", "gemm"]
Role = Literal["first", "hidden", "last"]
POINTWISE = {"Relu", "LeakyRelu", "Tanh", "Sigmoid", "Elu", "Selu", "Softplus", "HardSwish", "HardSigmoid", "Identity"}
"""Activations without a tensor of their own: they may change places with whatever only moves values."""


@dataclass(frozen=True)
class Layer:
    """A transposed convolution of a model.

    `name`: that of its weight, `layer1.0`. `role`: first after the input, last before the output, or hidden. `forms`:
    those it can take. `reason`: why it cannot take those that are missing; empty where none is.
    """

    name: str
    role: Role
    forms: tuple[Form, ...]
    reason: str


@dataclass(frozen=True)
class _Geometry:
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


def layers_of(model: ModelProto) -> list[Layer]:
    """The transposed convolutions of a model in their order, with the forms that each can take."""
    graph = Graph(model)
    shapes = graph.shapes()
    found = [node for node in graph.nodes if node.op_type == "ConvTranspose"]
    layers = []
    for index, node in enumerate(found):
        role: Role = "first" if index == 0 else "last" if index == len(found) - 1 else "hidden"
        layers.append(Layer(layer_name(node), role, *_possible(graph, node, shapes)))
    return layers


def _possible(graph: Graph, node: NodeProto, shapes: Mapping[str, list[int | None]]) -> tuple[tuple[Form, ...], str]:
    reason = _left_alone(graph, node, shapes)
    if reason:
        return ("transposed",), reason
    geometry = _geometry(graph, node)
    if shapes[node.input[0]][2:] == [1, 1]:
        if geometry.group != 1:
            return ("transposed",), f"it has {geometry.group} groups on a 1 x 1 input"
        return ("transposed", "conv1x1", "gemm"), ""
    (height, width), (stride, other) = geometry.kernel, geometry.strides
    if stride != other:
        return ("transposed",), f"its strides {stride} and {other} differ"
    if height % stride or width % stride:
        return ("transposed",), f"its kernel of {height} x {width} is no multiple of its stride {stride}"
    return ("transposed", "shuffled"), ""


def _left_alone(graph: Graph, node: NodeProto, shapes: Mapping[str, list[int | None]]) -> str:
    """Why no form but its own is exact, or known, for a layer; empty where one may be."""
    weight = graph.constants.get(node.input[1])
    if weight is None or (len(node.input) > 2 and node.input[2] and node.input[2] not in graph.constants):
        return "its weights are computed in the graph"
    if weight.ndim != 4 or len(shapes.get(node.input[0], [])) != 4:
        return "it is not a convolution of pictures"
    geometry = _geometry(graph, node)
    if not geometry.known:
        return "its padding is left to the runtime"
    if geometry.dilations != (1, 1):
        return f"its dilations are {geometry.dilations}"
    if min(geometry.end) < 0:
        return "its output padding is larger than its padding"
    if any(crop >= kernel for crop, kernel in zip((*geometry.begin, *geometry.end), geometry.kernel * 2, strict=True)):
        return f"its padding is as large as its kernel of {geometry.kernel[0]} x {geometry.kernel[1]}"
    return ""


def _geometry(graph: Graph, node: NodeProto) -> _Geometry:
    found = attributes(node)
    kernel = graph.constants[node.input[1]].shape[2:]
    pads = found.get("pads", [0, 0, 0, 0])
    extra = found.get("output_padding", [0, 0])
    return _Geometry(
        kernel=cast(tuple[int, int], tuple(kernel)),
        strides=cast(tuple[int, int], tuple(found.get("strides", (1, 1)))),
        begin=(pads[0], pads[1]),
        end=(pads[2] - extra[0], pads[3] - extra[1]),
        dilations=cast(tuple[int, int], tuple(found.get("dilations", (1, 1)))),
        group=found.get("group", 1),
        known=found.get("auto_pad", b"NOTSET") == b"NOTSET" and "output_shape" not in found,
    )


# ---------------------------------------------------------------- forms


def rewritten(model: ModelProto, forms: Mapping[str, Form]) -> ModelProto:
    """The model with each named layer in the form told; layers that are not named stay as they are.

    Raises GanletError for a layer that the model has not, and for a form that a layer cannot take.
    """
    known = {layer.name: layer for layer in layers_of(model)}
    for name, form in forms.items():
        if name not in known:
            raise GanletError(f"The model has no layer {name!r}; expected one of {', '.join(known) or 'none at all'}.")
        if form not in known[name].forms:
            raise GanletError(
                f"Layer {name} cannot take the form {form!r}{_because(known[name])}; expected one of "
                f"{', '.join(known[name].forms)}."
            )
    graph = Graph(model)
    for node in [node for node in graph.nodes if node.op_type == "ConvTranspose"]:
        form = forms.get(layer_name(node), "transposed")
        if form == "shuffled":
            _shuffle(graph, node)
        elif form != "transposed":
            _from_one_pixel(graph, node, form)
    return graph.model()


def _because(layer: Layer) -> str:
    return f" ({layer.reason})" if layer.reason else ""


def _shuffle(graph: Graph, node: NodeProto) -> None:
    """ConvTranspose (kernel m * s, stride s) -> Conv (kernel m) -> activation -> DepthToSpace(s) -> crop.

    Row q * s + r of the full output is the sum over t < m of input row q - t times kernel row t * s + r: for each r an
    ordinary convolution of m rows, reversed. Its s * s results are channels until DepthToSpace puts them in place.
    Whole strides of the crop are taken from the convolution's own padding.
    """
    geometry = _geometry(graph, node)
    stride, group = geometry.strides[0], geometry.group
    weight = shuffled_weight(graph.constants[node.input[1]], stride, group)  # (out * s * s, in / group, mh, mw)
    less = [[crop // stride for crop in side] for side in (geometry.begin, geometry.end)]
    crop = [[crop % stride for crop in side] for side in (geometry.begin, geometry.end)]
    reach = [length - 1 for length in weight.shape[2:]]
    pads = [whole - taken for side in less for whole, taken in zip(reach, side, strict=True)]
    chain, last = _with_activation(graph, node)
    about: dict[str, Any] = {"kernel_shape": weight.shape[2:], "pads": pads, "group": group}
    convolution = _layer_node(graph, "Conv", node, weight, stride**2, **about)
    made = [convolution, *_moved(chain[1:], convolution.output[0])]
    if stride > 1:
        made.append(_step("DepthToSpace", made, f"{last}_full", blocksize=stride, mode="CRD"))
    if any(map(any, crop)):
        made.append(_crop(graph, made, last, crop))
    made[-1].output[0] = last
    graph.replace(chain, made)


def shuffled_weight(weight: Array, stride: int, group: int = 1) -> Array:
    """(in, out / group, m s, n s) of a ConvTranspose -> (out s s, in / group, m, n) of the Conv in its place.

    Channel c s s + i s + j holds what DepthToSpace (CRD) puts at row i, column j of each s x s block of channel c.
    """
    entering, out, height, width = weight.shape
    parts = weight.reshape(group, entering // group, out, height // stride, stride, width // stride, stride)
    parts = parts[:, :, :, ::-1, :, ::-1, :]  # (g, in / g, out / g, m, i, n, j), both kernel axes reversed
    moved = parts.transpose(0, 2, 4, 6, 1, 3, 5)  # (g, out / g, i, j, in / g, m, n)
    return moved.reshape(group * out * stride**2, entering // group, height // stride, width // stride)


def _from_one_pixel(graph: Graph, node: NodeProto, form: Form) -> None:
    """ConvTranspose on a 1 x 1 input: every output pixel is one inner product with the input's channels."""
    geometry = _geometry(graph, node)
    (top, left), (bottom, right) = geometry.begin, geometry.end
    whole = graph.constants[node.input[1]]  # (in, out, kh, kw)
    weight = whole[:, :, top : whole.shape[2] - bottom, left : whole.shape[3] - right]
    entering, out, height, width = weight.shape
    flat = weight.reshape(entering, out * height * width)  # (in, out h w)
    chain, last = _with_activation(graph, node)
    made: list[NodeProto] = []
    if form == "gemm":
        rows = _rows(graph, node.input[0], made, last)
        first = _layer_node(graph, "Gemm", node, flat, height * width, source=rows)
    else:
        kernel = np.ascontiguousarray(flat.T)[..., None, None]  # (out h w, in, 1, 1)
        first = _layer_node(graph, "Conv", node, kernel, height * width, kernel_shape=[1, 1])
    made += [first, *_moved(chain[1:], first.output[0])]
    shape = graph.store(f"{layer_name(node)}.shape", np.array([0, out, height, width], dtype=np.int64))
    made.append(_step("Reshape", made, last, shape))
    graph.replace(chain, made)


def _rows(graph: Graph, source: str, made: list[NodeProto], last: str) -> str:
    """A tensor (batch, channels) of `source` (batch, channels, 1, 1): before its Reshape, or flattened."""
    reshape = graph.producers().get(source)
    if reshape is not None and reshape.op_type == "Reshape" and len(graph.inputs.get(reshape.input[0], [])) == 2:
        if graph.only_consumer(source) is not None:
            graph.nodes = [node for node in graph.nodes if node is not reshape]
        return str(reshape.input[0])
    made.append(helper.make_node("Flatten", [source], [f"{last}_rows"], name=f"{last}_rows", axis=1))
    return f"{last}_rows"


def _with_activation(graph: Graph, node: NodeProto) -> tuple[list[NodeProto], str]:
    """A layer and the pointwise activations that alone take what it makes; and the name of what comes out."""
    chain = [node]
    while (following := graph.only_consumer(chain[-1].output[0])) is not None and following.op_type in POINTWISE:
        chain.append(following)
    return chain, str(chain[-1].output[0])


def _layer_node(
    graph: Graph, kind: str, node: NodeProto, weight: Array, repeat: int, source: str | None = None, **about: Any
) -> NodeProto:
    """A Conv or Gemm in the place of `node`, each value of whose bias is repeated."""
    name = layer_name(node)
    inputs = [source or node.input[0], graph.store(f"{name}.weight", weight, [node])]
    if len(node.input) > 2 and node.input[2]:
        bias = np.repeat(graph.constants[node.input[2]], repeat)
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
    name = f"{made[-1].name}_{kind}"
    return helper.make_node(kind, [made[-1].output[0], *more], [output], name=name, **about)


def _crop(graph: Graph, made: list[NodeProto], last: str, crop: list[list[int]]) -> NodeProto:
    """A Slice of rows and columns: `crop` is [[top, left], [bottom, right]]."""
    begin, end = crop
    stops = [-length if length else np.iinfo(np.int64).max for length in end]
    bounds = {"starts": begin, "ends": stops, "axes": [2, 3]}
    names = [graph.store(f"{last}_{key}", np.array(value, dtype=np.int64)) for key, value in bounds.items()]
    return _step("Slice", made, last, *names)
