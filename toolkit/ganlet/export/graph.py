"""What every rewrite of an ONNX graph needs: constants as arrays, who makes and who takes a tensor, and a tidy end."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from ganlet.errors import GanletError

Array = NDArray[Any]


class Graph:
    """A private copy of a model, to be changed through `nodes` and `constants` and written out by `model`."""

    def __init__(self, model: ModelProto) -> None:
        """Raises GanletError for a graph with functions or nodes that hold graphs: a generator has none."""
        self._model = onnx.ModelProto()
        self._model.CopyFrom(model)
        graph = self._model.graph
        held = any(a.type in (a.GRAPH, a.GRAPHS) for node in graph.node for a in node.attribute)
        if held or len(self._model.functions) or len(graph.sparse_initializer):
            raise GanletError(
                "The ONNX graph holds functions, branches or sparse weights, which no rewrite here knows; expected a "
                "generator as `ganlet export --to onnx` writes it."
            )
        self.constants: dict[str, Array] = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.nodes: list[NodeProto] = []
        for node in graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
            else:
                self.nodes.append(node)
        self.outputs = [output.name for output in graph.output]
        self.inputs = {value.name: _lengths(value) for value in graph.input}
        self.input_types = {value.name: value.type.tensor_type.elem_type for value in graph.input}
        self.opset = next(entry.version for entry in self._model.opset_import if entry.domain in ("", "ai.onnx"))

    def consumers(self) -> dict[str, list[NodeProto]]:
        """Tensor -> the nodes that take it, once for each time."""
        found: dict[str, list[NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                found[name].append(node)
        return found

    def producers(self) -> dict[str, NodeProto]:
        return {name: node for node in self.nodes for name in node.output}

    def only_consumer(self, name: str) -> NodeProto | None:
        """The one node that takes a tensor; None where there are more, or where the tensor leaves the graph."""
        takers = self.consumers()[name]
        return takers[0] if len(takers) == 1 and name not in self.outputs else None

    def replace(self, old: Iterable[NodeProto], new: Iterable[NodeProto]) -> None:
        """Put `new` where the last of `old` stands: all that they take has been made there."""
        gone = {id(node) for node in old}
        place = max(index for index, node in enumerate(self.nodes) if id(node) in gone)
        kept_before = [node for node in self.nodes[:place] if id(node) not in gone]
        self.nodes = [*kept_before, *new, *self.nodes[place + 1 :]]

    def store(self, name: str, value: Array, instead_of: Iterable[NodeProto] = ()) -> str:
        """Store a constant under `name`, or that with a number where it is taken; returns the name.

        The constants that only the nodes `instead_of` take are about to go, so their names are free.
        """
        gone = {id(node) for node in instead_of}
        leaving = {n for node in self.nodes if id(node) in gone for n in node.input}
        leaving -= {n for node in self.nodes if id(node) not in gone for n in node.input} | set(self.outputs)
        taken = (self.constants.keys() - leaving) | self.inputs.keys() | self.producers().keys()
        free = next(n for n in _numbered(name) if n not in taken)
        self.constants[free] = value
        return free

    def shapes(self) -> dict[str, list[int | None]]:
        """Axis lengths of every tensor whose rank can be inferred; None for a free axis."""
        inferred = onnx.shape_inference.infer_shapes(self.model()).graph
        values = [*inferred.value_info, *inferred.input, *inferred.output]
        return {value.name: _lengths(value) for value in values if value.type.tensor_type.HasField("shape")}

    def model(self) -> ModelProto:
        """The model as it stands, without what nothing takes; intermediate shapes are left to be inferred."""
        used = {name for node in self.nodes for name in node.input} | set(self.outputs)
        made = onnx.ModelProto()
        made.CopyFrom(self._model)
        for field in ("node", "initializer", "value_info"):
            made.graph.ClearField(field)
        made.graph.node.extend(self.nodes)
        made.graph.initializer.extend(
            numpy_helper.from_array(np.ascontiguousarray(value), name)
            for name, value in self.constants.items()
            if name in used
        )
        return made


def layer_name(node: NodeProto) -> str:
    """What a layer is called in every form: its weight's name, without the last word."""
    return re.sub(r"\.weight(_\d+)?$", "", node.input[1])


def attributes(node: NodeProto) -> dict[str, Any]:
    """Attributes of a node as Python values."""
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _numbered(name: str) -> Iterator[str]:
    yield name
    number = 2
    while True:
        yield f"{name}_{number}"
        number += 1


def _lengths(value: onnx.ValueInfoProto) -> list[int | None]:
    return [axis.dim_value if axis.HasField("dim_value") else None for axis in value.type.tensor_type.shape.dim]
