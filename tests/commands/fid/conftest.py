"""Small pictures, a feature net of a few numbers, and the command line."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

ROOT = Path(__file__).parents[3]
GENERATOR = ROOT / "exported" / "kittens" / "generator.onnx"
Answer = tuple[int, str, str]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLET_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """Colours of each quarter of a picture: 12 features of any size."""
    weight = np.zeros((12, 3, 8, 8), dtype=np.float32)
    for quarter in range(4):
        rows, columns = (
            slice(4 * (quarter // 2), 4 * (quarter // 2) + 4),
            slice(4 * (quarter % 2), 4 * (quarter % 2) + 4),
        )
        for channel in range(3):
            weight[3 * quarter + channel, channel, rows, columns] = 10 / 16
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "weight"], ["maps"]),
            helper.make_node("Flatten", ["maps"], ["features"]),
        ],
        "net",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 12])],
        [numpy_helper.from_array(weight, "weight")],
    )
    path = tmp_path / "quarters.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Write a folder of `count` random PNG pictures."""

    def make(name: str = "pictures", count: int = 24, seed: int = 0, side: int = 16, top: int = 256) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        drawn = np.random.default_rng(seed).integers(0, top, (count, side, side, 3), dtype=np.uint8)
        for index, picture in enumerate(drawn):
            Image.fromarray(picture).save(folder / f"{index:03d}.png")
        return folder

    return make
