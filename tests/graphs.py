"""Small ONNX graphs written by hand, and the shipped families in three precisions, for the tests of engines."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FP32, FP16, BF16, INT8 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.INT8


def constant(name: str, kind: int, shape: tuple[int, ...], fill: float | None = None) -> onnx.TensorProto:
    """A constant of `fill`, or of random values, small integers where the kind is one."""
    random = np.random.default_rng(0)
    integer = kind in (INT8, TensorProto.UINT8, TensorProto.INT32, TensorProto.INT4)
    values = random.integers(0, 7, shape) if integer else random.standard_normal(shape) / 10
    return helper.make_tensor(name, kind, shape, (values if fill is None else np.full(shape, fill)).flatten().tolist())


def graph(
    nodes: list[Any], constants: list[Any], z: tuple[int, ...], y: tuple[int, ...], kind: int = FP32, opset: int = 20
) -> onnx.ModelProto:
    """Input z and output y with a free batch before these axes."""
    ends = [helper.make_tensor_value_info(name, kind, ["batch", *shape]) for name, shape in (("z", z), ("y", y))]
    made = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def node(op: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    return helper.make_node(op, inputs.split(), [output], **attributes)


def product(op: str, kind: int) -> onnx.ModelProto:
    attributes = {"equation": "bi,io->bo"} if op == "Einsum" else {}
    return graph([node(op, "z w", **attributes)], [constant("w", kind, (16, 32))], (16,), (32,), kind)


def convolution(kind: int) -> onnx.ModelProto:
    return graph([node("Conv", "z w")], [constant("w", kind, (32, 16, 1, 1))], (16, 4, 4), (32, 4, 4), kind)


def transposed(kind: int) -> onnx.ModelProto:
    step = node("ConvTranspose", "z w", strides=[2, 2], pads=[1] * 4)
    return graph([step], [constant("w", kind, (16, 32, 4, 4))], (16, 4, 4), (32, 8, 8), kind)


def quantised(
    op: str = "Conv", *, kind: int = INT8, weights: int = INT8, point: float = 0, bias: str = "", scale: int = FP32
) -> onnx.ModelProto:
    """Q/DQ around one layer; `point` is the activations' zero point, `bias` "fp32", "int32" or nothing."""
    shape, attributes, z, y = {
        "Conv": ((32, 16, 1, 1), {}, (16, 4, 4), (32, 4, 4)),
        "ConvTranspose": ((16, 32, 4, 4), {"strides": [2, 2], "pads": [1] * 4}, (16, 4, 4), (32, 8, 8)),
        "Gemm": ((16, 32), {}, (16,), (32,)),
    }[op]
    start, end = ("z", "y") if scale == FP32 else ("z16", "y16")
    nodes = [
        node("QuantizeLinear", f"{start} s zp", "q"),
        node("DequantizeLinear", "q s zp", "d"),
        node("DequantizeLinear", "w s wp", "wd"),
        node(op, "d wd" + (" b" if bias else ""), end, **attributes),
    ]
    constants = [
        constant("s", scale, (), 0.1),
        constant("zp", kind, (), point),
        constant("wp", weights, (), 0),
        constant("w", weights, shape),
    ]
    if bias == "fp32":
        constants.append(constant("b", FP32, (32,)))
    elif bias == "int32":
        zero = constant("bp", TensorProto.INT32, (), 0)
        constants += [constant("bi", TensorProto.INT32, (32,)), constant("bs", FP32, (), 0.01), zero]
        nodes.insert(0, node("DequantizeLinear", "bi bs bp", "b"))
    if scale != FP32:
        nodes = [node("Cast", "z", "z16", to=scale), *nodes, node("Cast", "y16", to=FP32)]
    return graph(nodes, constants, z, y)


def in_fp8() -> onnx.ModelProto:
    nodes = [
        node("QuantizeLinear", "z s zp", "q"),
        node("DequantizeLinear", "q s zp", "d"),
        node("QuantizeLinear", "w s zp", "wq"),
        node("DequantizeLinear", "wq s zp", "wd"),
        node("Conv", "d wd"),
    ]
    point = constant("zp", TensorProto.FLOAT8E4M3FN, (), 0)
    constants = [constant("w", FP32, (32, 16, 1, 1)), constant("s", FP32, (), 0.1), point]
    return graph(nodes, constants, (16, 4, 4), (32, 4, 4))


def in_int4() -> onnx.ModelProto:
    nodes = [node("DequantizeLinear", "w s wp", "wd"), node("Conv", "z wd")]
    point = constant("wp", TensorProto.INT4, (), 0)
    constants = [constant("w", TensorProto.INT4, (32, 16, 1, 1)), constant("s", FP32, (), 0.1), point]
    return graph(nodes, constants, (16, 4, 4), (32, 4, 4), opset=21)


def attention(kind: int) -> onnx.ModelProto:
    """Self-attention as the exporter writes it: two products around a softmax."""
    nodes = [
        node("Reshape", "z flat", "r"),
        node("Transpose", "r", "t", perm=[0, 2, 1]),
        node("MatMul", "t r", "e"),
        node("Softmax", "e", "a", axis=-1),
        node("MatMul", "r a", "o"),
        node("Reshape", "o whole"),
    ]
    shapes = {"flat": [-1, 16, 16], "whole": [-1, 16, 4, 4]}
    constants = [numpy_helper.from_array(np.array(shape), name) for name, shape in shapes.items()]
    return graph(nodes, constants, (16, 4, 4), (16, 4, 4), kind)


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """Weights and activations in fp16, inputs and outputs kept in fp32."""
    half = onnx.ModelProto()
    half.CopyFrom(model)
    graph, end = half.graph, half.graph.output[0].name
    for tensor in graph.initializer:
        if tensor.data_type == FP32:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for step in graph.node:
        step.input[:] = ["z_half" if name == "z" else name for name in step.input]
        step.output[:] = ["end_half" if name == end else name for name in step.output]
        step.input[:] = ["end_half" if name == end else name for name in step.input]
    graph.node.insert(0, helper.make_node("Cast", ["z"], ["z_half"], to=FP16))
    graph.node.append(helper.make_node("Cast", ["end_half"], [end], to=FP32))
    del graph.value_info[:]
    onnx.checker.check_model(half, full_check=True)
    return half


def quantise(source: Path, made: Path, latent: int) -> None:
    """Static int8 Q/DQ of ONNX Runtime's own, symmetric and with its biases left alone."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Latents(CalibrationDataReader):
        def __init__(self) -> None:
            random = np.random.default_rng(0)
            self.left = [random.standard_normal((4, latent)).astype(np.float32) for _ in range(2)]

        def get_next(self) -> dict[str, Any] | None:
            return {"z": self.left.pop()} if self.left else None

    quantize_static(
        source,
        made,
        Latents(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "ConvTranspose", "Gemm", "MatMul"],
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )
