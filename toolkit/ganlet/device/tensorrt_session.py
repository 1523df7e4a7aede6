"""An engine loaded by TensorRT for RTX, or by TensorRT, in a process of its own: both can crash the one they live in.

`python -m ganlet.device.tensorrt_session ENGINE MODULE` loads it and prints a line, {"ready": ...} or {"error": ...}.
Then each request on standard input is a JSON line {"count": N, "inputs": [names]} and the bytes of these inputs, N rows
of each; each answer is a JSON line {"bytes": B, "latency_ms": T} and the pictures, float32
(N, channels, height, width), or {"error": why}. The end of standard input ends it.

Not verified: no NVIDIA card has run this yet. Source of the calls: NVIDIA's TensorRT Python API reference.
"""

import contextlib
import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, BinaryIO

from ganlet.device.cuda import CudaError, Driver
from ganlet.errors import words_of
from ganlet.files import MIB

ITEM_BYTES = {"FLOAT": 4, "INT64": 8}  # of the inputs and outputs of a Ganlet generator


class Session:
    """Buffers for the largest batch of the engine's profile, allocated once; `latency_ms` is of the last call."""

    def __init__(self, engine_path: Path, module: str, driver: Driver | None = None) -> None:
        self._driver = Driver() if driver is None else driver
        self._stream = self._driver.use()
        trt = importlib.import_module(module)
        free_bytes = self._driver.free_bytes()
        self._words: list[str] = []
        self._runtime = trt.Runtime(_logger(trt, self._words))
        self._engine = self._runtime.deserialize_cuda_engine(engine_path.read_bytes())
        if self._engine is None:
            raise RuntimeError(
                f"{module} {trt.__version__} cannot load it ({' '.join(self._words) or 'it said nothing'})"
            )
        self._context = self._engine.create_execution_context()
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self.inputs = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        (self.output,) = (name for name in names if name not in self.inputs)
        self.largest = int(self._engine.get_tensor_profile_shape(self.inputs[0], 0)[2][0])
        self._row_bytes = {name: self._bytes_of_a_row(name) for name in names}
        self._addresses = {name: self._driver.allocate(self.largest * size) for name, size in self._row_bytes.items()}
        for name, address in self._addresses.items():
            self._context.set_tensor_address(name, address)
        self.memory_mib = (free_bytes - self._driver.free_bytes()) / MIB
        self.version = str(trt.__version__)
        self.latency_ms = 0.0

    def _bytes_of_a_row(self, name: str) -> int:
        size = ITEM_BYTES[self._engine.get_tensor_dtype(name).name]
        for length in tuple(self._engine.get_tensor_shape(name))[1:]:
            size *= length
        return size

    def row_bytes(self, name: str) -> int:
        return self._row_bytes[name]

    def draw(self, count: int, contents: dict[str, bytes]) -> bytes:
        """The output of `count` rows. Raises CudaError, and RuntimeError with TensorRT's words."""
        self._words.clear()
        for name, content in contents.items():
            shape = (count, *tuple(self._engine.get_tensor_shape(name))[1:])
            if not self._context.set_input_shape(name, shape):
                raise RuntimeError(" ".join(self._words) or f"it refused the shape {shape} of {name}")
            self._driver.to_card(self._addresses[name], content)
        started = time.perf_counter()
        if not self._context.execute_async_v3(self._stream):
            raise RuntimeError(" ".join(self._words) or "it said nothing")
        self._driver.wait(self._stream)
        self.latency_ms = (time.perf_counter() - started) * 1e3
        return self._driver.from_card(self._addresses[self.output], count * self._row_bytes[self.output])


def _logger(trt: Any, words: list[str]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                words.append(message)

    return Logger()


def serve(session: Session, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until they end."""
    for line in iter(requests.readline, b""):
        request = json.loads(line)
        count = int(request["count"])
        contents = {name: requests.read(count * session.row_bytes(name)) for name in request["inputs"]}
        try:
            pictures = session.draw(count, contents)
            tell(answers, {"bytes": len(pictures), "latency_ms": session.latency_ms})
            answers.write(pictures)
            answers.flush()
        except (CudaError, RuntimeError) as error:
            tell(answers, {"error": str(error)})


def tell(answers: BinaryIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer).encode() + b"\n")
    answers.flush()


def main(arguments: list[str]) -> int:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    engine, module = arguments
    started = time.perf_counter()
    try:
        session = Session(Path(engine), module)
    except Exception as error:  # whatever a library raises that does not load
        tell(answers, {"error": f"{type(error).__name__}: {words_of(error)}"})
        return 2
    ready = {"version": session.version, "largest": session.largest, "memory_mib": session.memory_mib}
    tell(answers, {"ready": ready | {"load_ms": (time.perf_counter() - started) * 1e3}})
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        serve(session, sys.stdin.buffer, answers)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
