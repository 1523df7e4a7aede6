"""Batch norms of a generator in eval mode are a scale and a shift per channel: part of the layer before them."""

import numpy as np
from onnx import ModelProto, NodeProto, helper

from ganlet.export.graph import Graph, attributes, layer_name


def fold_batch_norm(model: ModelProto) -> ModelProto:
    """Fold every BatchNormalization that directly follows a Conv or ConvTranspose into its weights.

    y = (x - mean) / sqrt(var + eps) * scale + shift (Ioffe and Szegedy 2015, Algorithm 1, with the running statistics),
    worked out in float64 and rounded once.
    """
    graph = Graph(model)
    for norm in [node for node in graph.nodes if node.op_type == "BatchNormalization"]:
        layer = graph.producers().get(norm.input[0])
        if layer is not None and _can_fold(graph, layer, norm):
            _fold(graph, layer, norm)
    return graph.model()


def _can_fold(graph: Graph, layer: NodeProto, norm: NodeProto) -> bool:
    return (
        layer.op_type in ("Conv", "ConvTranspose")
        and not attributes(norm).get("training_mode", 0)
        and all(name in graph.constants for name in (*norm.input[1:5], *layer.input[1:]) if name)
        and graph.only_consumer(layer.output[0]) is norm
    )


def _fold(graph: Graph, layer: NodeProto, norm: NodeProto) -> None:
    scale, shift, mean, variance = (graph.constants[name].astype(np.float64) for name in norm.input[1:5])
    factor = scale / np.sqrt(variance + attributes(norm).get("epsilon", 1e-5))  # (out,)
    weight = graph.constants[layer.input[1]]
    wide = weight.astype(np.float64)
    if layer.op_type == "ConvTranspose":  # (in, out / group, kh, kw): the first in / group rows make the first outputs
        group = attributes(layer).get("group", 1)
        wide = wide.reshape(group, -1, *weight.shape[1:]) * factor.reshape(group, 1, -1, *[1] * (weight.ndim - 2))
    else:  # (out, in / group, kh, kw)
        wide = wide * factor.reshape(-1, *[1] * (weight.ndim - 1))
    bias = graph.constants[layer.input[2]].astype(np.float64) if len(layer.input) > 2 and layer.input[2] else 0.0
    values = {"weight": wide.reshape(weight.shape), "bias": (bias - mean) * factor + shift}
    stored = [
        graph.store(f"{layer_name(layer)}.{key}", value.astype(weight.dtype), [layer, norm])
        for key, value in values.items()
    ]
    folded = helper.make_node(layer.op_type, [layer.input[0], *stored], list(norm.output), name=layer.name)
    folded.attribute.extend(layer.attribute)
    graph.replace([layer, norm], [folded])
