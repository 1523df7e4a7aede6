"""The table of refusals: what it says of small graphs, and each row against the real builder, for every target."""

from importlib.util import find_spec
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto

from ganlet.errors import GanletError
from ganlet.export.engines import Built, Refused, Request, build_engines
from ganlet.export.refusals import TABLE, TARGETS, Prediction, explain, predict
from graphs import (
    BF16,
    FP16,
    FP32,
    attention,
    constant,
    convolution,
    graph,
    in_fp8,
    in_int4,
    node,
    product,
    quantised,
    transposed,
)

NEWER = TARGETS[1:]
EVERY: tuple[str, ...] = TARGETS
NONE: tuple[str, ...] = ()

CASES: dict[str, tuple[onnx.ModelProto, tuple[str, ...], str]] = {
    # name -> graph, the targets that refuse it, a word of the reason
    "Gemm fp32": (product("Gemm", FP32), ("sm75",), "matrix product"),
    "MatMul fp32": (product("MatMul", FP32), ("sm75",), "matrix product"),
    "Einsum fp32": (product("Einsum", FP32), ("sm75",), "matrix product"),
    "attention fp32": (attention(FP32), ("sm75",), "matrix product"),
    "Gemm int8": (quantised("Gemm"), ("sm75",), "matrix product"),
    "Gemm fp16": (product("Gemm", FP16), NONE, ""),
    "attention fp16": (attention(FP16), NONE, ""),
    "Gemm int8 with fp16 scales": (quantised("Gemm", scale=FP16), NONE, ""),
    "1x1 Conv fp32": (convolution(FP32), NONE, ""),
    "1x1 Conv fp16": (convolution(FP16), NONE, ""),
    "1x1 Conv bf16": (convolution(BF16), ("sm75",), "bf16"),
    "ConvTranspose fp32": (transposed(FP32), NONE, ""),
    "ConvTranspose fp16": (transposed(FP16), NONE, ""),
    "ConvTranspose bf16": (transposed(BF16), EVERY, "transposed convolution in bf16"),
    "int4": (in_int4(), ("sm75",), "4-bit"),
    "fp8": (in_fp8(), ("sm75", "sm80", "sm86"), "fp8"),
    "Conv int8": (quantised(), NONE, ""),
    "Conv int8, fp32 bias": (quantised(bias="fp32"), NONE, ""),
    "ConvTranspose int8": (quantised("ConvTranspose"), NONE, ""),
    "Conv int8, int32 bias": (quantised(bias="int32"), EVERY, "int32"),
    "Conv int8, zero point": (quantised(point=3), EVERY, "zero point"),
    "Conv uint8 at 0": (quantised(kind=TensorProto.UINT8), EVERY, "cut off"),
    "Conv uint8 at 128": (quantised(kind=TensorProto.UINT8, point=128), EVERY, "zero point"),
    "Conv uint8 weights": (quantised(weights=TensorProto.UINT8), EVERY, "weights in uint8"),
    "foreign operator": (
        graph([node("Unheard", "z", domain="com.example")], [], (16,), (16,)),
        EVERY,
        "cannot read",
    ),
    "dynamic quantisation": (
        graph(
            [
                onnx.helper.make_node("DynamicQuantizeLinear", ["z"], ["q", "s", "p"]),
                node("DequantizeLinear", "q s p"),
            ],
            [],
            (16,),
            (16,),
        ),
        EVERY,
        "cannot read",
    ),
    "Attention of opset 23": (
        graph([node("Attention", "z z z")], [], (4, 16, 16), (4, 16, 16), opset=23),
        EVERY,
        "crashes",
    ),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("graphs")
    found = {}
    for index, (name, (model, *_)) in enumerate(CASES.items()):
        found[name] = folder / f"{index}.onnx"
        onnx.save(model, found[name])
    return found


def refused_by(found: list[Prediction]) -> set[str]:
    return {target for prediction in found for target in prediction.targets}


@pytest.mark.parametrize("name", CASES)
def test_the_table_predicts(models: dict[str, Path], name: str) -> None:
    _, refused, word = CASES[name]
    found = predict(models[name], TARGETS)
    assert refused_by(found) == set(refused)
    assert not refused or any(word in prediction.row.what for prediction in found), found
    assert refused_by(predict(models[name], NEWER)) == set(refused) & set(NEWER)


def test_the_node_and_its_targets_are_named(models: dict[str, Path], tmp_path: Path) -> None:
    two = graph(
        [node("Gemm", "z w", "a"), node("Relu", "a", "r"), node("Gemm", "r v", name="second")],
        [constant("w", FP32, (16, 16)), constant("v", FP32, (16, 16))],
        (16,),
        (16,),
    )
    onnx.save(two, tmp_path / "two.onnx")
    (found,) = predict(tmp_path / "two.onnx", TARGETS)
    assert found.nodes == ("a", "second") and found.targets == ("sm75",)


def test_how_it_is_asked_for_is_predicted_too(models: dict[str, Path]) -> None:
    model = models["1x1 Conv fp32"]
    assert "free batch" in predict(model, ("sm86",), profile=False)[0].row.what
    assert "driver" in predict(model, ("sm86",), flags=("STRIP_PLAN",))[0].row.what
    assert "gone" in predict(model, ("sm86",), flags=("FP16",))[0].row.what
    assert predict(model, ("sm86",), flags=("STRICT_NANS",)) == []


def test_what_is_no_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"\xff" * 40)
    with pytest.raises(GanletError, match="not an ONNX model that can be read"):
        predict(tmp_path / "x.onnx", TARGETS)


def test_words_that_are_not_in_the_table_explain_nothing() -> None:
    assert explain(["Error Code 4: something new"]) is None and explain([]) is None
    assert explain(["noise", "y: FP32 GEMM is not supported."]) is TABLE[0]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="TensorRT for RTX is not installed (extra trt)")
def test_the_builder_refuses_what_the_table_predicts_and_nothing_else(models: dict[str, Path], tmp_path: Path) -> None:
    asked = [(name, target) for name in CASES for target in TARGETS]
    requests = [Request(models[name], tmp_path / "x.engine", (target,)) for name, target in asked]
    wrong = []
    for (name, target), answer in zip(asked, build_engines(requests), strict=True):
        rows = [found.row for found in predict(models[name], (target,))]
        if isinstance(answer, Built):
            fits = not rows
        else:
            fits = answer.what in [row.what for row in rows] and any(row.remedy in answer.sentence for row in rows)
        if not fits:
            wrong.append((name, target, answer, [row.what for row in rows]))
    assert not wrong, wrong


@pytest.mark.slow
@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="TensorRT for RTX is not installed (extra trt)")
def test_the_builder_refuses_how_it_was_asked(models: dict[str, Path], tmp_path: Path) -> None:
    model, engine = models["ConvTranspose fp32"], tmp_path / "x.engine"
    for targets in (("sm86",), TARGETS):
        plain = {"model": model, "engine": engine, "targets": targets}
        cases = {
            "free batch": Request(**plain, batches=None),
            "gone": Request(**plain, flags=("FP16",)),
            "workspace": Request(**plain, workspace_mib=1),
            "lean runtime": Request(**plain, flags=("VERSION_COMPATIBLE",)),
            "driver, REFIT": Request(**plain, flags=("REFIT",)),
            "driver, REFIT_IDENTICAL": Request(**plain, flags=("REFIT_IDENTICAL",)),
            "driver, STRIP_PLAN": Request(**plain, flags=("STRIP_PLAN",)),
        }
        for (word, request), answer in zip(cases.items(), build_engines(list(cases.values())), strict=True):
            assert isinstance(answer, Refused), (word, answer)
            assert word.split(",")[0] in answer.what, (word, answer)
            found = predict(model, targets, profile=request.batches is not None, flags=request.flags)
            assert word == "workspace" or answer.what in [prediction.row.what for prediction in found], found
    assert not engine.exists()
