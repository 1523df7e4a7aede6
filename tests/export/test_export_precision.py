"""fp16 and int8 of a generator: what is in the file, how near it is, and what cannot be held is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from ganlet.device import OnnxRunner, latents
from ganlet.errors import GanletError
from ganlet.export import lowered, to_fp16, to_int8
from ganlet.export.calibrate import BINS, METHODS, Histogram, entropy, least_squares, minmax, percentile
from ganlet.export.int8 import quantised_weight
from ganlet.export.onnx_export import onnx_bytes
from ganlet.models.dcgan import GeneratorConfig
from ganlet.models.families import build_generator
from ganlet.models.init import initialise

Z = latents(0, 0, 16, 8)


@pytest.fixture(scope="module")
def plain(finished_run: Path) -> ModelProto:
    return onnx.load(finished_run / "generator.onnx")


def arrays(model: ModelProto) -> dict[str, Any]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def drawn_by(model: ModelProto) -> Any:
    onnx.checker.check_model(model, full_check=True)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"z": Z})[0]


def psnr_db(got: Any, expected: Any) -> float:
    return float(10 * np.log10(4 / np.mean(np.square(got.astype(np.float64) - expected))))


# ---------------------------------------------------------------- fp16


def test_fp16_keeps_its_ends_and_halves_its_weights(plain: ModelProto, tmp_path: Path) -> None:
    made = to_fp16(plain)
    onnx.save(made, tmp_path / "generator.fp16.onnx")
    expected = drawn_by(plain)
    got = OnnxRunner(tmp_path / "generator.fp16.onnx")({"z": Z})  # reads the contract: fp32 ends, metadata
    assert got.dtype == np.float32 and psnr_db(got, expected) > 60
    assert np.abs(got - expected).max() > 1e-7  # it is not fp32 under another name
    weights = [value for value in arrays(made).values() if value.dtype.kind == "f"]
    assert weights and all(value.dtype == np.float16 for value in weights)


@pytest.mark.parametrize(("value", "told"), [(7e4, "reaches 7e\\+04"), (np.nan, "reaches nan")])
def test_a_weight_that_fp16_cannot_hold_is_refused(plain: ModelProto, value: float, told: str) -> None:
    spoilt = onnx.ModelProto()
    spoilt.CopyFrom(plain)
    weight = next(tensor for tensor in spoilt.graph.initializer if len(tensor.dims) == 4)
    changed = numpy_helper.to_array(weight).copy()
    changed.flat[3] = value
    weight.CopyFrom(numpy_helper.from_array(changed, weight.name))
    with pytest.raises(GanletError, match=rf"{weight.name} {told}, expected at most 65504.*export in fp32 or int8"):
        to_fp16(spoilt)


def test_scales_that_have_no_fp16_stay_and_casts_follow() -> None:
    """Resize takes its scales as fp32 alone; a Cast to fp32 inside would otherwise split the model in two."""
    constants = {"roi": np.zeros(0, np.float32), "scales": np.array([1, 1, 2, 2], np.float32)}
    constants["bias"] = np.array([0.5], np.float32)
    nodes = [
        helper.make_node("Resize", ["z", "roi", "scales"], ["large"], mode="nearest"),
        helper.make_node("Cast", ["large"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["cast", "bias"], ["images"]),
    ]
    graph = helper.make_graph(
        nodes,
        "resize",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["batch", 1, 2, 2])],
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 4, 4])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    made = to_fp16(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))
    onnx.checker.check_model(made, full_check=True)
    assert {name: value.dtype.name for name, value in arrays(made).items()} == {
        "roi": "float16",  # may be either
        "scales": "float32",
        "bias": "float16",
    }
    z = np.arange(4, dtype=np.float32).reshape(1, 1, 2, 2)
    (got,) = ReferenceEvaluator(made).run(None, {"z": z})
    np.testing.assert_array_equal(got, z.repeat(2, 2).repeat(2, 3) + 0.5)


# ---------------------------------------------------------------- int8


@pytest.mark.parametrize(("profile", "first", "kinds"), [("trt-int8", "Conv", {0}), ("cpu-int8", "Gemm", {0, 1})])
def test_int8_has_the_form_that_runtimes_take(plain: ModelProto, profile: str, first: str, kinds: set[int]) -> None:
    made = to_int8(plain, profile)
    held, nodes = arrays(made), list(made.graph.node)
    producer = {name: node for node in nodes for name in node.output}
    layers = [node for node in nodes if node.op_type in ("Conv", "Gemm")]
    assert [node.op_type for node in layers] == [first, "Conv"]
    for node in layers:
        assert [producer[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
        integers, steps, zeros = (held[name] for name in producer[node.input[1]].input)
        axis = 0 if node.op_type == "Conv" else 1
        assert integers.dtype == np.int8 and steps.shape == zeros.shape == (integers.shape[axis],) and not zeros.any()
        assert held[node.input[2]].dtype == np.float32  # TensorRT refuses an int32 bias
        (after,) = [taker for taker in nodes if node.output[0] in taker.input]
        assert after.op_type == "QuantizeLinear"
    zeros = [held[node.input[2]] for node in nodes if node.op_type == "QuantizeLinear"]
    assert not any(zero.any() for zero in zeros) and {int(zero.dtype == np.uint8) for zero in zeros} == kinds
    assert ("Relu" in {node.op_type for node in nodes}) == (profile == "trt-int8")
    last = [node for node in nodes if node.op_type == "ConvTranspose"]
    assert len(last) == 1 and held[last[0].input[1]].dtype == np.float32  # quantised it would run at half the speed


@pytest.mark.parametrize("profile", ["trt-int8", "cpu-int8"])
def test_int8_draws_the_same_pictures_and_as_its_own_definition_says(
    plain: ModelProto, profile: str, tmp_path: Path
) -> None:
    made = to_int8(plain, profile)
    onnx.save(made, tmp_path / "generator.int8.onnx")
    got, expected = OnnxRunner(tmp_path / "generator.int8.onnx")({"z": Z}), drawn_by(plain)
    assert psnr_db(got, expected) > 40
    assert psnr_db(got, expected) < 80  # it is not fp32 under another name
    (defined,) = ReferenceEvaluator(made).run(None, {"z": Z})  # Q and DQ one by one, in numpy
    assert psnr_db(got, defined) > psnr_db(got, expected) + 3


def test_a_layer_that_is_kept_stays_fp32(plain: ModelProto) -> None:
    made = to_int8(plain, keep=frozenset({"layer2.0"}))
    by_name = {node.output[0]: node for node in made.graph.node}
    kept = next(node for node in by_name.values() if node.op_type == "Conv")
    assert kept.input[1] == "layer2.0.weight" and arrays(made)["layer2.0.weight"].dtype == np.float32
    with pytest.raises(GanletError, match="no Conv or Gemm to quantise; lower it first"):
        to_int8(plain, keep=frozenset({"layer1.0", "layer2.0"}))
    with pytest.raises(GanletError, match="no way 'guess' to calibrate; expected one of minmax"):
        to_int8(plain, method="guess")


@settings(max_examples=50, deadline=None)
@given(
    weight=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
        elements=st.floats(-3, 3, width=32, allow_subnormal=False),
    ),
    axis=st.integers(0, 1),
)
def test_int8_weights_are_near_and_never_saturate_a_sum_of_two(weight: Any, axis: int) -> None:
    integers, steps = quantised_weight(weight, axis)
    assert integers.shape == weight.shape and steps.shape == (weight.shape[axis],) and (steps > 0).all()
    wide = np.expand_dims(steps.astype(np.float64), [index for index in range(weight.ndim) if index != axis])
    assert (np.abs(integers * wide - weight) <= 0.5 * wide * (1 + 1e-6)).all()
    rows = np.moveaxis(integers.astype(np.int64), axis, 0)
    packed = np.moveaxis(rows, 1, -1).reshape(len(rows), -1)  # in the order in which ONNX Runtime packs them
    for first in range(0, packed.shape[1] - 1, 2):
        for activations in ((255, 255), (255, 0), (0, 255)):
            sums = packed[:, first : first + 2] @ np.array(activations)
            assert (sums <= 2**15 - 1).all() and (sums >= -(2**15)).all()


# ---------------------------------------------------------------- calibration


def histogram_of(values: Any) -> Histogram:
    magnitudes = np.abs(values)
    counts = np.histogram(magnitudes, BINS, (0.0, magnitudes.max()))[0].astype(np.float64)
    return Histogram(float(magnitudes.max()), float(values.min()), counts)


def test_ranges_of_known_distributions() -> None:
    drawn = np.random.default_rng(0)
    normal = histogram_of(drawn.standard_normal(400_000))
    # The best step of 15 equal ones for a normal distribution is 0.3534 (Max 1960; checked by quadrature).
    assert least_squares(normal, 7) == pytest.approx(7 * 0.3534, abs=0.05)
    assert percentile(normal, 127, share=0.9973) == pytest.approx(3.0, abs=0.03)
    assert minmax(normal, 127) == normal.largest
    uniform = histogram_of(drawn.random(400_000))
    assert least_squares(uniform, 127) == pytest.approx(1.0, abs=0.02)  # nothing is rare: nothing is cut off
    assert percentile(uniform, 127, share=0.5) == pytest.approx(0.5, abs=0.01)


def test_entropy_cuts_off_what_is_rare_and_far() -> None:
    drawn = np.random.default_rng(0)
    far = np.concatenate([drawn.standard_normal(400_000), np.full(10, 40.0)])
    assert 2.5 < entropy(histogram_of(far), 127) < 12
    assert entropy(histogram_of(drawn.random(400_000)), 127) > 0.9


@pytest.mark.parametrize("method", sorted(METHODS))
def test_every_method_gives_a_range_within_what_was_seen(method: str) -> None:
    for values in (np.random.default_rng(1).standard_normal(1000), np.array([0.0, 1e-3]), np.ones(3)):
        seen = histogram_of(values)
        assert 0 < METHODS[method](seen, 127) <= seen.largest * 1.001


def test_a_tensor_of_nothing_but_zeros_has_a_scale(plain: ModelProto) -> None:
    dead = onnx.ModelProto()
    dead.CopyFrom(plain)
    for tensor in dead.graph.initializer:
        if tensor.name.startswith("layer1"):
            tensor.CopyFrom(numpy_helper.from_array(-np.abs(numpy_helper.to_array(tensor)) * 0 - 1, tensor.name))
    for profile in ("cpu-int8", "trt-int8"):
        assert np.isfinite(drawn_by(to_int8(dead, profile))).all()


# ---------------------------------------------------------------- as the runtime sees it


def test_of_the_transposes_of_an_interleaved_layer_the_runtime_keeps_one(tmp_path: Path) -> None:
    config = GeneratorConfig(latent=8, widths=(16, 12, 8), strides=(2,) * 3, kernels=(4,) * 3, channels=3)
    generator = build_generator(config)
    initialise(generator, 0)
    model = to_int8(onnx.load_from_string(onnx_bytes(generator, "")))
    assert [node.op_type for node in model.graph.node].count(
        "Transpose"
    ) == 7  # three in each of two layers, one after the Gemm
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "seen.onnx")
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(tmp_path / "seen.onnx").graph.node]
    assert kinds.count("QLinearConv") == 2
    assert kinds.count("Transpose") == 3  # one in each, and one before the layer in fp32


# ---------------------------------------------------------------- other blocks


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "kinds"),
    [
        (
            "separable",
            ["Gemm", "Reshape", "Transpose", "Conv", "DepthToSpace", "Slice", "Conv", "ConvTranspose", "Tanh"],
        ),
        ("resize", ["Gemm", "Reshape", "Transpose", "Resize", "Conv", "ConvTranspose", "Tanh"]),
    ],
)
def test_the_other_blocks_of_a_generator_have_every_precision(block: Any, kinds: list[str]) -> None:
    config = GeneratorConfig(latent=8, widths=(12, 8), strides=(2, 2), kernels=(4, 4), channels=3, block=block)
    generator = build_generator(config)
    initialise(generator, 0)
    model = onnx.load_from_string(onnx_bytes(generator, ""))
    expected = drawn_by(model)
    made = to_int8(model)
    assert [node.op_type for node in made.graph.node if not node.op_type.endswith("Linear")] == kinds
    spread = float(expected.std())
    for other in (made, to_int8(model, "trt-int8"), to_fp16(model), lowered(model, "sm75")):
        assert float(np.abs(drawn_by(other) - expected).mean()) < 0.05 * spread
