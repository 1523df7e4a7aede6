"""A generator in an engine file, run by TensorRT for RTX or by TensorRT, whichever wrote it, on an NVIDIA card.

TensorRT is touched in a child process only (`ganlet.device.tensorrt_session`), and only after the driver answered:
without one it crashes instead of refusing. What the engine is - latent, picture, targets - is told by the manifest.json
beside it or one folder above (`engines/sm75.engine`): of itself it says nothing that can be read without a card.

Not verified: no NVIDIA card has run this yet; the protocol, the checks and every refusal are tested without one.
"""

import contextlib
import json
import subprocess
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.device.child import module_command, module_environment
from ganlet.device.contract import Contract, TensorInfo, read_contract
from ganlet.device.cuda import DriverState, driver_state
from ganlet.device.feed import NAMES as PORT_NAMES
from ganlet.device.feed import Feed, check_feed, row_count, rows
from ganlet.device.manifest import check_unchanged, listed
from ganlet.device.runner import check_pictures
from ganlet.device.tensorrt_package import EXPORTS, NAMES, REMEDIES
from ganlet.errors import GanletError

START_TIMEOUT_S = 300  # at its first load an engine is finished for the card
DRAW_TIMEOUT_S = 120


class TensorrtRunner:
    """An engine as a `Runner`. `memory_mib` on the card, `load_ms`, and `latency_ms` of the last call on the card."""

    def __init__(
        self, path: Path | str, *, provider: str = "auto", threads: int | None = None, profile: str = "fast"
    ) -> None:
        """Check the file, the driver, the card and the package, then load the engine in a child process.

        Args: `provider` "auto" or the package that wrote it; `threads` and `profile` mean nothing on a card.
        Raises GanletError when the file is not the one that the manifest lists, or where it cannot run.
        """
        self._child: subprocess.Popen[bytes] | None = None
        path = Path(path)
        entry = _listed(path)
        module, contract = _contract(path, entry)
        self.ports, self.picture_shape = contract.ports, contract.picture_shape
        if provider not in ("auto", module):
            raise GanletError(f"Got the provider {provider!r}; {path} runs on {module} alone, leave the provider out.")
        _check_machine(path, module, entry, driver_state())
        self.name, self.provider = path.name, module
        self._start(path, module_command("ganlet.device.tensorrt_session", str(path.absolute()), module))

    def _start(self, path: Path, command: list[str]) -> None:
        self._child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=module_environment()
        )
        answer, _ = self._listen(START_TIMEOUT_S, "be loaded")
        if "error" in answer:
            self.close()
            raise GanletError(
                f"{path} cannot be loaded ({answer['error']}); build it with the version of {self.provider} that is "
                f"installed here: `ganlet export --to {EXPORTS[self.provider]}`."
            )
        ready = answer["ready"]
        self._largest = int(ready["largest"])
        self.memory_mib, self.load_ms = float(ready["memory_mib"]), float(ready["load_ms"])
        self.latency_ms = 0.0

    def __call__(self, feed: Feed) -> NDArray[np.float32]:
        """Draw the pictures of a feed, as `ganlet.device.runner.Runner` says.

        More rows than the engine's largest batch are drawn in several calls.
        """
        count = check_feed(self.name, self.ports, feed)
        drawn, latency_ms = [], 0.0
        for first in range(0, count, self._largest):
            pictures, call_ms = self._draw(rows(feed, slice(first, first + self._largest)))
            drawn.append(pictures)
            latency_ms += call_ms
        self.latency_ms = latency_ms
        pictures = np.concatenate(drawn)
        check_pictures(self, pictures, count)
        return pictures

    def _draw(self, feed: Feed) -> tuple[NDArray[np.float32], float]:
        count = row_count(feed)
        if self._child is None or self._child.stdin is None:
            raise GanletError(f"{self.name} is closed; open it again.")
        request = json.dumps({"count": count, "inputs": list(feed)}).encode() + b"\n"
        with contextlib.suppress(BrokenPipeError):  # a child that died is told of when it is listened to
            self._child.stdin.write(request + b"".join(array.tobytes() for array in feed.values()))
            self._child.stdin.flush()
        answer, content = self._listen(DRAW_TIMEOUT_S, f"draw {count} pictures")
        if "error" in answer:
            raise GanletError(
                f"{self.name} failed to draw {count} pictures on {self.provider} ({answer['error']}); "
                "try a smaller batch, or draw with the .onnx file."
            )
        count_bytes = 4 * count * int(np.prod(self.picture_shape))
        if len(content) != count_bytes:
            raise GanletError(
                f"{self.name} drew {len(content)} bytes, expected {count_bytes}; its manifest.json is of another "
                "engine: copy both again."
            )
        return np.frombuffer(content, np.float32).reshape(count, *self.picture_shape), float(answer["latency_ms"])

    def _listen(self, timeout_s: int, to_do: str) -> tuple[dict[str, Any], bytes]:
        """The child's next answer and the bytes that follow it. Raises GanletError where it dies or takes too long."""
        child = self._child
        assert child is not None and child.stdout is not None
        late = threading.Timer(timeout_s, child.kill)
        late.start()
        try:
            line = child.stdout.readline()
            answer = json.loads(line) if line.endswith(b"\n") else {}
            content = child.stdout.read(answer.get("bytes", 0))
            if answer and len(content) == answer.get("bytes", 0):
                return answer, content
        except ValueError:
            child.kill()
        finally:
            timed_out = not late.is_alive()
            late.cancel()
        code = child.wait()
        self.close()
        how = f"took longer than {timeout_s} s" if timed_out else f"died with exit code {code}"
        raise GanletError(
            f"The process that was to {to_do} with {self.name} {how}; a negative code is a signal: update the NVIDIA "
            f"driver and {self.provider}, or draw with the .onnx file."
        )

    def close(self) -> None:
        """End the child process; the runner draws no more."""
        child, self._child = self._child, None
        if child is not None:
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            try:
                child.wait(timeout=5)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def __del__(self) -> None:
        self.close()


def _listed(path: Path) -> dict[str, Any]:
    """The manifest's entry of an engine that is there and unchanged."""
    if not path.is_file():
        raise GanletError(f"{path} does not exist; check the path, or make it with `ganlet export --to trt-rtx`.")
    check_unchanged(path)
    found = listed(path)
    if found is None:
        raise GanletError(
            f"No manifest.json beside {path}, or one folder above, lists it; copy the run's manifest.json with it."
        )
    return found[1]


def _contract(path: Path, entry: dict[str, Any]) -> tuple[str, Contract]:
    """The package and what the engine takes and gives. Raises GanletError unless this is a Ganlet generator."""
    try:
        inputs, outputs = ([*map(_info, entry[ends].items())] for ends in ("inputs", "outputs"))
        fits = entry["runtime"] in NAMES and isinstance(entry["targets"], list)
    except (KeyError, TypeError, AttributeError, ValueError):
        fits = False
    if not fits:
        raise GanletError(
            f"manifest.json tells of {path} no generator that this Ganlet can run: expected z float32 (batch, latent), "
            f"images float32 (batch, channels, height, width), targets, and one of {', '.join(NAMES)}; "
            "export it again."
        )
    latent = next((str(tensor.shape[-1]) for tensor in inputs if tensor.name == "z" and tensor.shape), "")
    metadata = {"range": "-1,1", "latent": latent, "ganlet_schema": "1", "classes": str(entry.get("classes") or "")}
    metadata |= {key: str(entry[key]) for key in ("ganlet_schema", "class_names") if key in entry}
    inputs.sort(key=lambda tensor: PORT_NAMES.index(tensor.name) if tensor.name in PORT_NAMES else len(PORT_NAMES))
    return entry["runtime"], read_contract(path, inputs, outputs, metadata)


def _info(described: tuple[str, Any]) -> TensorInfo:
    """An input or output as the manifest has it: its first axis is the batch, whatever stands there."""
    name, about = described
    _, *others = about["shape"]
    return TensorInfo(name, str(about["dtype"]), (None, *(n if type(n) is int else None for n in others)))


def _check_machine(path: Path, module: str, entry: dict[str, Any], driver: DriverState) -> None:
    """Raise GanletError where there is no driver, no package, or another card than the engine was built for."""
    if not driver.ready:
        raise GanletError(
            f"{path} runs on an NVIDIA card only, and here is none to use ({driver.reason}); install the NVIDIA "
            "driver, or draw with the .onnx file."
        )
    if find_spec(module) is None:
        raise GanletError(f"{path} needs {module}, which is not installed here; {REMEDIES[module]}.")
    card, targets = driver.cards[0], entry["targets"]
    if card.target not in targets:
        raise GanletError(
            f"{path} was built for {', '.join(map(str, targets))}, but {card.name} is {card.target}; build one with "
            f"`ganlet export RUN --to {EXPORTS[module]} --gpu {card.target}`."
        )
