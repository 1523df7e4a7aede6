"""Engines: every shipped family and precision for every target, the same bytes twice; and whatever goes wrong there."""

import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from ganlet.artifact import add_to_manifest, manifest_entry
from ganlet.errors import GanletError
from ganlet.export import engines
from ganlet.export.engine_files import about_engine, build_listed, engine_name
from ganlet.export.engines import Built, Refused, Request, build_engine, build_engines
from ganlet.export.onnx_export import onnx_bytes, onnx_facts
from ganlet.export.refusals import TARGETS, predict
from ganlet.models import dcgan, families
from ganlet.models.config import GeneratorConfig
from ganlet.models.families import build_generator
from ganlet.verify.engine import check_engine
from graphs import FP32, halved, product, quantise, transposed

real = pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="TensorRT for RTX is not installed (extra trt)")

FAMILIES = {
    "dcgan": {"latent": 64, "widths": (64, 32, 16), "strides": (2, 2, 2), "kernels": (4, 4, 4), "channels": 3},
    "dcgan, odd": {
        **{"latent": 9, "widths": (13, 5), "strides": (4, 2), "kernels": (8, 4), "channels": 1},
        **{"norm": "none", "spectral": True},
    },
    "dcgan, instance": {"latent": 16, "widths": (24, 12), "strides": (2, 2), "kernels": (4, 4), "norm": "instance"},
    "dcgan, the base work's student": {
        "latent": 100,
        "widths": (512, 256, 128, 64),
        "strides": (4, 2, 2, 2),
        "kernels": (8, 4, 4, 4),
    },
    "mlp": {"family": "mlp", "latent": 32, "widths": (48, 64), "size": 16, "channels": 1},
}
PRECISIONS = ("fp32", "fp16", "int8")


def listed_model(run: Path, options: dict[str, Any]) -> GeneratorConfig:
    """RUN/generator*.onnx in every precision, as `ganlet export` lists them."""
    family = families.FAMILIES[options.get("family", "dcgan")]
    config = family.generator_config.model_validate({"channels": 3} | options)
    torch.manual_seed(0)
    run.mkdir()
    plain = run / "generator.onnx"
    plain.write_bytes(onnx_bytes(build_generator(config), ""))
    onnx.save(halved(onnx.load(plain)), run / "generator.fp16.onnx")
    quantise(plain, run / "generator.int8.onnx", config.latent)
    picture = [config.channels, config.size_px, config.size_px]
    for precision in PRECISIONS:
        add_to_manifest(
            run,
            model_of(run, precision).name,
            precision=precision,
            inputs={"z": {"shape": ["batch", config.latent], "dtype": "float32"}},
            outputs={"images": {"shape": ["batch", *picture], "dtype": "float32"}},
        )
    return config


def model_of(run: Path, precision: str) -> Path:
    return run / ("generator.onnx" if precision == "fp32" else f"generator.{precision}.onnx")


@pytest.mark.slow
@real
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_and_precision_builds_for_every_target(family: str, tmp_path: Path) -> None:
    config = listed_model(tmp_path / "run", FAMILIES[family])
    large = config.latent == 100
    wanted = [TARGETS, ("sm75",)] if large else [TARGETS, *((target,) for target in TARGETS)]
    for precision in PRECISIONS:
        model = model_of(tmp_path / "run", precision)
        asked = [Request(model, tmp_path / f"{len(targets)}{targets[0]}.engine", targets) for targets in wanted]
        for request, answer in zip(asked, build_engines(asked), strict=True):
            foreseen = predict(model, request.targets)
            if isinstance(answer, Refused):
                assert answer.what in [found.row.what for found in foreseen], answer
            else:
                assert not foreseen and answer.bytes == request.engine.stat().st_size, (answer, foreseen)


@real
def test_no_shipped_family_is_left_out() -> None:
    assert {name.split(",")[0] for name in FAMILIES} == set(families.FAMILIES)


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("engines") / "run"
    listed_model(run, FAMILIES["dcgan"])
    return run


def test_an_engine_is_listed_with_the_classes_of_its_model(tmp_path: Path) -> None:
    config = dcgan.GeneratorConfig(**FAMILIES["dcgan"] | {"classes": 2, "class_names": ("cat", "dog")})
    model = onnx.load_from_string(onnx_bytes(build_generator(config), ""))
    path = tmp_path / "generator.onnx"
    onnx.save(model, path)
    add_to_manifest(tmp_path, path.name, precision="fp32", **onnx_facts(model))
    about = about_engine(tmp_path, Request(path, tmp_path / "sm75.engine", ("sm75",)), ("sm75",))
    assert about["classes"] == 2 and about["class_names"] == '["cat", "dog"]' and "ganlet_schema" not in about
    assert list(manifest_entry(tmp_path, path.name)["inputs"]) == ["z", "label"]


@pytest.mark.slow
@real
@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_the_file_tells_is_checked(small_run: Path, precision: str) -> None:
    targets = ("sm75", "sm120")
    request = Request(model_of(small_run, precision), small_run / engine_name(targets, precision), targets)
    name = engine_name(targets, precision)
    assert name == {"fp32": "engines/sm75+sm120.engine"}.get(precision, f"engines/sm75+sm120.{precision}.engine")
    about = about_engine(small_run, request, targets)
    built = build_listed(small_run, name, request, about)
    found = check_engine(small_run, name)
    status = {row["name"]: (row["status"], row["measured"]) for row in found.row["checks"]}
    assert status["contract"][0] == status["targets"][0] == status["size"][0] == "passed", found
    assert status["weights"] == ("passed", 100.0), found
    if built.fixed_addresses:
        assert status["bytes"][0] == "passed", found
    assert found.check.status == "passed" and found.row["precision"] == precision
    assert found.row["parity"]["status"] == "not_verified" and "not run" in found.row["parity"]["reason"], found.row

    # What the checks must catch: another model's weights, another target, another precision of the same model.
    other = {"fp32": "fp16", "fp16": "fp32", "int8": "fp32"}[precision]
    wrong = {
        "targets": about | {"targets": ["sm75"]},
        "weights": about_engine(small_run, replace(request, model=model_of(small_run, other)), targets),
    }
    for what, listed in wrong.items():
        add_to_manifest(small_run, name, **listed, inputs=built.inputs, outputs=built.outputs)
        found = check_engine(small_run, name)
        failed = [row["name"] for row in found.row["checks"] if row["status"] == "failed"]
        assert what in failed and found.check.status == "failed", (what, failed)
    add_to_manifest(small_run, name, **about, inputs={}, outputs=built.outputs)
    assert "inputs are {}" in check_engine(small_run, name).check.reason
    later = about | {"versions": {"tensorrt-rtx": "1.8.0"}}
    add_to_manifest(small_run, name, **later, inputs=built.inputs, outputs=built.outputs)
    assert "its content is not read" in check_engine(small_run, name).check.reason
    (small_run / name).write_bytes((small_run / name).read_bytes()[:-1])
    with pytest.raises(GanletError, match="not the file that manifest"):
        check_engine(small_run, name)


@pytest.mark.parametrize(
    ("listed", "words"),
    [
        ({}, "runtime, targets, made_from, versions, inputs, outputs"),
        ({"made_from": {"stage": "student"}}, "made_from.onnx, made_from.sha256"),
        ({"made_from": {"onnx": 5, "sha256": "a"}}, "made_from.onnx"),
    ],
)
def test_an_engine_that_was_not_built_here_is_told(tmp_path: Path, listed: dict[str, Any], words: str) -> None:
    known = {"runtime": "x", "targets": [], "versions": {}, "inputs": {}, "outputs": {}} if listed else {}
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "mine.engine").write_bytes(b"foreign")
    add_to_manifest(tmp_path, "engines/mine.engine", **known, **listed)
    with pytest.raises(GanletError, match=f"nothing valid under {re.escape(words)};"):
        check_engine(tmp_path, "engines/mine.engine")


@pytest.mark.slow
@real
def test_the_same_model_gives_the_same_bytes_anywhere(small_run: Path, tmp_path: Path) -> None:
    """In another folder, after other builds, in another environment; and nothing of the folder is in them."""
    for precision in PRECISIONS:
        model = model_of(small_run, precision)
        far = tmp_path / ("far" * 20) / precision
        far.mkdir(parents=True)
        copy = far / "x.onnx"
        copy.write_bytes(model.read_bytes())
        first = build_engine(Request(model, tmp_path / "a.engine", TARGETS))
        if not first.fixed_addresses and precision != "fp32":
            continue  # the container forbids what Linux allows
        os.environ["GANLET_TEST_BALLAST"] = "x" * 5000
        try:
            _, again = build_engines(
                [Request(model, far / "b.engine", ("sm86",)), Request(copy, far / "c.engine", TARGETS)]
            )
        finally:
            del os.environ["GANLET_TEST_BALLAST"]
        assert isinstance(again, Built) and again.sha256 == first.sha256, precision
        assert str(tmp_path).encode() not in again.path.read_bytes()


@real
def test_the_parsed_network_is_told(tmp_path: Path) -> None:
    onnx.save(transposed(FP32), tmp_path / "x.onnx")
    built = build_engine(Request(tmp_path / "x.onnx", tmp_path / "x.engine", ("sm89",), batches=(1, 4, 8)))
    assert built.inputs == {"z": {"shape": ["batch", 16, 4, 4], "dtype": "float32"}}
    assert built.outputs == {"y": {"shape": ["batch", 32, 8, 8], "dtype": "float32"}}
    assert built.bytes == (tmp_path / "x.engine").stat().st_size and built.layers >= 1 and built.version


@real
def test_a_refusal_is_one_sentence_and_keeps_the_old_engine(tmp_path: Path) -> None:
    onnx.save(product("Gemm", FP32), tmp_path / "x.onnx")
    (tmp_path / "x.engine").write_bytes(b"old")
    with pytest.raises(
        GanletError, match=r"for sm75, sm86: what it refuses is a matrix product in fp32 \(y, of sm75\)"
    ) as told:
        build_engine(Request(tmp_path / "x.onnx", tmp_path / "x.engine", ("sm75", "sm86")))
    assert "FP32 GEMM is not supported" in str(told.value) and "--precision fp16" in str(told.value)
    assert (tmp_path / "x.engine").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"targets": ()}, "Got the targets none"),
        ({"targets": ("sm87",)}, "builds for one or more of sm75"),
        ({"module": "tensorrt"}, "leave them out"),
        ({"module": "tensorflow"}, "Got the package 'tensorflow'"),
        ({"batches": (0, 1, 2)}, "batch of 0, 1 and 2"),
        ({"batches": (1, 8, 4)}, "in this order"),
        ({"batches": (1, 1, 10**6)}, "from 1 to 65536"),
        ({"workspace_mib": 0}, "workspace of 0 MiB"),
        ({"model": Path("nowhere.onnx")}, r"nowhere\.onnx does not exist"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    onnx.save(transposed(FP32), tmp_path / "x.onnx")
    request = Request(tmp_path / "x.onnx", tmp_path / "x.engine", ("sm86",))
    with pytest.raises(GanletError, match=words):
        build_engine(replace(request, **change))


# ---------------------------------------------------------------- another package, played by a few lines

PLAYED = """
import os, signal, sys, time
__version__ = "10.3.0"
{start}

class Members(dict):
    __getattr__ = dict.__getitem__

class Severity:
    ERROR, WARNING = 1, 2

class ILogger:
    Severity = Severity
    def __init__(self): pass

class Flag(int): pass

class NetworkDefinitionCreationFlag:
    STRONGLY_TYPED = Flag(1)

class MemoryPoolType:
    WORKSPACE = "workspace"

class BuilderFlag: pass

class Type:
    name = "HALF"

class Tensor:
    name, shape, dtype = "z", (-1, 4), Type

class Network:
    num_inputs = num_outputs = num_layers = 1
    def get_input(self, index): return Tensor
    get_output = get_input

class Config:
    def __init__(self): self.seen = []
    def set_memory_pool_limit(self, pool, limit): self.seen.append((pool, limit))
    def add_optimization_profile(self, profile): self.seen.append(profile.seen)

class Profile:
    def set_shape(self, *seen): self.seen = seen

class OnnxParser:
    num_errors = 0
    def __init__(self, network, logger): pass
    def parse(self, model): return True

class Builder:
    def __init__(self, logger): self.logger = logger
    def create_network(self, flags):
        self.flags = flags
        return Network()
    def create_builder_config(self): return Config()
    def create_optimization_profile(self): return Profile()
    def build_serialized_network(self, network, config):
        print("a line in between")
        os.write(1, b"and one of C's\\n")
        {build}
        return repr((self.flags, network.name, config.seen)).encode()
"""


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Built | Refused]]:
    """Build with a package `tensorrt` that runs these lines on import and when it builds."""

    def built(start: str = "", build: str = "", timeout_s: int = 60, count: int = 1) -> list[Built | Refused]:
        package = tmp_path / "played"
        package.mkdir()
        (package / "tensorrt.py").write_text(PLAYED.format(start=start, build=build))
        monkeypatch.setenv("PYTHONPATH", str(package))
        onnx.save(transposed(FP32), tmp_path / "x.onnx")
        requests = [
            Request(tmp_path / "x.onnx", tmp_path / f"{index}.engine", module="tensorrt") for index in range(count)
        ]
        return build_engines(requests, timeout_s)

    return built


def test_the_classic_package_takes_the_same_path(play: Callable[..., list[Built | Refused]]) -> None:
    """Strongly typed, with profile and workspace, and no targets; what it prints is not taken for an answer."""
    (built,) = play()
    assert isinstance(built, Built) and built.version == "10.3.0"
    profile = ("z", (1, 4), (1, 4), (32, 4))
    assert built.path.read_text() == repr((2, "generator", [("workspace", 2**30), profile]))
    assert built.inputs == {"z": {"shape": ["batch", 4], "dtype": "float16"}}


def test_a_classic_package_that_is_too_old_is_refused(play: Callable[..., list[Built | Refused]]) -> None:
    (answer,) = play(start="__version__ = '8.6.2'")
    assert isinstance(answer, Refused)
    assert "TensorRT 8.6.2 builds no engine" in answer.sentence and "update the package" in answer.sentence


def test_a_builder_that_gives_nothing_and_says_nothing(play: Callable[..., list[Built | Refused]]) -> None:
    (answer,) = play(build="return None")
    assert isinstance(answer, Refused)
    assert "TensorRT 10.3.0 builds no engine" in answer.sentence and "it said nothing" in answer.sentence


def test_unknown_words_are_passed_on(play: Callable[..., list[Built | Refused]]) -> None:
    (answer,) = play(build="self.logger.log(1, 'tactics  are\\n tired'); return None")
    assert isinstance(answer, Refused) and '("tactics are tired")' in answer.sentence and answer.what == ""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_crash_costs_only_its_own_engine(play: Callable[..., list[Built | Refused]], tmp_path: Path) -> None:
    crash = "sys.exit if os.path.exists('once') else (open('once', 'w'), os.kill(os.getpid(), signal.SIGSEGV))"
    crashed, built = play(start=f"os.chdir({str(tmp_path)!r})", build=crash, count=2)
    assert isinstance(crashed, Refused) and isinstance(built, Built)
    assert f"died of signal {int(signal.SIGSEGV)} (SIGSEGV)" in crashed.sentence and "try again" in crashed.sentence
    assert not (tmp_path / "0.engine").exists() and (tmp_path / "1.engine").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="signals are POSIX's")
def test_a_builder_that_takes_too_long_is_ended(play: Callable[..., list[Built | Refused]]) -> None:
    (answer,) = play(build="time.sleep(60)", timeout_s=1)
    assert isinstance(answer, Refused) and "took longer than 1 s" in answer.sentence


def test_an_error_of_the_package_is_told(play: Callable[..., list[Built | Refused]]) -> None:
    (answer,) = play(build="raise RuntimeError('no more')")
    assert isinstance(answer, Refused) and "builds no engine" in answer.sentence and "no more" in answer.sentence


def test_a_package_that_does_not_load_is_told(play: Callable[..., list[Built | Refused]]) -> None:
    (answer,) = play(start="raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    assert isinstance(answer, Refused)
    assert (
        "TensorRT is not installed here, or does not load" in answer.sentence and "libnvinfer.so.10" in answer.sentence
    )
    assert "pypi.nvidia.com" in answer.sentence


def test_a_package_that_ends_python_is_told(play: Callable[..., list[Built | Refused]]) -> None:
    answers = play(start="sys.stderr.write('broken driver\\n'); sys.stderr.flush(); os._exit(3)", count=2)
    for answer in answers:
        assert isinstance(answer, Refused) and "exit code 3" in answer.sentence and "broken driver" in answer.sentence


def test_a_child_that_hangs_is_given_up(
    play: Callable[..., list[Built | Refused]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "GRACE_S", 0)
    (answer,) = play(start="time.sleep(60)", timeout_s=1)
    assert isinstance(answer, Refused) and "took longer than 1 s" in answer.sentence
