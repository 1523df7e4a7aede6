"""Exact rewrites of a generator's graph: the same pictures from other operators, which a device may run faster.

A transposed convolution can take five forms, a fully connected layer (Gemm) the last two. Each is the same sum in
another order, so in float64 they agree to 1e-14; weights are only moved, never changed.

    transposed   ConvTranspose, as it is
    shuffled     Conv with stride * stride times the channels -> activation -> DepthToSpace -> crop
    interleaved  the same with the pixels put in place by transposes of whole pixels, channels last
    conv1x1      on a 1 x 1 input: Conv 1 x 1 that makes all pixels as channels -> activation -> Reshape
    gemm         on a 1 x 1 input: the same as a matrix product, channels last
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from onnx import ModelProto, NodeProto

from ganlet.errors import GanletError
from ganlet.export.forms import FORMS, geometry_of
from ganlet.export.graph import Graph, attributes, layer_name

Form = Literal["transposed", "shuffled", "interleaved", "conv1x1", "gemm"]
Role = Literal["first", "hidden", "last"]


@dataclass(frozen=True)
class Layer:
    """A transposed convolution or a fully connected layer of a model.

    `name`: that of its weight, `layer1.0`. `role`: first where no layer lies between it and the inputs, last where none
    lies between it and the outputs, else hidden. `forms`: those it can take, its own first. `reason`: why it cannot
    take those that are missing; empty where none is.
    """

    name: str
    role: Role
    forms: tuple[Form, ...]
    reason: str


def layers_of(model: ModelProto) -> list[Layer]:
    """The transposed convolutions and fully connected layers of a model in their order, with the forms of each."""
    graph = Graph(model)
    shapes, roles = graph.shapes(), _roles(graph)
    nodes = [node for node in graph.nodes if _is_layer(graph, node)]
    return [Layer(layer_name(node), roles[layer_name(node)], *_possible(graph, node, shapes)) for node in nodes]


def _is_layer(graph: Graph, node: NodeProto) -> bool:
    """Whether a node is a transposed convolution, or a Gemm of one constant matrix."""
    if node.op_type != "Gemm":
        return bool(node.op_type == "ConvTranspose")
    about = attributes(node)
    plain = about.get("alpha", 1.0) == about.get("beta", 1.0) == 1.0 and not about.get("transA", 0)
    return plain and all(name in graph.constants for name in node.input[1:] if name)


def _roles(graph: Graph) -> dict[str, Role]:
    """Layer -> its role, by what lies between it and the graph's inputs and outputs."""
    after: set[str] = set()  # tensors that a layer has had a part in
    follows: dict[str, bool] = {}
    for node in graph.nodes:
        behind = any(name in after for name in node.input)
        if _is_layer(graph, node):
            follows[layer_name(node)], behind = behind, True
        after.update(node.output if behind else ())
    before: set[str] = set()  # tensors that go into a layer
    roles: dict[str, Role] = {}
    for node in reversed(graph.nodes):
        ahead = any(name in before for name in node.output)
        if _is_layer(graph, node):
            name = layer_name(node)
            roles[name], ahead = "first" if not follows[name] else "hidden" if ahead else "last", True
        before.update(node.input if ahead else ())
    return roles


def _possible(graph: Graph, node: NodeProto, shapes: Mapping[str, list[int | None]]) -> tuple[tuple[Form, ...], str]:
    if node.op_type == "Gemm":
        return ("gemm", "conv1x1"), ""
    reason = _left_alone(graph, node, shapes)
    if reason:
        return ("transposed",), reason
    geometry = geometry_of(graph, node)
    if shapes[node.input[0]][2:] == [1, 1]:
        if geometry.group != 1:
            return ("transposed",), f"it has {geometry.group} groups on a 1 x 1 input"
        return ("transposed", "conv1x1", "gemm"), ""
    (height, width), (stride, other) = geometry.kernel, geometry.strides
    if stride != other:
        return ("transposed",), f"its strides {stride} and {other} differ"
    if height % stride or width % stride:
        return ("transposed",), f"its kernel of {height} x {width} is no multiple of its stride {stride}"
    if geometry.group > 1 or stride == 1 or None in shapes[node.input[0]][2:]:
        return ("transposed", "shuffled"), ""
    return ("transposed", "shuffled", "interleaved"), ""


def _left_alone(graph: Graph, node: NodeProto, shapes: Mapping[str, list[int | None]]) -> str:
    """Why no form but its own is exact, or known, for a layer; empty where one may be."""
    weight = graph.constants.get(node.input[1])
    if weight is None or (len(node.input) > 2 and node.input[2] and node.input[2] not in graph.constants):
        return "its weights are computed in the graph"
    if weight.ndim != 4 or len(shapes.get(node.input[0], [])) != 4:
        return "it is not a convolution of pictures"
    geometry = geometry_of(graph, node)
    if not geometry.known:
        return "its padding is left to the runtime"
    if geometry.dilations != (1, 1):
        return f"its dilations are {geometry.dilations}"
    if min(geometry.end) < 0:
        return "its output padding is larger than its padding"
    if any(crop >= kernel for crop, kernel in zip((*geometry.begin, *geometry.end), geometry.kernel * 2, strict=True)):
        return f"its padding is as large as its kernel of {geometry.kernel[0]} x {geometry.kernel[1]}"
    return ""


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
    for node in [node for node in graph.nodes if _is_layer(graph, node)]:
        form = forms.get(layer_name(node), "transposed")
        if form != "transposed":
            FORMS[form](graph, node)
    return graph.model()


def _because(layer: Layer) -> str:
    return f" ({layer.reason})" if layer.reason else ""
