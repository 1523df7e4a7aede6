"""The ports of a generator's ONNX model in memory."""

from pathlib import Path

import onnx
from onnx import ModelProto

from ganlet.device.contract import Contract, TensorInfo, read_contract


def model_contract(model: ModelProto) -> Contract:
    """What a generator's model takes and gives. Raises GanletError unless it is one that Ganlet exported."""
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    inputs, outputs = ([*map(_info, ends)] for ends in (model.graph.input, model.graph.output))
    return read_contract(Path("the model"), inputs, outputs, metadata)


def _info(value: onnx.ValueInfoProto) -> TensorInfo:
    kind = value.type.tensor_type
    shape = (axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim)
    return TensorInfo(value.name, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name, tuple(shape))
