"""Engines on a card: the checks before one is loaded, the protocol with a child that plays it, and the child's side."""

import importlib.machinery
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ganlet.artifact import add_to_manifest
from ganlet.device import Sampler, tensorrt_runner
from ganlet.device.cuda import Card, CudaError, DriverState
from ganlet.device.feed import Port, label_port, z_port
from ganlet.device.open import open_runner
from ganlet.device.tensorrt_runner import TensorrtRunner
from ganlet.device.tensorrt_session import Session, main, serve
from ganlet.errors import GanletError

LATENT, PICTURE = 4, (3, 2, 2)
READY = {"ready": {"version": "1.7.1", "largest": 3, "memory_mib": 2.5, "load_ms": 7.0}}
ABOUT: dict[str, Any] = {
    "runtime": "tensorrt_rtx",
    "targets": ["sm75", "sm86"],
    "precision": "fp16",
    "inputs": {"z": {"shape": ["batch", LATENT], "dtype": "float32"}},
    "outputs": {"images": {"shape": ["batch", *PICTURE], "dtype": "float32"}},
}

CHILD = """
import json, sys
import numpy as np

def tell(answer):
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\\n")

{start}
tell({ready})
sys.stdout.buffer.flush()
for line in iter(sys.stdin.buffer.readline, b""):
    request = json.loads(line)
    count = request["count"]
    assert count <= 3 and request["inputs"] == ["z", "label"][: 1 + {labels}], request
    z = np.frombuffer(sys.stdin.buffer.read(count * 16), np.float32).reshape(count, 4)
    label = np.frombuffer(sys.stdin.buffer.read(count * 8 * {labels}), np.int64)
    pictures = np.broadcast_to(z.mean(1)[:, None, None, None] / 10, (count, 3, 2, 2)).astype(np.float32)
    pictures = pictures + (label[:, None, None, None] / 100).astype(np.float32) if label.size else pictures
    {draw}
    tell({{"bytes": pictures.nbytes, "latency_ms": 1.5}})
    sys.stdout.buffer.write(pictures.tobytes())
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with a driver, a GTX 1660 Ti and both packages."""
    state = DriverState(True, "", "13.0", (Card("GTX 1660 Ti", "sm75", 6144),))
    monkeypatch.setattr(tensorrt_runner, "driver_state", lambda: state)
    monkeypatch.setattr(tensorrt_runner, "find_spec", lambda name: importlib.machinery.ModuleSpec(name, None))


@pytest.fixture
def engine(tmp_path: Path) -> Callable[..., Path]:
    """RUN/engines/sm75.engine, listed in RUN/manifest.json with ABOUT and these changes."""

    def make(**changes: Any) -> Path:
        path = tmp_path / "run" / "engines" / "sm75.engine"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a plan")
        add_to_manifest(tmp_path / "run", "engines/sm75.engine", **ABOUT | changes)
        return path

    return make


@pytest.fixture
def play(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, card: None, engine: Callable[..., Path]
) -> Callable[..., Any]:
    """Open the engine with a child that runs CHILD."""

    def opened(
        start: str = "", draw: str = "", ready: Any = READY, labels: int = 0, changes: dict[str, Any] | None = None
    ) -> TensorrtRunner:
        script = tmp_path / "child.py"
        script.write_text(CHILD.format(start=start, draw=draw, ready=ready, labels=labels))
        command = [sys.executable, str(script)]
        monkeypatch.setattr(tensorrt_runner, "module_command", lambda *words: [*command, *words])
        return TensorrtRunner(engine(**(changes or {})))

    return opened


def latents(count: int) -> Any:
    return np.random.default_rng(0).standard_normal((count, LATENT)).astype(np.float32)


def test_pictures_come_back_in_order_in_calls_of_the_largest_batch(play: Callable[..., Any]) -> None:
    runner = play()
    assert runner.ports == (z_port(LATENT),) and runner.picture_shape == PICTURE
    assert runner.provider == "tensorrt_rtx" and runner.memory_mib == 2.5 and runner.load_ms == 7.0
    for count in (1, 3, 8):
        z = latents(count)
        drawn = runner({"z": z})
        np.testing.assert_allclose(drawn, np.broadcast_to(z.mean(1)[:, None, None, None] / 10, drawn.shape), rtol=1e-6)
        assert runner.latency_ms == 1.5 * -(-count // 3)
    runner.close()
    with pytest.raises(GanletError, match="is closed"):
        runner({"z": latents(1)})


def test_a_conditional_generator_gets_its_labels(play: Callable[..., Any]) -> None:
    inputs = ABOUT["inputs"] | {"label": {"shape": ["batch"], "dtype": "int64"}}
    runner = play(labels=1, changes={"inputs": inputs, "classes": 5})
    assert runner.ports == (z_port(LATENT), label_port(5))
    z, label = latents(4), np.array([0, 1, 2, 4])
    assert np.allclose(runner({"z": z, "label": label})[:, 0, 0, 0], z.mean(1) / 10 + label / 100, atol=1e-6)


def test_an_engines_manifest_may_name_the_classes_and_tell_a_later_schema(play: Callable[..., Any]) -> None:
    inputs = {"label": {"shape": ["batch"], "dtype": "int64"}} | ABOUT["inputs"]  # listed in any order
    names = ("cat", "кот")
    told = {"inputs": inputs, "classes": 2, "class_names": json.dumps(names)}
    assert play(labels=1, changes=told).ports == (z_port(LATENT), label_port(2, names))
    code = {"code": {"shape": ["batch", 3], "dtype": "float32"}}
    told = {"inputs": ABOUT["inputs"] | code, "ganlet_schema": "2"}
    assert play(changes=told).ports == (z_port(LATENT), Port("code", (3,)))
    with pytest.raises(GanletError, match="not a generator this Ganlet can read"):
        play(changes={"inputs": ABOUT["inputs"] | code, "ganlet_schema": "1"})


def test_the_sampler_draws_from_it(play: Callable[..., Any]) -> None:
    pictures = Sampler.of(play(), batch=5).floats(0, 7)
    assert pictures.shape == (7, *PICTURE) and np.array_equal(Sampler.of(play()).floats(2, 3), pictures[2:5])


def test_what_the_child_reports_is_told(play: Callable[..., Any]) -> None:
    with pytest.raises(GanletError, match=r"cannot be loaded \(wrong version\).*ganlet export --to trt-rtx"):
        play(ready={"error": "wrong version"})
    runner = play(draw='tell({"error": "out of memory"}); sys.stdout.buffer.flush(); continue')
    with pytest.raises(GanletError, match=r"failed to draw 2 pictures on tensorrt_rtx \(out of memory\)"):
        runner({"z": latents(2)})


def test_a_child_that_dies_is_told(play: Callable[..., Any]) -> None:
    with pytest.raises(GanletError, match=r"was to be loaded with sm75\.engine died with exit code 7"):
        play(start="sys.exit(7)")
    runner = play(draw="import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(GanletError, match=r"was to draw 1 pictures with sm75\.engine died with exit code -9"):
        runner({"z": latents(1)})
    with pytest.raises(GanletError, match="is closed"):
        runner({"z": latents(1)})


def test_a_child_that_hangs_is_ended(play: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    runner = play(draw="import time; time.sleep(60)")
    monkeypatch.setattr(tensorrt_runner, "DRAW_TIMEOUT_S", 0.3)
    with pytest.raises(GanletError, match=r"took longer than 0\.3 s"):
        runner({"z": latents(1)})


def test_a_child_that_babbles_or_draws_too_little_is_told(play: Callable[..., Any]) -> None:
    with pytest.raises(GanletError, match="died with exit code"):
        play(start="sys.stdout.buffer.write(b'hello\\n')")
    with pytest.raises(GanletError, match="drew 48 bytes, expected 96"):
        play(draw="pictures = pictures[:1]")({"z": latents(2)})
    with pytest.raises(GanletError, match="NaN"):
        play(draw="pictures = pictures * np.float32('nan')")({"z": latents(2)})


def test_an_engine_is_opened_by_its_suffix(play: Callable[..., Any], engine: Callable[..., Path]) -> None:
    play()
    assert isinstance(open_runner(engine()), TensorrtRunner)


# ---------------------------------------------------------------- refusals before anything is loaded


def test_without_a_driver_it_is_refused(engine: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    state = DriverState(False, "no NVIDIA driver: libcuda.so.1", "", ())
    monkeypatch.setattr(tensorrt_runner, "driver_state", lambda: state)
    with pytest.raises(GanletError, match=r"on an NVIDIA card only.*libcuda\.so\.1.*draw with the \.onnx file"):
        TensorrtRunner(engine())


def test_without_the_package_it_is_refused(
    engine: Callable[..., Path], card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tensorrt_runner, "find_spec", lambda name: None)
    with pytest.raises(GanletError, match=r"needs tensorrt_rtx, which is not installed.*ganlet\[trt\]"):
        TensorrtRunner(engine())
    with pytest.raises(GanletError, match=r"needs tensorrt, which is not installed.*pypi\.nvidia\.com"):
        TensorrtRunner(engine(runtime="tensorrt"))


def test_another_card_is_refused(engine: Callable[..., Path], card: None) -> None:
    with pytest.raises(GanletError, match=r"was built for sm86, sm120, but GTX 1660 Ti is sm75.*--gpu sm75"):
        TensorrtRunner(engine(targets=["sm86", "sm120"]))


def test_another_provider_is_refused(engine: Callable[..., Path], card: None) -> None:
    with pytest.raises(GanletError, match=r"Got the provider 'cpu'.*tensorrt_rtx alone"):
        TensorrtRunner(engine(), provider="cpu")


@pytest.mark.parametrize(
    "changes",
    [
        {"inputs": {}},
        {"inputs": {"z": {"shape": ["batch", LATENT], "dtype": "float16"}}},
        {"inputs": {"z": {"shape": ["batch", "free"], "dtype": "float32"}}},
        {"outputs": {"images": {"shape": ["batch", 3, 2], "dtype": "float32"}}},
        {"inputs": {"z": {"shape": [], "dtype": "float32"}}},
        {"runtime": "tensorflow"},
        {"targets": None},
        {"classes": 3},
        {"classes": "3", "inputs": ABOUT["inputs"] | {"label": {}}},
    ],
)
def test_a_manifest_of_something_else_is_refused(engine: Callable[..., Path], card: None, changes: Any) -> None:
    with pytest.raises(
        GanletError,
        match=r"is not a (Ganlet generator|generator this Ganlet can)|no generator that this Ganlet can run",
    ):
        TensorrtRunner(engine(**changes))


def test_a_changed_missing_or_unlisted_file_is_refused(engine: Callable[..., Path], card: None, tmp_path: Path) -> None:
    path = engine()
    path.write_bytes(b"a plan".upper())
    with pytest.raises(GanletError, match="was changed after it was made"):
        TensorrtRunner(path)
    with pytest.raises(GanletError, match="does not exist"):
        TensorrtRunner(tmp_path / "none.engine")
    (tmp_path / "alone.engine").write_bytes(b"a plan")
    with pytest.raises(GanletError, match="copy the run's manifest"):
        TensorrtRunner(tmp_path / "alone.engine")


def test_a_manifest_beside_the_engine_will_do(play: Callable[..., Any], tmp_path: Path) -> None:
    play()
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / "sm75.engine").write_bytes(b"a plan")
    add_to_manifest(tmp_path / "device", "sm75.engine", **ABOUT)
    assert TensorrtRunner(tmp_path / "device" / "sm75.engine").ports == (z_port(LATENT),)


# ---------------------------------------------------------------- the child's side, on a card of dicts


class Memory:
    """Plays `ganlet.device.cuda.Driver`."""

    def __init__(self) -> None:
        self.content: dict[int, bytes] = {}
        self.used = 0

    def use(self) -> int:
        return 5

    def free_bytes(self) -> int:
        return (100 << 20) - self.used

    def allocate(self, size_bytes: int) -> int:
        self.used += size_bytes
        return 1000 + self.used

    def to_card(self, address: int, content: bytes) -> None:
        self.content[address] = content

    def from_card(self, address: int, size_bytes: int) -> bytes:
        return self.content[address][:size_bytes]

    def wait(self, stream: int) -> None:
        assert stream == 5


def played_package(memory: Memory) -> ModuleType:
    """An engine that negates z and repeats it; it fails for a first value of 9."""
    module = ModuleType("played_tensorrt")
    shapes = {"z": (-1, 2), "images": (-1, 1, 1, 4)}

    class Context:
        def __init__(self) -> None:
            self.addresses: dict[str, int] = {}

        def set_tensor_address(self, name: str, address: int) -> None:
            self.addresses[name] = address

        def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
            self.shape = shape
            return shape[0] <= 3

        def execute_async_v3(self, stream: int) -> bool:
            z = np.frombuffer(memory.content[self.addresses["z"]], np.float32).reshape(self.shape)
            memory.content[self.addresses["images"]] = np.tile(-z, 2).tobytes()
            return bool(z[0, 0] != 9)

    class Engine:
        num_io_tensors = 2
        create_execution_context = Context

        def get_tensor_name(self, index: int) -> str:
            return list(shapes)[index]

        def get_tensor_mode(self, name: str) -> str:
            return "in" if name == "z" else "out"

        def get_tensor_profile_shape(self, name: str, profile: int) -> list[tuple[int, ...]]:
            return [(1, 2), (1, 2), (3, 2)]

        def get_tensor_dtype(self, name: str) -> Any:
            return SimpleNamespace(name="FLOAT")

        def get_tensor_shape(self, name: str) -> tuple[int, ...]:
            return shapes[name]

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, plan: bytes) -> Any:
            if plan == b"a plan":
                return Engine()
            self.logger.log(1, "magic tag does not match")
            return None

    class ILogger:
        Severity = SimpleNamespace(ERROR=1)

    module.__dict__.update(
        Runtime=Runtime, ILogger=ILogger, TensorIOMode=SimpleNamespace(INPUT="in"), __version__="1.7"
    )
    return module


def test_a_session_draws_and_goes_on_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    monkeypatch.setitem(sys.modules, "played_tensorrt", played_package(memory))
    (tmp_path / "x.engine").write_bytes(b"a plan")
    session = Session(tmp_path / "x.engine", "played_tensorrt", memory)  # type: ignore[arg-type]
    assert session.largest == 3 and session.memory_mib * 2**20 == 3 * (2 * 4 + 4 * 4)
    z = np.arange(6, dtype=np.float32).reshape(3, 2)
    bad = np.full((1, 2), 9, np.float32)
    requests = b"".join(
        json.dumps({"count": len(rows), "inputs": ["z"]}).encode() + b"\n" + rows.tobytes() for rows in (z, bad, z[:1])
    )
    answers = io.BytesIO()
    serve(session, io.BytesIO(requests), answers)
    answers.seek(0)
    for rows in (z, bad, z[:1]):
        answer = json.loads(answers.readline())
        if rows is bad:
            assert answer == {"error": "it said nothing"}
            continue
        pictures = np.frombuffer(answers.read(answer["bytes"]), np.float32).reshape(len(rows), 4)
        assert np.array_equal(pictures, np.tile(-rows, 2)) and answer["latency_ms"] >= 0
    assert answers.read() == b""


def test_a_plan_that_it_does_not_know_is_told_in_its_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    monkeypatch.setitem(sys.modules, "played_tensorrt", played_package(memory))
    (tmp_path / "x.engine").write_bytes(b"another")
    with pytest.raises(RuntimeError, match=r"played_tensorrt 1\.7.*magic tag does not match"):
        Session(tmp_path / "x.engine", "played_tensorrt", memory)  # type: ignore[arg-type]


def test_an_error_of_the_driver_is_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Memory()
    monkeypatch.setitem(sys.modules, "played_tensorrt", played_package(memory))
    (tmp_path / "x.engine").write_bytes(b"a plan")
    session = Session(tmp_path / "x.engine", "played_tensorrt", memory)  # type: ignore[arg-type]

    def fail(*_: object) -> None:
        raise CudaError("cuMemcpyHtoD_v2", 2, "CUDA_ERROR_OUT_OF_MEMORY")

    monkeypatch.setattr(memory, "to_card", fail)
    answers = io.BytesIO()
    serve(session, io.BytesIO(b'{"count": 1, "inputs": ["z"]}\n' + bytes(8)), answers)
    assert json.loads(answers.getvalue()) == {"error": "cuMemcpyHtoD_v2 failed with CUDA_ERROR_OUT_OF_MEMORY"}


def test_the_real_child_answers_where_nothing_can_be_loaded(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    import subprocess

    from ganlet.device.child import module_command, module_environment

    command = module_command("ganlet.device.tensorrt_session", str(tmp_path / "none.engine"), "tensorrt_nowhere")
    done = subprocess.run(command, capture_output=True, env=module_environment(), check=False)
    assert done.returncode == 2 and list(json.loads(done.stdout)) == ["error"]
    assert callable(main)
