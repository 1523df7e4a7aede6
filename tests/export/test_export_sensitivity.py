"""The choice of an int8 model: the best calibration by measurement, sensitive layers left in fp32, within a budget."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from ganlet.device import latents
from ganlet.device.contract import metadata_of
from ganlet.device.feed import z_port
from ganlet.export import to_int8
from ganlet.export.calibrate import METHODS
from ganlet.export.sensitivity import JUDGED, SEED, Nearest, nearest_int8, nearness

COUNT = 32  # latents to calibrate on


@pytest.fixture(scope="module")
def model(finished_run: Path) -> ModelProto:
    """The exported student: a first layer, one hidden and one to the colours, which stays a ConvTranspose."""
    return onnx.load(finished_run / "generator.onnx")


def psnr_db(one: ModelProto, other: ModelProto) -> float:
    drawn = []
    for made in (one, other):
        session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
        drawn.append(session.run(None, {"z": latents(SEED, 0, JUDGED, 8)})[0].astype(np.float64))
    return float(10 * np.log10(4 / np.square(drawn[0] - drawn[1]).mean()))


@pytest.fixture(scope="module")
def nearest(model: ModelProto) -> Nearest:
    return nearest_int8(model, "trt-int8", count=COUNT)


def test_the_best_calibration_is_taken_by_measurement(model: ModelProto, nearest: Nearest) -> None:
    assert nearest.by_method.keys() == METHODS.keys() and nearest.keep == ()
    for method, found in nearest.by_method.items():
        assert found == pytest.approx(psnr_db(to_int8(model, "trt-int8", method=method, count=COUNT), model), abs=0.05)
    assert nearest.psnr_db == max(nearest.by_method.values()) == nearest.by_method[nearest.method]
    same = to_int8(model, "trt-int8", method=nearest.method, count=COUNT)
    assert nearest.model.SerializeToString(deterministic=True) == same.SerializeToString(deterministic=True)


def test_each_layer_alone_is_nearer_than_all_of_them(model: ModelProto, nearest: Nearest) -> None:
    assert set(nearest.by_layer) == {"layer1.0", "layer2.0"}
    assert min(nearest.by_layer.values()) >= nearest.psnr_db
    other = frozenset(nearest.by_layer) - {"layer1.0"}
    alone = to_int8(model, "trt-int8", method=nearest.method, count=COUNT, keep=other)
    assert nearest.by_layer["layer1.0"] == pytest.approx(psnr_db(alone, model), abs=0.05)


def spoilt(model: ModelProto, name: str) -> ModelProto:
    """The same with one weight of a layer so large that its channel has no fine steps left."""
    changed = ModelProto()
    changed.CopyFrom(model)
    (tensor,) = (t for t in changed.graph.initializer if t.name.startswith(name))
    weight = numpy_helper.to_array(tensor).copy()
    weight[0, :, 0, 0] = 60 * np.abs(weight).max()
    tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    return changed


def test_the_most_sensitive_layer_stays_in_fp32_where_the_likeness_asks_for_it(model: ModelProto) -> None:
    bad = spoilt(model, "layer2.0.weight")
    plain = nearest_int8(bad, "trt-int8", count=COUNT)
    assert plain.by_layer["layer2.0"] < plain.by_layer["layer1.0"]
    asked = (plain.psnr_db + plain.by_layer["layer1.0"]) / 2
    found = nearest_int8(bad, "trt-int8", least_psnr_db=asked, most_kept=0.9, count=COUNT)
    assert found.keep == ("layer2.0",) and found.psnr_db >= asked > plain.psnr_db
    assert found.psnr_db == pytest.approx(psnr_db(found.model, bad), abs=0.05)
    kinds = [node.op_type for node in found.model.graph.node]
    assert kinds.count("QuantizeLinear") < [n.op_type for n in plain.model.graph.node].count("QuantizeLinear")
    assert found.as_json()["fp32_layers"] == ["layer2.0"] and "fp32_layers" not in plain.as_json()


def test_no_more_weights_than_allowed_stay_in_fp32_and_some_layer_is_always_int8(model: ModelProto) -> None:
    none = nearest_int8(model, "trt-int8", least_psnr_db=200.0, most_kept=0.0, count=COUNT)
    most = nearest_int8(model, "trt-int8", least_psnr_db=200.0, most_kept=1.0, count=COUNT)
    assert none.keep == () and len(most.keep) == 1 and most.psnr_db > none.psnr_db


def flag(above: float) -> ModelProto:
    """A picture of one pixel: 1 where the first number of the latent is above, and 0 elsewhere."""
    nodes = [
        helper.make_node("Slice", ["z", "from", "to", "axis"], ["first"]),
        helper.make_node("Greater", ["first", "above"], ["is"]),
        helper.make_node("Cast", ["is"], ["pixel"], to=TensorProto.FLOAT),
        helper.make_node("Reshape", ["pixel", "shape"], ["images"]),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [n]) for name, n in (("from", 0), ("to", 1), ("axis", 1))
    ]
    constants.append(helper.make_tensor("above", TensorProto.FLOAT, [], [above]))
    constants.append(helper.make_tensor("shape", TensorProto.INT64, [4], [-1, 1, 1, 1]))
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *rest])
        for name, rest in (("z", [8]), ("images", [1, 1, 1]))
    ]
    graph = helper.make_graph(nodes, "flag", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    helper.set_model_props(model, metadata_of((z_port(8),)))
    return model


def test_one_wrong_picture_in_three_hundred_is_seen() -> None:
    found = nearness(flag(100.0))(flag(2.71))
    one_in_300 = 10 * np.log10(4 * 297)  # 1 - Phi(2.71) = 0.00336
    assert found == pytest.approx(one_in_300, abs=5)  # 1,024 latents have 3.4 such: one to ten
