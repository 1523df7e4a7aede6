"""A generator in an ONNX file (`ganlet.device.contract`), run by ONNX Runtime."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.device import trial
from ganlet.device.contract import TensorInfo, read_contract
from ganlet.device.feed import Feed, check_feed
from ganlet.device.onnx_session import CPU, RunsElsewhere, full_name, open_session
from ganlet.device.profiles import choose_profile
from ganlet.device.runner import check_pictures
from ganlet.device.runtimes import load_onnxruntime
from ganlet.device.trial import ONNXRUNTIME
from ganlet.errors import GanletError, words_of
from ganlet.files import is_utf8

_ELEMENTS = {"tensor(float)": "float32", "tensor(int64)": "int64"}


class OnnxRunner:
    """An ONNX generator as a `Runner`."""

    def __init__(
        self, path: Path | str, *, provider: str = "auto", threads: int | None = None, profile: str = "fast"
    ) -> None:
        """Check and load the model at `path`.

        Args: `provider` "auto" (the first of `onnx_session.AUTO` that runs the whole model), one of
        `onnx_session.PROVIDERS`, or the full name of another provider of ONNX Runtime; `threads` on the CPU, None for
        the profile's; `profile` one of `ganlet.device.profiles`.
        Raises GanletError when the file, the runtime or the provider is not what was asked for: a provider asked for by
        name runs every layer, or there is no runner.
        """
        path = Path(path)
        chosen = choose_profile(profile, threads)
        runtime = load_onnxruntime()
        wanted = provider if provider == "auto" else full_name(runtime, provider)
        trial.examine(path, ONNXRUNTIME, strict=wanted in ("auto", CPU))
        try:
            # From the path, not from bytes: those would lie in memory beside ONNX Runtime's own copy of the weights.
            model = str(path) if is_utf8(path) else path.read_bytes()
            self._session = open_session(runtime, model, wanted, chosen)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise _not_loaded(runtime, path, wanted, error) from error
        self.name = path.name
        self.provider: str = self._session.get_providers()[0]
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        contract = read_contract(
            path, _ports(self._session.get_inputs()), _ports(self._session.get_outputs()), self.metadata
        )
        self.ports, self.picture_shape = contract.ports, contract.picture_shape
        self._run_options = None
        if not chosen.keeps_memory and self.provider == CPU:
            self._run_options = runtime.RunOptions()
            self._run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")

    def __call__(self, feed: Feed) -> NDArray[np.float32]:
        """Draw the pictures of a feed, as `ganlet.device.runner.Runner` says."""
        count = check_feed(self.name, self.ports, feed)
        try:
            (pictures,) = self._session.run(["images"], feed, self._run_options)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise GanletError(
                f"{self.name} failed to draw {count} pictures on {self.provider} ({_first_line(error)}); "
                f"{_remedy(count, self.provider)}."
            ) from error
        check_pictures(self, pictures, count)
        drawn: NDArray[np.float32] = pictures
        return drawn


def _remedy(count: int, provider: str) -> str:
    """What can be tried where a file does not run: only what it was not run with."""
    ways = ["a smaller batch"] if count > 1 else []
    ways += [] if provider == CPU else ["the provider cpu"]
    return f"try {', or '.join(ways)}" if ways else "export it again with `ganlet export`, or update onnxruntime"


def _ports(nodes: list[Any]) -> list[TensorInfo]:
    return [
        TensorInfo(
            node.name, _ELEMENTS.get(node.type, node.type), tuple(n if isinstance(n, int) else None for n in node.shape)
        )
        for node in nodes
    ]


def _not_loaded(runtime: Any, path: Path, wanted: str, error: Exception) -> GanletError:
    if isinstance(error, RunsElsewhere):
        return GanletError(
            f"{path} was to run on {wanted} of ONNX Runtime {runtime.__version__}, but {error}; see `ganlet doctor`, "
            "or ask for the provider auto or cpu."
        )
    if wanted not in ("auto", CPU):
        return GanletError(
            f"ONNX Runtime {runtime.__version__} cannot load {path} on {wanted} ({_first_line(error, path)}); see "
            "`ganlet doctor` for what works here, or ask for the provider cpu."
        )
    return GanletError(
        f"ONNX Runtime {runtime.__version__} cannot load {path} ({_first_line(error, path)}): the file is damaged, cut "
        "short, or needs a newer runtime; export it again with `ganlet export`, or update onnxruntime."
    )


def _first_line(error: Exception, path: Path | None = None) -> str:
    """The runtime's own words, shortened; it repeats the path, which the sentence names already."""
    return words_of(str(error).replace(str(path), path.name) if path else error)
