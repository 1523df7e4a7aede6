"""A user's ONNX model as a feature net, with models small enough to compute by hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ganlet.errors import GanletError
from ganlet.metrics import extract, feature_net

pytest.importorskip("onnxruntime")


@pytest.fixture
def model(tmp_path: Path) -> Callable[..., Path]:
    """Mean over space of each channel, the channels mixed into 5 features."""

    def make(
        name: str = "images",
        shape: tuple[Any, ...] = ("batch", 3, 16, 16),
        kind: int = TensorProto.FLOAT,
        pooled: bool = True,
        span: str = "",
        file: str = "My Net.onnx",
    ) -> Path:
        last = shape[-1] == 3
        channels = 3 if last or not isinstance(shape[1], int) else shape[1]
        axes = [1, 2] if last else [2, 3]
        mixing = np.arange(channels * 5, dtype=np.float32).reshape(channels, 5)
        nodes = [helper.make_node("Cast", [name], ["float"], to=TensorProto.FLOAT)]
        if pooled:
            nodes.append(helper.make_node("ReduceMean", ["float", "axes"], ["mean"], keepdims=0))
            nodes.append(helper.make_node("MatMul", ["mean", "mixing"], ["features"]))
            out: list[Any] = ["batch", 5]
        else:
            nodes.append(helper.make_node("Identity", ["float"], ["features"]))
            out = list(shape)
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info(name, kind, list(shape))],
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, out)],
            [numpy_helper.from_array(np.array(axes), "axes"), numpy_helper.from_array(mixing, "mixing")],
        )
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        if span:
            helper.set_model_props(made, {"ganlet_range": span})
        onnx.save(made, tmp_path / file)
        return tmp_path / file

    return make


def by_hand(pictures: np.ndarray, scale: float = 1 / 255, offset: float = 0.0) -> np.ndarray:
    mixing = np.arange(15, dtype=np.float64).reshape(3, 5)
    return (pictures.astype(np.float64).mean((2, 3)) * scale + offset) @ mixing


PICTURES = np.random.default_rng(0).integers(0, 256, (70, 3, 16, 16), dtype=np.uint8)


@pytest.mark.parametrize(
    ("options", "scale", "offset"),
    [
        ({}, 1 / 255, 0.0),
        ({"span": "-1,1", "name": "x"}, 2 / 255, -1.0),
        ({"span": "0,255"}, 1.0, 0.0),
        ({"shape": ("n", 16, 16, 3), "name": "input"}, 1 / 255, 0.0),
        ({"shape": ("n", 3, "h", "w")}, 1 / 255, 0.0),
        ({"kind": TensorProto.UINT8}, 1.0, 0.0),
    ],
)
def test_layouts_ranges_and_types(
    model: Callable[..., Path], options: dict[str, Any], scale: float, offset: float
) -> None:
    net = feature_net(str(model(**options)))
    found = net.features(PICTURES)
    assert (net.name, net.dim, found.dtype) == ("my-net", 5, np.float32)
    np.testing.assert_allclose(found, by_hand(PICTURES, scale, offset), rtol=1e-5, atol=1e-4)
    one_by_one = extract(net, (PICTURES[i : i + 1] for i in range(70)))
    np.testing.assert_allclose(one_by_one, found, rtol=1e-6, atol=1e-6)


def test_pictures_are_resized_antialiased_and_grey_becomes_colour(model: Callable[..., Path]) -> None:
    net = feature_net(str(model()))
    stripes = np.zeros((1, 1, 128, 128), dtype=np.uint8)
    stripes[..., ::2] = 255  # without antialiasing every eighth column is alike
    np.testing.assert_allclose(net.features(stripes), by_hand(np.full((1, 3, 1, 1), 127.5)), rtol=0.02)


def test_protocol_follows_the_file(model: Callable[..., Path]) -> None:
    first, second = (feature_net(str(model(span=span))).protocol for span in ("0,1", "0,255"))
    assert first != second and "16x16" in first


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "z"}, r"has the inputs z tensor\(float\).* expected one input called images, image"),
        ({"shape": (4, 3, 16, 16)}, "with a free batch"),
        ({"shape": ("n", 4, 16, 16)}, "has the inputs images"),
        ({"shape": ("n", "c", 16, 16)}, "has the inputs images"),
        ({"kind": TensorProto.DOUBLE}, "has the inputs images"),
        ({"pooled": False}, "expected float features"),
        ({"span": "0,7"}, "expected ganlet_range to be one of"),
    ],
)
def test_other_models_are_refused(model: Callable[..., Path], options: dict[str, Any], words: str) -> None:
    with pytest.raises(GanletError, match=words):
        feature_net(str(model(**options)))


def test_missing_damaged_and_reserved_files(model: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(GanletError, match="does not exist"):
        feature_net(str(tmp_path / "none.onnx"))
    whole = model().read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(GanletError, match=r"cut\.onnx"):
        feature_net(str(tmp_path / "cut.onnx"))
    assert feature_net(str(model(file="inception.onnx"))).name == "onnx-inception"


def test_colour_for_a_grey_net_is_refused(model: Callable[..., Path]) -> None:
    net = feature_net(str(model(shape=("n", 1, 16, 16))))
    assert net.features(PICTURES[:2, :1]).shape == (2, 5)
    with pytest.raises(GanletError, match="takes grey pictures, got colour"):
        net.features(PICTURES)
