"""OpenVINO against ONNX Runtime and onnx's reference evaluator, and its refusals."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from ganlet.device import OnnxRunner, Sampler, latents
from ganlet.device.feed import label_port, z_port
from ganlet.device.footprint import measure
from ganlet.device.open import RUNTIMES, open_runner
from ganlet.device.openvino_runner import OpenVinoRunner
from ganlet.errors import GanletError
from support import Answer, expect_refused

Make = Callable[..., Path]
openvino = pytest.importorskip("openvino", reason="the extra openvino is not installed")


def test_pictures_agree_with_two_other_implementations(generator: Path) -> None:
    runner = open_runner(generator, provider="openvino", threads=1)
    z = latents(0, 0, 5, 8)
    drawn = runner({"z": z})
    assert isinstance(runner, OpenVinoRunner) and runner.provider == "OpenVINO CPU" and drawn.dtype == np.float32
    np.testing.assert_allclose(drawn, OnnxRunner(generator, provider="cpu")({"z": z}), atol=1e-5)
    (expected,) = ReferenceEvaluator(onnx.load(generator)).run(None, {"z": z})
    np.testing.assert_allclose(drawn, expected, rtol=1e-4, atol=1e-5)
    assert (runner.ports, runner.picture_shape) == ((z_port(8),), (3, 16, 16))
    assert runner.metadata == OnnxRunner(generator).metadata


def test_drawn_pictures_stay_as_they_are(generator: Path) -> None:
    runner = OpenVinoRunner(generator, threads=1)
    first = runner({"z": latents(0, 0, 2, 8)})
    kept = first.copy()
    assert not np.array_equal(runner({"z": latents(0, 2, 2, 8)}), kept) and np.array_equal(first, kept)


def test_a_conditional_generator_takes_labels(make_generator: Make) -> None:
    path = make_generator(classes=4, channels=1)
    feed = {"z": latents(0, 0, 3, 8), "label": np.array([3, 0, 1])}
    runner = OpenVinoRunner(path, threads=1)
    np.testing.assert_allclose(runner(feed), OnnxRunner(path)(feed), atol=1e-5)
    assert runner.ports == (z_port(8), label_port(4))


def test_int8_with_quantised_weights_and_activations_runs(make_generator: Make, tmp_path: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Latents(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.rows = iter(latents(7, 0, 16, 8))

        def get_next(self) -> dict[str, Any] | None:
            row = next(self.rows, None)
            return None if row is None else {"z": row[None]}

    fp32, int8 = make_generator(), tmp_path / "generator.int8.onnx"
    quantize_static(fp32, int8, Latents(), per_channel=True)
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(int8).graph.node}
    feed = {"z": latents(0, 0, 8, 8)}
    drawn, expected = OpenVinoRunner(int8, threads=1)(feed), OnnxRunner(fp32)(feed)
    assert 0 < np.square(drawn - expected).mean() < 4 / 10**2.5  # above 25 dB, on random weights
    np.testing.assert_allclose(drawn, OnnxRunner(int8)(feed), atol=0.1)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_samplers_batch_changes_no_bit(generator: Path, threads: int) -> None:
    options: dict[str, Any] = {"provider": "openvino", "threads": threads}
    floats = [Sampler(generator, batch=batch, **options).floats(3, 70, seed=5) for batch in (1, 3, 4, 7, 64)]
    for other in floats[1:]:
        assert np.array_equal(floats[0], other)
    assert np.array_equal(Sampler(generator, profile="small", provider="openvino").floats(3, 70, seed=5), floats[0])


def test_precision_and_threads_are_as_asked(generator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []
    real = openvino.Core.compile_model

    def compile_model(self: Any, model: Any, device: str, options: dict[str, Any]) -> Any:
        compiled = real(self, model, device, options)
        seen.append({name: compiled.get_property(name) for name in ("INFERENCE_NUM_THREADS", "EXECUTION_DEVICES")})
        seen[-1]["precision"] = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        return compiled

    monkeypatch.setattr(openvino.Core, "compile_model", compile_model)
    OpenVinoRunner(generator, threads=1)
    OpenVinoRunner(generator, profile="small")
    assert seen == [{"INFERENCE_NUM_THREADS": 1, "EXECUTION_DEVICES": ["CPU"], "precision": "f32"}] * 2


def test_footprints_are_of_the_runtime_asked_for(generator: Path) -> None:
    found = measure(generator, batch=2, runs=2, warmup=0, threads=1, provider="openvino")
    assert found.provider == "OpenVINO CPU" and found.latency_p50_ms > 0


def test_the_command_line_draws_with_it(generator: Path, tmp_path: Path, ganlet: Callable[..., Answer]) -> None:
    code, out, _ = ganlet(
        *("sample", generator, "-n", 3, "--out", tmp_path / "o", "--provider", "openvino", "--threads", 1, "--json")
    )
    assert code == 0 and json.loads(out.splitlines()[-1])["provider"] == "OpenVINO CPU"
    assert len(list((tmp_path / "o").glob("*.png"))) == 3


# ---------------------------------------------------------------- refusals


def test_a_changed_file_is_refused_before_openvino_reads_it(make_generator: Make) -> None:
    path = make_generator()
    content = bytearray(path.read_bytes())
    entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (path.parent / "manifest.json").write_text(json.dumps({"files": {path.name: entry}}))
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(GanletError, match="was changed after it was made"):
        OpenVinoRunner(path)


def test_external_data_is_refused(tmp_path: Path, build_generator: Callable[..., onnx.ModelProto]) -> None:
    path = tmp_path / "generator.onnx"
    onnx.save(build_generator(), path, save_as_external_data=True, location="weights.bin", size_threshold=100)
    with pytest.raises(GanletError, match="external data"):
        OpenVinoRunner(path)


@pytest.mark.parametrize(
    "options", [{"metadata": {}}, {"output": "output"}, {"batch": 1}, {"metadata": {"ganlet_schema": "2"}}]
)
def test_foreign_models_are_refused(options: dict[str, Any], make_generator: Make) -> None:
    with pytest.raises(
        GanletError, match=r"is not a (Ganlet generator|generator this Ganlet can read): got .*expected"
    ):
        OpenVinoRunner(make_generator(**options))


def test_an_operator_it_lacks_is_told(tmp_path: Path, build_generator: Callable[..., onnx.ModelProto]) -> None:
    model = build_generator()
    model.graph.node[0].op_type = "NoSuchOperator"
    onnx.save(model, tmp_path / "generator.onnx")
    with pytest.raises(GanletError, match=r"OpenVINO .* cannot load .*leave --provider out"):
        OpenVinoRunner(tmp_path / "generator.onnx")


def test_nan_and_other_inputs_are_refused(make_generator: Make) -> None:
    with pytest.raises(GanletError, match="pictures hold NaN"):
        OpenVinoRunner(make_generator(scale=1e30))({"z": latents(0, 0, 2, 8)})
    runner = OpenVinoRunner(make_generator())
    with pytest.raises(GanletError, match=r"expected float32 \(2, 8\)"):
        runner({"z": np.zeros((2, 7), np.float32)})
    with pytest.raises(GanletError, match="expected openvino"):
        OpenVinoRunner(make_generator(), provider="cpu")
    with pytest.raises(GanletError, match="0 threads"):
        OpenVinoRunner(make_generator(), threads=0)


def test_without_the_package_the_extra_is_named(
    generator: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ganlet: Callable[..., Answer]
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    expect_refused(
        ganlet("sample", generator, "--out", tmp_path / "o", "--provider", "openvino"),
        *("OpenVINO is not installed", 'pip install "ganlet[openvino]"'),
    )
    assert (".onnx", "openvino") in RUNTIMES and not (tmp_path / "o").exists()
