"""Which runner opens which file: one line a runtime."""

from collections.abc import Callable
from pathlib import Path

from ganlet.device import openvino_runner, trial
from ganlet.device.executorch_runner import ExecuTorchRunner
from ganlet.device.manifest import check_contract
from ganlet.device.onnx_runner import OnnxRunner
from ganlet.device.openvino_runner import OpenVinoRunner
from ganlet.device.runner import Runner
from ganlet.device.runtimes import load_executorch, load_onnxruntime, load_openvino
from ganlet.device.tensorrt_runner import TensorrtRunner
from ganlet.errors import GanletError

RUNNERS: dict[str, Callable[..., Runner]] = {
    ".onnx": OnnxRunner,
    ".pte": ExecuTorchRunner,
    ".engine": TensorrtRunner,
}
"""Suffix of an artifact -> its runner, called as `runner(path, provider=..., threads=..., profile=...)`.

Each checks before it loads anything that the file is the one that a manifest beside it lists.
"""

RUNTIMES: dict[tuple[str, str], Callable[..., Runner]] = {
    (".onnx", openvino_runner.NAME): OpenVinoRunner,
}
"""(suffix, provider) -> the runner of another runtime that opens the same file."""

LIBRARIES: dict[tuple[str, str], Callable[[], object]] = {
    (".onnx", ""): load_onnxruntime,
    (".onnx", openvino_runner.NAME): load_openvino,
    (".pte", ""): load_executorch,
}
"""(suffix, provider or "" for every other) -> what imports the runtime's library."""


def load_library(path: Path | str, provider: str = "auto") -> None:
    """Import the library that `open_runner` would use, where it has one. Raises GanletError when it is missing."""
    suffix = Path(path).suffix.lower()
    load = LIBRARIES.get((suffix, provider)) or LIBRARIES.get((suffix, ""))
    if load is not None:
        load()


def examine(path: Path | str, provider: str = "auto") -> None:
    """Try out the file where its runner would (`ganlet.device.trial`), so that loading it is what is timed next."""
    path = Path(path)
    if path.suffix.lower() == ".onnx":
        trial.examine(path, trial.OPENVINO if provider == openvino_runner.NAME else trial.ONNXRUNTIME, strict=False)


def open_runner(
    path: Path | str, *, provider: str = "auto", threads: int | None = None, profile: str = "fast"
) -> Runner:
    """Load the artifact at `path` on the runtime that its suffix, or the provider, asks for.

    Arguments as for `OnnxRunner`; the provider "openvino" is the OpenVINO package.
    Raises GanletError for a suffix that no runtime here opens, for a file that a manifest lists as another one or as
    one of another configuration, and as the runner does.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    make = RUNTIMES.get((suffix, provider)) or RUNNERS.get(suffix)
    if make is None:
        raise GanletError(f"{path} is no generator that can be opened; expected a file ending in {', '.join(RUNNERS)}.")
    runner = make(path, provider=provider, threads=threads, profile=profile)
    check_contract(path, runner)
    return runner
