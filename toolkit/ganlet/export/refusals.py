"""What TensorRT for RTX refuses to build, as a table: what in the graph and which target predicts it, and what to do.

Every row was seen with `READ_FROM`, and the tests hold each against the real builder for every target. A refusal is
never made from the table alone: the builder is asked, and the table explains its answer. Another version may differ.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from ganlet.errors import GanletError, words_of

READ_FROM = "TensorRT for RTX 1.7"

TARGETS = ("sm75", "sm80", "sm86", "sm89", "sm120", "sm121")
"""What it builds for: Turing, data-centre Ampere, Ampere, Ada, and the two Blackwells of desktops and of DGX Spark."""

UNKNOWN = 0  # TensorProto.UNDEFINED
PRODUCTS = {"Gemm", "MatMul", "Einsum"}
NEEDS_DRIVER = {"REFIT", "REFIT_IDENTICAL", "STRIP_PLAN"}
UNREADABLE = frozenset(  # operators of ONNX that its parser's supports_operator denies and a quantised model may hold
    ["ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul"]
)


@dataclass(frozen=True)
class Graph:
    """What the rows look at: nodes, the element type of every value, constants, and how the build is asked for."""

    nodes: tuple[Any, ...]
    types: dict[str, int]
    constants: dict[str, Any]
    free_batch: bool
    profile: bool
    flags: tuple[str, ...]

    def type_of(self, value: str) -> int:
        return self.types.get(value, UNKNOWN)


Finder = Callable[[Graph], Iterator[str]]


@dataclass(frozen=True)
class Row:
    """One refusal. `says` is a pattern of the builder's words; empty for a crash, which says nothing.

    `below`: targets below this compute capability (8.9 is 89) are refused, the others build. `finds` yields the nodes
    that cause it; None where no look at the graph can tell.
    """

    what: str
    says: str
    below: int
    finds: Finder | None
    remedy: str

    def targets(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(target for target in wanted if capability_of(target) < self.below)


@dataclass(frozen=True)
class Prediction:
    row: Row
    targets: tuple[str, ...]
    nodes: tuple[str, ...]


EVERY = 1000  # below this: any target
RTX = "Turing, such as GTX 16 and RTX 20"


def capability_of(target: str) -> int:
    """75 of sm75."""
    return int(target.removeprefix("sm"))


def predict(
    model: Path, targets: tuple[str, ...], *, profile: bool = True, flags: tuple[str, ...] = ()
) -> list[Prediction]:
    """The rows that apply to an ONNX file, in the table's order. Raises GanletError when the file is no ONNX model."""
    graph = read_graph(model, profile, flags)
    found = []
    for row in TABLE:
        nodes = tuple(row.finds(graph)) if row.finds is not None else ()
        refused = row.targets(targets)
        if nodes and refused:
            found.append(Prediction(row, refused, nodes))
    return found


def explain(words: list[str]) -> Row | None:
    """The row whose words the builder said; None for words that are not in the table."""
    said = "\n".join(words)
    return next((row for row in TABLE if row.says and re.search(row.says, said)), None)


def read_graph(model: Path, profile: bool, flags: tuple[str, ...]) -> Graph:
    try:
        loaded = onnx.load(model, load_external_data=False)
    except Exception as error:  # protobuf's DecodeError and onnx's own share no base class
        raise GanletError(
            f"{model} is not an ONNX model that can be read ({words_of(error)}); export it again with `ganlet export`."
        ) from error
    # An operator of someone else's ends the inference of types: then the values that are declared have to do.
    with contextlib.suppress(onnx.shape_inference.InferenceError):
        loaded = onnx.shape_inference.infer_shapes(loaded)
    graph = loaded.graph
    values = (*graph.input, *graph.output, *graph.value_info)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    free = any(not dim.HasField("dim_value") for value in graph.input for dim in value.type.tensor_type.shape.dim)
    constants = {tensor.name: tensor for tensor in graph.initializer}
    return Graph(tuple(graph.node), types, constants, free, profile, flags)


# ---------------------------------------------------------------- what the rows look for


def _name(node: Any) -> str:
    return str(node.name or node.output[0])


def _products_in_fp32(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.op_type in PRODUCTS and graph.type_of(node.output[0]) == TensorProto.FLOAT:
            yield _name(node)


def _values_of(*types: int) -> Finder:
    def find(graph: Graph) -> Iterator[str]:
        for node in graph.nodes:
            if any(graph.type_of(value) in types for value in (*node.input, *node.output)):
                yield _name(node)

    return find


def _transposed_in_bf16(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.op_type == "ConvTranspose" and graph.type_of(node.output[0]) == TensorProto.BFLOAT16:
            yield _name(node)


def _quantisers(graph: Graph) -> Iterator[Any]:
    return (node for node in graph.nodes if node.op_type in ("QuantizeLinear", "DequantizeLinear"))


def _int32_biases(graph: Graph) -> Iterator[str]:
    for node in _quantisers(graph):
        if node.op_type == "DequantizeLinear" and graph.type_of(node.input[0]) == TensorProto.INT32:
            yield _name(node)


def _zero_points(graph: Graph) -> Iterator[str]:
    for node in _quantisers(graph):
        point = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
        integers = (TensorProto.INT8, TensorProto.UINT8)
        if point is not None and point.data_type in integers and np.any(numpy_helper.to_array(point) != 0):
            yield _name(node)


def _uint8_weights(graph: Graph) -> Iterator[str]:
    for node in _quantisers(graph):
        constant = graph.constants.get(node.input[0])
        if constant is not None and constant.data_type == TensorProto.UINT8:
            yield _name(node)


def _uint8_activations(graph: Graph) -> Iterator[str]:
    for node in _quantisers(graph):
        point = graph.constants.get(node.input[2]) if len(node.input) > 2 else None
        if point is not None and point.data_type == TensorProto.UINT8 and node.input[0] not in graph.constants:
            yield _name(node)


def _foreign_operators(graph: Graph) -> Iterator[str]:
    for node in graph.nodes:
        if node.domain not in ("", "ai.onnx") or node.op_type in UNREADABLE:
            yield _name(node)


def _attention(graph: Graph) -> Iterator[str]:
    return (_name(node) for node in graph.nodes if node.op_type == "Attention" and node.domain in ("", "ai.onnx"))


def _no_profile(graph: Graph) -> Iterator[str]:
    if graph.free_batch and not graph.profile:
        yield "the batch"


def _flags(names: set[str]) -> Finder:
    return lambda graph: (flag for flag in graph.flags if flag in names)


TABLE: tuple[Row, ...] = (
    Row(
        "a matrix product in fp32",
        r"FP32 GEMM is not supported",
        80,
        _products_in_fp32,
        f"on {RTX}, use --precision fp16, or --profile sm75, which puts a 1x1 convolution in its place",
    ),
    Row(
        "a transposed convolution in bf16",
        r"Could not infer output types for operation:.*deconv",
        EVERY,
        _transposed_in_bf16,
        "use --precision fp16",
    ),
    Row("bf16", r"HW-specific datatypes:[^.]*\bb16", 80, _values_of(TensorProto.BFLOAT16), "use --precision fp16"),
    Row(
        "4-bit integers",
        r"HW-specific datatypes:[^.]*\bint4",
        80,
        _values_of(TensorProto.INT4, TensorProto.UINT4),
        "use --precision int8",
    ),
    Row(
        "fp8",
        r"HW-specific datatypes:[^.]*\bfp8",
        89,
        _values_of(TensorProto.FLOAT8E4M3FN),
        "use --precision int8, or a card of the RTX 40 series or newer",
    ),
    Row(
        "a bias quantised to int32",
        r"input has type Int32 but must have type",
        EVERY,
        _int32_biases,
        "quantise it again with `ganlet export --precision int8`, or with ONNX Runtime's QuantizeBias=False",
    ),
    Row(
        "weights in uint8",
        r"unsupported input type of UINT8",
        EVERY,
        _uint8_weights,
        "quantise weights to int8 (`ganlet export --precision int8`, or weight_type=QInt8)",
    ),
    Row(
        "a zero point other than 0",
        r"Non-zero zero point is not supported",
        EVERY,
        _zero_points,
        "quantise it symmetrically (`ganlet export --precision int8`, or ActivationSymmetric=True and QInt8)",
    ),
    Row(
        "activations in uint8, which it would read as int8 and cut off",
        r"UINT8 zero_point",
        EVERY,
        _uint8_activations,
        "quantise it symmetrically (`ganlet export --precision int8`, or ActivationSymmetric=True and QInt8)",
    ),
    Row(
        "an operator that it cannot read",
        r"Plugin not found|\[8\] false",
        EVERY,
        _foreign_operators,
        "export the generator with operators of ONNX itself, and int8 as QuantizeLinear and DequantizeLinear",
    ),
    Row(
        "the operator Attention of opset 23, of which it crashes",
        "",
        EVERY,
        _attention,
        "export at opset 22 or below, where attention is made of MatMul and Softmax",
    ),
    Row(
        "a free batch without a profile",
        r"no optimization profile has been defined",
        EVERY,
        _no_profile,
        "say for which batches the engine is",
    ),
    Row(
        "refitting or stripping weights, which needs a driver",
        r"CHECK\((status == CUDA_SUCCESS|sm_vers_\.size\(\) == 1)\) failed",
        EVERY,
        _flags(NEEDS_DRIVER),
        "leave the flag out, or build on a machine with an NVIDIA card",
    ),
    Row(
        "a version-compatible engine, whose lean runtime the package lacks",
        r"Unable to load library: \S*nvinfer_lean",
        EVERY,
        _flags({"VERSION_COMPATIBLE"}),
        "leave the flag out",
    ),
    Row(
        "the precision as a flag, which is gone",
        r"there is no BuilderFlag\.(FP16|INT8|BF16|FP8|INT4|FP4)\b",
        EVERY,
        _flags({"FP16", "INT8", "BF16", "FP8", "INT4", "FP4"}),
        "leave the flag out: precision lives in the ONNX file, choose it with --precision",
    ),
    Row(
        "the workspace",
        r"within workspace limit|Error Code 2: OutOfMemory",
        EVERY,
        None,
        "allow more with --workspace-mib, or lower --max-batch",
    ),
)
