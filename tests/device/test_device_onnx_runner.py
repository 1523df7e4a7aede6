"""The ONNX runner against onnx's own reference evaluator, and its refusals."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from ganlet.device import OnnxRunner, latents, onnx_file
from ganlet.device.feed import label_port, latent_dim, z_port
from ganlet.errors import GanletError

Make = Callable[..., Path]
Build = Callable[..., onnx.ModelProto]


def load(path: Path, **options: Any) -> OnnxRunner:
    return OnnxRunner(path, threads=1, **options)


def test_pictures_agree_with_the_reference_evaluator(generator: Path) -> None:
    runner = load(generator, provider="cpu")
    z = latents(0, 0, 3, latent_dim(runner.ports))
    (expected,) = ReferenceEvaluator(onnx.load(generator)).run(None, {"z": z})
    drawn = runner({"z": z})
    assert drawn.dtype == np.float32 and drawn.std() > 0.1
    np.testing.assert_allclose(drawn, expected, rtol=1e-4, atol=1e-5)
    assert (runner.ports, runner.picture_shape) == ((z_port(8),), (3, 16, 16))
    assert (runner.name, runner.provider) == ("generator.onnx", "CPUExecutionProvider")
    assert runner.metadata["recipe_sha256"] == "0" * 64


@pytest.mark.parametrize("name", ["кот 小猫.onnx", "a\x1b[31m\n.onnx", os.fsdecode(b"caf\xe9.onnx")])
def test_names_of_files_may_be_any(generator: Path, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(generator.read_bytes())
    feed = {"z": latents(0, 0, 2, 8)}
    np.testing.assert_array_equal(load(path)(feed), load(generator)(feed))


def test_a_conditional_generator_takes_labels(make_generator: Make) -> None:
    path = make_generator(classes=4, channels=1)
    runner = load(path)
    z = latents(0, 0, 3, 8)
    feed: dict[str, Any] = {"z": z, "label": np.array([3, 0, 1])}
    (expected,) = ReferenceEvaluator(onnx.load(path)).run(None, feed)
    np.testing.assert_allclose(runner(feed), expected, rtol=1e-4, atol=1e-5)
    assert runner.ports == (z_port(8), label_port(4))
    for wrong in (None, np.array([3, 0]), np.array([0.0, 1.0, 2.0])):
        with pytest.raises(GanletError, match="expected int64"):
            runner({"z": z, "label": wrong})
    with pytest.raises(GanletError, match="got no label; expected z, label"):
        runner({"z": z})
    for wrong in (np.array([0, 0, 4]), np.array([0, -1, 0])):
        with pytest.raises(GanletError, match="expected 0 to 3"):
            runner({"z": z, "label": wrong})


@pytest.mark.parametrize(
    "z",
    [
        np.zeros((2, 8)),
        np.zeros((2, 7), np.float32),
        np.zeros(8, np.float32),
        np.zeros((0, 8), np.float32),
        [[0.0] * 8],
    ],
)
def test_other_latents_are_refused(generator: Path, z: Any) -> None:
    with pytest.raises(GanletError, match=r"generator.onnx got .*expected"):
        load(generator)({"z": z})


def test_a_label_without_classes_and_nan_latents_are_refused(generator: Path) -> None:
    runner = load(generator)
    with pytest.raises(GanletError, match="takes z alone: it has no classes"):
        runner({"z": latents(0, 0, 1, 8), "label": np.array([0])})
    with pytest.raises(GanletError, match="finite"):
        runner({"z": np.full((1, 8), np.nan, np.float32)})


def test_nan_in_the_pictures_is_told(make_generator: Make) -> None:
    with pytest.raises(GanletError, match="pictures hold NaN"):
        load(make_generator(scale=1e30))({"z": latents(0, 0, 2, 8)})


def test_an_absent_provider_is_refused_and_never_replaced(generator: Path) -> None:
    for provider in ("cuda", "tensorrt", "tensorrt-rtx", "directml", "coreml", "CUDAExecutionProvider", "tpu"):
        with pytest.raises(GanletError, match="has only"):
            load(generator, provider=provider)
    with pytest.raises(GanletError, match="0 threads"):
        OnnxRunner(generator, threads=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\x89PNG\r\n\x1a\n not a model at all", "not a whole ONNX model"),
        (b"ORTM" * 40, "not a whole ONNX model|cannot load"),
        (b"\x08\x09", "holds no graph"),
    ],
)
def test_other_files_are_refused(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "generator.onnx"
    path.write_bytes(content)
    with pytest.raises(GanletError, match=message):
        load(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GanletError, match="does not exist"):
        load(tmp_path / "none.onnx")
    with pytest.raises(GanletError, match="not a file"):
        load(tmp_path)


def test_every_truncation_is_refused(generator: Path, tmp_path: Path) -> None:
    content = generator.read_bytes()
    path = tmp_path / "generator.onnx"
    for fraction in np.linspace(0.001, 0.999, 40):
        path.write_bytes(content[: int(len(content) * fraction)])
        with pytest.raises(GanletError, match=r"generator\.onnx"):
            load(path)


def test_a_file_over_the_bound_is_not_read(generator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MAX_MODEL_BYTES", 1000)
    with pytest.raises(GanletError, match="expected at most"):
        load(generator)


@pytest.mark.parametrize(
    "options",
    [
        {"metadata": {}},
        {"metadata": {"ganlet_schema": "2", "latent": "8", "range": "-1,1"}},
        {"metadata": {"ganlet_schema": "1", "latent": "9", "range": "-1,1"}},
        {"metadata": {"ganlet_schema": "1", "latent": "8", "range": "0,1"}},
        {"metadata": {"ganlet_schema": "1", "latent": "8", "range": "-1,1", "classes": "3"}},
        {"metadata": {"ganlet_schema": "1", "latent": "8", "range": "-1,1"}, "classes": 3},
        {"output": "output"},
        {"batch": 1},
    ],
)
def test_foreign_models_are_refused(options: dict[str, Any], make_generator: Make) -> None:
    with pytest.raises(
        GanletError, match=r"is not a (Ganlet generator|generator this Ganlet can read): got .*expected"
    ):
        load(make_generator(**options))


def test_an_operator_the_runtime_lacks_is_told(tmp_path: Path, build_generator: Build) -> None:
    model = build_generator()
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "generator.onnx")
    with pytest.raises(GanletError, match=r"cannot load .*NoSuchOperator"):
        load(tmp_path / "generator.onnx")


def external_weight(path: Path, model: onnx.ModelProto) -> None:
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=100)


def external_constant(path: Path, model: onnx.ModelProto) -> None:
    """The pointer hidden in an attribute of a subgraph's node."""
    tensor = TensorProto(name="c", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="../secret")
    inner = helper.make_graph([helper.make_node("Constant", [], ["c"], value=tensor)], "g", [], [])
    model.graph.node.append(helper.make_node("If", ["z"], ["c2"], then_branch=inner, else_branch=inner))
    onnx.save(model, path)


@pytest.mark.parametrize("damage", [external_weight, external_constant])
def test_external_data_is_refused(
    damage: Callable[..., None], tmp_path: Path, build_generator: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Even where the other file exists and ONNX Runtime would follow the pointer.
    monkeypatch.chdir(tmp_path)
    damage(tmp_path / "generator.onnx", build_generator())
    with pytest.raises(GanletError, match="external data"):
        load(tmp_path / "generator.onnx")


def manifest(path: Path, **changes: Any) -> None:
    content = path.read_bytes()
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest(), "precision": "fp32"} | changes
    (path.parent / "manifest.json").write_text(json.dumps({"files": {path.name: entry}}))


def test_a_file_as_its_manifest_says_loads(make_generator: Make) -> None:
    path = make_generator()
    manifest(path)
    assert load(path).ports == (z_port(8),)
    for other in ('{"name": "a web page"}', '{"files": {"other.onnx": {}}}', '{"files": []}', "[]"):
        (path.parent / "manifest.json").write_text(other)
        assert load(path).ports == (z_port(8),)


def test_one_changed_byte_is_refused(make_generator: Make) -> None:
    path = make_generator()
    manifest(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # inside the weights: ONNX Runtime itself would draw with it
    path.write_bytes(content)
    with pytest.raises(GanletError, match="was changed after it was made"):
        load(path)
    manifest(path, bytes=1)
    with pytest.raises(GanletError, match="says 1 bytes"):
        load(path)


@pytest.mark.parametrize(
    "text", ["{", '{"files": {"generator.onnx": {"bytes": 1}}}', '{"files": {"generator.onnx": 3}}']
)
def test_a_damaged_manifest_is_told(text: str, make_generator: Make) -> None:
    path = make_generator()
    (path.parent / "manifest.json").write_text(text)
    with pytest.raises(GanletError, match=r"manifest\.json"):
        load(path)
