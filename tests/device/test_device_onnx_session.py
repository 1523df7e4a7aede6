"""Providers of ONNX Runtime: which is taken, what it may leave to the processor, and what a profile takes of memory."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from ganlet.device import OnnxRunner, Sampler, latents, onnx_session
from ganlet.device.footprint import measure
from ganlet.device.onnx_session import CPU, CUDA, DIRECTML, layers_by_provider, open_session
from ganlet.device.profiles import PROFILES
from ganlet.errors import GanletError

# What every wheel of ONNX Runtime for the processor lists, loads, and never runs a layer of ours on.
IDLE = "AzureExecutionProvider"
FAST = PROFILES["fast"]
needs_idle = pytest.mark.skipif(IDLE not in onnxruntime.get_available_providers(), reason=f"no {IDLE} in this wheel")


@needs_idle
def test_a_provider_that_is_first_of_the_list_and_runs_nothing_is_refused(generator: Path) -> None:
    session = onnxruntime.InferenceSession(str(generator), providers=[IDLE, CPU])
    assert session.get_providers()[0] == IDLE  # so the list alone would call this a success
    with pytest.raises(GanletError, match=rf"run on {IDLE}.*ConvTranspose.* would run on {CPU}.*doctor"):
        OnnxRunner(generator, provider=IDLE)


@needs_idle
def test_a_runtime_too_old_to_tell_refuses_it_as_well(generator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = "get_provider_graph_assignment_info"
    monkeypatch.delattr(next(kind for kind in onnxruntime.InferenceSession.__mro__ if name in vars(kind)), name)
    with pytest.raises(GanletError, match=f"run on {IDLE}.*does not load, or does not run every layer"):
        OnnxRunner(generator, provider=IDLE)


@needs_idle
def test_auto_goes_on_to_the_next_provider(generator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session, "AUTO", (IDLE, CPU))
    assert OnnxRunner(generator).provider == CPU


@needs_idle
def test_shapes_may_stay_on_the_processor() -> None:
    # Attention and reshaping by batch leave Shape, Gather and Concat; ONNX Runtime keeps these on the CPU by design.
    nodes = [helper.make_node("Shape", ["z"], ["s"]), helper.make_node("Reshape", ["z", "s"], ["images"])]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 8]) for name in ("z", "images")]
    graph = helper.make_graph(nodes, "shapes", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = open_session(onnxruntime, model.SerializeToString(), IDLE, FAST)
    assert session.get_providers()[0] == IDLE and layers_by_provider(session) == {CPU: []}


def listed_but_broken(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[Any]:
    """onnxruntime-gpu without a driver: the providers are listed, and a session quietly runs on the processor."""
    asked: list[Any] = []

    class FallsBack(onnxruntime.InferenceSession):  # type: ignore[misc]
        def __init__(self, model: Any, options: Any, providers: Any, **more: Any) -> None:
            asked.append((providers, more))
            if providers != [CPU]:
                os.write(2, b"[E:onnxruntime] Failed to load library x.so with error: libcublas.so.13: cannot open\n")
            super().__init__(model, options, providers=[CPU])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*names, CPU])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("noise"), raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", FallsBack)
    return asked


def test_a_silent_fallback_is_refused_unless_auto(
    generator: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    asked = listed_but_broken(monkeypatch, CUDA, DIRECTML)
    with pytest.raises(GanletError, match=f"run on {CUDA}.*does not load .libcublas.so.13: cannot open."):
        OnnxRunner(generator, provider="cuda")
    ((first, options), *_), more = asked[0]
    assert first == CUDA and options["use_tf32"] == "0" and more == {"enable_fallback": 0}
    asked.clear()
    assert OnnxRunner(generator).provider == CPU
    assert [providers[0][0] for providers, _ in asked[:2]] == [CUDA, DIRECTML] and asked[2][0] == [CPU]
    assert capfd.readouterr() == ("", "")  # its noise is in the sentence


def test_auto_takes_no_provider_that_changes_pictures_or_builds_engines() -> None:
    assert onnx_session.AUTO[-1] == CPU
    assert not {onnx_session.TENSORRT, onnx_session.TENSORRT_RTX, onnx_session.COREML} & set(onnx_session.AUTO)


@pytest.mark.parametrize(
    ("provider", "remedy"),
    [
        ("cuda", r"ganlet\[gpu\]"),
        ("directml", "onnxruntime-directml"),
        ("OpenVINOExecutionProvider", "ganlet.openvino"),
    ],
)
def test_a_missing_provider_says_what_to_install(generator: Path, provider: str, remedy: str) -> None:
    with pytest.raises(GanletError, match=rf"{provider}.*has only .*{remedy}"):
        OnnxRunner(generator, provider=provider)


def test_a_provider_fault_is_not_taken_for_a_damaged_file_alone(
    generator: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("CUDA failure 35")

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr("ganlet.device.onnx_runner.open_session", fail)
    with pytest.raises(GanletError, match=f"on {CUDA} .CUDA failure 35.*doctor.*provider cpu"):
        OnnxRunner(generator, provider="cuda")


# ---------------------------------------------------------------- profiles


def test_profiles_and_threads_change_no_bit(generator: Path) -> None:
    z = latents(0, 0, 5, 8)
    expected = OnnxRunner(generator, threads=2)({"z": z})
    for options in ({"profile": "small"}, {"profile": "small", "threads": 2}, {"profile": "fast", "threads": 1}):
        runner = OnnxRunner(generator, **options)  # type: ignore[arg-type]
        assert np.array_equal(runner({"z": z}), expected) and np.array_equal(runner({"z": z}), expected)


def test_a_profile_sets_the_samplers_batch_and_the_session(generator: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    real = onnxruntime.InferenceSession

    def note(model: Any, options: Any, **more: Any) -> Any:
        seen.append(options.intra_op_num_threads)
        return real(model, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", note)
    small, fast = Sampler(generator, profile="small"), Sampler(generator)
    assert (small.batch, fast.batch) == (1, 32) and seen == [1, 0]  # 0: as many as there are cores
    assert Sampler(generator, profile="small", batch=4, threads=3).batch == 4 and seen[-1] == 3
    assert np.array_equal(small.images(0, 9), fast.images(0, 9))


def test_an_unknown_profile_is_refused(generator: Path) -> None:
    for make in (lambda: Sampler(generator, profile="tiny"), lambda: OnnxRunner(generator, profile="tiny")):
        with pytest.raises(GanletError, match="'tiny'; expected fast or small"):
            make()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="VmHWM is Linux's")
def test_one_picture_at_a_time_takes_less_memory_than_a_batch(make_generator: Callable[..., Path]) -> None:
    path = make_generator(widths=(64, 48, 32, 16))  # 64 x 64 pixels
    small, fast = (measure(path, batch=PROFILES[name].batch, runs=3, warmup=0, threads=1) for name in ("small", "fast"))
    assert small.model_memory_mib is not None and fast.model_memory_mib is not None
    assert small.model_memory_mib < 0.7 * fast.model_memory_mib, (small, fast)


def test_a_model_may_be_given_as_its_content(generator: Path) -> None:
    content = generator.read_bytes()
    session = open_session(onnxruntime, content, "auto", FAST)
    (drawn,) = session.run(None, {"z": latents(0, 0, 2, 8)})
    assert np.array_equal(drawn, OnnxRunner(generator)({"z": latents(0, 0, 2, 8)}))
