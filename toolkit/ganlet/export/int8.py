"""A generator in int8: static Q/DQ on the rewritten graph, weights per channel, scales from its own activations.

Every Conv and Gemm takes int8 and gives int8; what only moves values (Transpose, DepthToSpace, Slice, ...) stands
between equal scales, so that a runtime moves bytes. Weights are symmetric, biases stay fp32 (TensorRT
refuses int32 ones), and a ConvTranspose stays as it is: quantised it would be slower. `Profile.unsigned` tells of the
two kinds of activations.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from ganlet.errors import GanletError
from ganlet.export.calibrate import COUNT, LEVELS, METHOD, METHODS, Histogram, histograms
from ganlet.export.fold import fold_batch_norm
from ganlet.export.graph import Array, Graph, attributes, layer_name
from ganlet.export.lower import Form, rewritten
from ganlet.export.profiles import forms_by, profile_named

QUANTISED = ("Conv", "Gemm")
MOVING = ("Reshape", "Flatten", "Transpose", "DepthToSpace", "Slice")
UNSIGNED_LEVELS = 255


@dataclass(frozen=True)
class Scale:
    """real = integer * step; the integer is int8, or uint8 where `unsigned`."""

    step: float
    unsigned: bool = False


def quantised(model: ModelProto, scales: Mapping[str, Scale], keep: frozenset[str] = frozenset()) -> ModelProto:
    """The model with Q/DQ around every Conv and Gemm but those of the layers in `keep`.

    `scales`: tensor -> scale, for all that `tensors_to_scale` names. Raises GanletError where nothing can be quantised.
    """
    graph = Graph(model)
    writer = _Writer(graph, scales)
    for node in graph.nodes:
        writer.copy(node, node.op_type in QUANTISED and layer_name(node) not in keep)
    if not writer.layers:
        raise GanletError(
            "The model has no Conv or Gemm to quantise; lower it first with the profile cpu-int8 or trt-int8, whose "
            "transposed convolutions have another form."
        )
    graph.nodes = writer.nodes
    return graph.model()


def tensors_to_scale(model: ModelProto, keep: frozenset[str] = frozenset()) -> dict[str, str]:
    """Tensor that needs a scale -> tensor whose values decide it.

    They are one, but for what a ReLU follows: the negative numbers before it need no room, so its own result decides.
    """
    graph = Graph(model)
    found: dict[str, str] = {}
    made: set[str] = set()
    for node in graph.nodes:
        if node.op_type in QUANTISED and layer_name(node) not in keep:
            if node.input[0] not in made:
                found[node.input[0]] = node.input[0]
            follows = graph.only_consumer(node.output[0])
            relu = follows is not None and follows.op_type == "Relu"
            found[node.output[0]] = follows.output[0] if relu and follows is not None else node.output[0]
            made.add(node.output[0])
        elif (_moves(node) or node.op_type == "Relu") and node.input[0] in made:
            made.add(node.output[0])
    return found


@dataclass(frozen=True)
class LayerScales:
    """The scales between which a layer is in int8; `entering` is None where the layer before has made int8 already."""

    entering: Scale | None
    leaving: Scale


def scales_by_layer(
    model: ModelProto, scales: Mapping[str, Scale], keep: frozenset[str] = frozenset()
) -> dict[str, LayerScales]:
    """Layer -> the scales that `quantised` puts around it, for the layers that are in int8, in their order."""
    found: dict[str, LayerScales] = {}
    made: set[str] = set()
    for node in Graph(model).nodes:
        if node.op_type in QUANTISED and layer_name(node) not in keep:
            entering = None if node.input[0] in made else scales.get(node.input[0])
            found[layer_name(node)] = LayerScales(entering, scales[node.output[0]])
            made.add(node.output[0])
    return found


def scales_by(
    seen: Mapping[str, Histogram], decided_by: Mapping[str, str], method: str, unsigned: bool
) -> dict[str, Scale]:
    """Tensor -> scale by one of METHODS. Raises GanletError for another name."""
    if method not in METHODS:
        raise GanletError(f"There is no way {method!r} to calibrate; expected one of {', '.join(METHODS)}.")
    found = {}
    for name, decisive in decided_by.items():
        positive = unsigned and seen[decisive].lowest >= 0
        levels = UNSIGNED_LEVELS if positive else LEVELS
        top = METHODS[method](seen[decisive], levels)
        found[name] = Scale(float(np.float32(top / levels)) or 1.0, positive)
    return found


def _moves(node: NodeProto) -> bool:
    """Whether a node only moves or repeats values."""
    return node.op_type in MOVING or (node.op_type == "Resize" and attributes(node).get("mode") == b"nearest")


class _Writer:
    """Copies nodes, putting Q/DQ where a scale is known."""

    def __init__(self, graph: Graph, scales: Mapping[str, Scale]) -> None:
        self.graph, self.scales = graph, scales
        self.nodes: list[NodeProto] = []
        self.layers = 0
        self.known: dict[str, tuple[str, Scale]] = {}
        """Tensor -> its dequantised self, and its scale."""
        self.stored: dict[Scale, tuple[str, str]] = {}
        """Scale -> the constants of it: what stands between equal scales shares them."""

    def copy(self, node: NodeProto, quantise: bool) -> None:
        copy = NodeProto()
        copy.CopyFrom(node)
        source, output = node.input[0] if node.input else "", node.output[0]
        if quantise:
            if source not in self.known:
                self._pair(source, self.scales[source])
            copy.input[0], copy.input[1] = self.known[source][0], self._weight(node)
            self.nodes.append(copy)
            self._pair(output, self.scales[output])
            self.layers += 1
            return
        if node.op_type == "Relu" and source in self.known and self.known[source][1].unsigned:
            self.known[output] = self.known[source]  # uint8 has no negative numbers: it is the ReLU
            return
        for index, name in enumerate(node.input):
            copy.input[index] = self.known[name][0] if name in self.known else name
        self.nodes.append(copy)
        passes_on = (_moves(node) or node.op_type == "Relu") and output not in self.graph.outputs
        if passes_on and source in self.known:
            self._pair(output, self.known[source][1])

    def _pair(self, name: str, scale: Scale) -> None:
        step, zero = self.stored.get(scale) or self._store(name, scale)
        integers, again = f"{name}.quantised", f"{name}.dequantised"
        self.nodes.append(helper.make_node("QuantizeLinear", [name, step, zero], [integers], name=integers))
        self.nodes.append(helper.make_node("DequantizeLinear", [integers, step, zero], [again], name=again))
        self.known[name] = (again, scale)

    def _store(self, name: str, scale: Scale) -> tuple[str, str]:
        step = self.graph.store(f"{name}.scale", np.array(scale.step, dtype=np.float32))
        zero = self.graph.store(f"{name}.zero", np.array(0, dtype=np.uint8 if scale.unsigned else np.int8))
        self.stored[scale] = step, zero
        return step, zero

    def _weight(self, node: NodeProto) -> str:
        """The DequantizeLinear of a layer's int8 weight; returns what it makes."""
        axis = 0 if node.op_type == "Conv" else 1
        integers, steps = quantised_weight(self.graph.constants[node.input[1]], axis)
        name = str(node.input[1])
        parts = [
            self.graph.store(f"{name}.int8", integers),
            self.graph.store(f"{name}.scale", steps),
            self.graph.store(f"{name}.zero", np.zeros(steps.shape, dtype=np.int8)),
        ]
        made = f"{name}.dequantised"
        self.nodes.append(helper.make_node("DequantizeLinear", parts, [made], name=made, axis=axis))
        return made


def quantised_weight(weight: Array, axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """int8 integers of `weight`'s shape, and a step for each index of the output axis `axis`.

    The largest weight of an output becomes 127, or less where two neighbours of one sign would together pass 128. x86
    processors before VNNI (2019) add two products of uint8 and int8 in 16 bits that saturate (PMADDUBSW), and 255 * 128
    is what they hold; without this the same file was 5 dB worse there. Neighbours are those that ONNX Runtime packs
    together: input channels 2 i and 2 i + 1 of a tap.
    """
    rows = np.moveaxis(weight.astype(np.float64), axis, 0)
    largest = np.maximum(np.abs(rows).reshape(len(rows), -1).max(axis=1), _largest_pair(rows))
    steps = np.where(largest > 0, largest / LEVELS, 1.0).astype(np.float32)
    integers = np.rint(rows / steps.astype(np.float64).reshape(-1, *[1] * (rows.ndim - 1)))
    return np.moveaxis(np.clip(integers, -LEVELS, LEVELS), 0, axis).astype(np.int8), steps


def _largest_pair(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest sum of two neighbouring weights of one sign, (out, in, ...) -> (out,)."""
    packed = np.moveaxis(rows, 1, -1).reshape(len(rows), -1)
    packed = np.pad(packed, [(0, 0), (0, packed.shape[1] % 2)])
    pairs = packed.reshape(len(rows), -1, 2)
    sums = [np.maximum(sign * pairs, 0.0).sum(axis=2) for sign in (1, -1)]
    return np.asarray(np.maximum(*sums).max(axis=1))


def to_int8(
    model: ModelProto,
    profile: str = "cpu-int8",
    *,
    forms: Mapping[str, Form] | None = None,
    method: str = METHOD,
    count: int = COUNT,
    keep: frozenset[str] = frozenset(),
) -> ModelProto:
    """Any fp32 generator file of Ganlet in int8: batch norms folded, layers in their forms, calibrated, quantised.

    `profile`: one of PROFILES, which gives the forms (unless `forms` names them) and the kind of activations. `method`:
    one of METHODS, looked at `count` latents. `keep`: layers that stay in fp32. Raises GanletError for an unknown name.
    """
    folded = fold_batch_norm(model)
    chosen = profile_named(profile)
    lowered = rewritten(folded, forms_by(chosen, folded) if forms is None else forms)
    decided_by = tensors_to_scale(lowered, keep)
    seen = histograms(lowered, list(decided_by.values()), count)
    return quantised(lowered, scales_by(seen, decided_by, method, chosen.unsigned), keep)
