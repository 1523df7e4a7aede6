"""A generator whose weights and arithmetic are half precision, with fp32 latents and pictures."""

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from ganlet.errors import GanletError
from ganlet.export.fold import fold_batch_norm
from ganlet.export.graph import Graph

# Own: onnxconverter-common 1.16 fails the checker with a Cast or Resize inside, onnxruntime's leaves nodes unsorted.
LARGEST = float(np.finfo(np.float16).max)  # 65504


def to_fp16(model: ModelProto) -> ModelProto:
    """The model in fp16, its inputs and outputs in fp32 as before; batch norms are folded in fp32 first.

    Raises GanletError for a weight beyond the range of fp16, and for an operator that has no fp16.
    """
    graph = Graph(fold_batch_norm(model))
    narrow = _narrow_constants(graph)
    for name in narrow:
        largest = float(np.abs(graph.constants[name]).max(initial=0.0))
        if not largest <= LARGEST:  # NaN is not, either
            raise GanletError(
                f"The weight {name} reaches {largest:.3g}, expected at most {LARGEST:g}, the largest fp16 number; "
                "export in fp32 or int8, or train with a lower learning rate."
            )
        graph.constants[name] = graph.constants[name].astype(np.float16)
    for node in graph.nodes:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
    _cast_at_the_ends(graph)
    return graph.model()


def _narrow_constants(graph: Graph) -> list[str]:
    """The fp32 constants, all of whose takers take fp16 there. Raises GanletError for an operator without fp16."""
    wide = {name for name, value in graph.constants.items() if value.dtype == np.float32}
    for node in graph.nodes:
        for index, name in enumerate(node.input):
            if not name or _takes_fp16(node, index, graph.opset):
                continue
            if name not in graph.constants:
                raise GanletError(f"The operator {node.op_type} of {node.name} has no fp16; export in fp32.")
            wide.discard(name)
    return [name for name in graph.constants if name in wide]


def _takes_fp16(node: NodeProto, index: int, opset: int) -> bool:
    """Whether an input of a node may be fp16, or is no floating-point number in any case."""
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    formal = schema.inputs[min(index, len(schema.inputs) - 1)]
    rules = {rule.type_param_str: rule.allowed_type_strs for rule in schema.type_constraints}
    allowed = rules.get(formal.type_str, [formal.type_str])
    return "tensor(float16)" in allowed or "tensor(float)" not in allowed


def _cast_at_the_ends(graph: Graph) -> None:
    """fp32 inputs become fp16 before their first use, and what leaves the graph becomes fp32 again."""
    renamed: dict[str, str] = {}
    before, after = [], []
    for name in graph.inputs:
        if graph.input_types[name] == TensorProto.FLOAT:
            renamed[name] = f"{name}_fp16"
            before.append(
                helper.make_node("Cast", [name], [renamed[name]], name=f"{name}_to_fp16", to=TensorProto.FLOAT16)
            )
    for name in graph.outputs:
        renamed[name] = f"{name}_fp16"
        after.append(helper.make_node("Cast", [renamed[name]], [name], name=f"{name}_to_fp32", to=TensorProto.FLOAT))
    for node in graph.nodes:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                names[index] = renamed.get(name, name)
    graph.nodes = [*before, *graph.nodes, *after]
