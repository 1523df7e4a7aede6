"""Which runner opens which file: one line a runtime."""

from collections.abc import Callable
from pathlib import Path

from ganlet.device.onnx_runner import OnnxRunner
from ganlet.device.runner import Runner
from ganlet.device.tensorrt_runner import TensorrtRunner
from ganlet.errors import GanletError

RUNNERS: dict[str, Callable[..., Runner]] = {
    ".onnx": OnnxRunner,
    ".engine": TensorrtRunner,
}
"""Suffix of an artefact -> its runner, called as `runner(path, provider=..., threads=...)`."""


def open_runner(path: Path | str, *, provider: str = "auto", threads: int | None = None) -> Runner:
    """Load the artefact at `path` on the runtime that its suffix asks for; arguments as for `OnnxRunner`.

    Raises GanletError for a suffix that no runtime here opens, and as the runner does.
    """
    path = Path(path)
    make = RUNNERS.get(path.suffix.lower())
    if make is None:
        raise GanletError(f"{path} is no generator that can be opened; expected a file ending in {', '.join(RUNNERS)}.")
    return make(path, provider=provider, threads=threads)
