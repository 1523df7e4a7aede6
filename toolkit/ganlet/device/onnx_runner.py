"""A generator in an ONNX file, run by ONNX Runtime.

The file's contract: input `z` float32 (batch, latent) with a free batch, `label` int64 (batch,) as second input of a
conditional generator; output `images` float32 (batch, channels, height, width); metadata `ganlet_schema` = "1",
`latent`, `range` = "-1,1", `recipe_sha256`, and `classes` if conditional.
"""

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.device.onnx_file import check_onnx_file
from ganlet.device.runner import check_inputs, check_pictures
from ganlet.device.runtimes import load_onnxruntime
from ganlet.errors import GanletError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
PROVIDERS = {"cpu": CPU, "cuda": CUDA}

# TensorFloat-32 would keep 10 bits of each factor, and the exhaustive search for a convolution algorithm may choose
# another one in every process: both would make pictures differ from those of the CPU and of the last run.
_OPTIONS: dict[str, dict[str, str]] = {CUDA: {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}}
_SILENT = 4  # log only what is fatal: every failure is raised and reported once, in a sentence


class OnnxRunner:
    """An ONNX generator as a `Runner`."""

    def __init__(self, path: Path | str, *, provider: str = "auto", threads: int | None = None) -> None:
        """Check and load the model at `path`.

        Args: `provider` "auto" (CUDA where it really loads, else CPU), "cpu", "cuda" or the full name of one of ONNX
        Runtime's providers; `threads` on the CPU, None for ONNX Runtime's own choice.
        Raises GanletError when the file, the runtime or the provider is not what was asked for.
        """
        path = Path(path)
        if threads is not None and threads < 1:
            raise GanletError(f"Got {threads} threads; expected 1 or more, or none to let ONNX Runtime choose.")
        runtime = load_onnxruntime()
        wanted = _wanted_provider(runtime, provider)
        check_onnx_file(path)
        self._session = _session(runtime, path, wanted, threads)
        self.name = path.name
        self.provider: str = self._session.get_providers()[0]
        # onnxruntime-gpu falls back to the CPU in silence; only "auto" allows that.
        if provider != "auto" and self.provider != wanted:
            raise GanletError(
                f"{path} was to run on {wanted}, but ONNX Runtime {runtime.__version__} fell back to {self.provider}; "
                "check the driver and the CUDA libraries with `ganlet doctor`, or ask for the provider cpu."
            )
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.latent_dim, self.picture_shape, self.classes = _contract(path, self._session, self.metadata)

    def __call__(self, z: NDArray[np.float32], label: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """Draw pictures: z float32 (N, latent_dim), label int64 (N,) -> float32 (N, *picture_shape) in [-1, 1].

        Raises GanletError for inputs of another dtype or shape, when the runtime fails, and for NaN in the pictures.
        """
        check_inputs(self, z, label)
        feed = {"z": z} if label is None else {"z": z, "label": label}
        try:
            (pictures,) = self._session.run(["images"], feed)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            raise GanletError(
                f"{self.name} failed to draw {len(z)} pictures on {self.provider} ({_first_line(error)}); "
                "try a smaller batch, or the provider cpu."
            ) from error
        check_pictures(self, pictures, len(z))
        drawn: NDArray[np.float32] = pictures
        return drawn


def _wanted_provider(runtime: Any, provider: str) -> str:
    """The full name of the provider to ask for. Raises GanletError when this ONNX Runtime has no such provider."""
    available = runtime.get_available_providers()
    if provider == "auto":
        return CUDA if CUDA in available else CPU
    wanted = PROVIDERS.get(provider, provider)
    if wanted not in available:
        remedy = 'run `pip uninstall -y onnxruntime`, then `pip install "ganlet[gpu]"`' if wanted == CUDA else "use cpu"
        raise GanletError(
            f"Got the provider {provider!r}, but this ONNX Runtime has only {', '.join(available)} "
            f"(also: auto, {', '.join(PROVIDERS)}); {remedy}."
        )
    return wanted


def _session(runtime: Any, path: Path, wanted: str, threads: int | None) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = _SILENT
    if threads is not None:
        options.intra_op_num_threads = threads
    providers: list[Any] = [(wanted, _OPTIONS.get(wanted, {}))]
    if wanted != CPU:
        providers.append(CPU)
    try:
        # ONNX Runtime prints which CUDA libraries it misses and that it falls back; get_providers() tells us.
        with contextlib.redirect_stdout(io.StringIO()):
            if wanted == CUDA and hasattr(runtime, "preload_dlls"):
                runtime.preload_dlls()  # finds the CUDA libraries that pip installs (nvidia-*)
            # From the path, not from bytes: those would lie in memory beside ONNX Runtime's own copy of the weights.
            return runtime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # ONNX Runtime's exceptions share no base class
        raise GanletError(
            f"ONNX Runtime {runtime.__version__} cannot load {path} ({_first_line(error, path)}): the file is damaged, "
            "cut short, or needs a newer runtime; export it again with `ganlet export`, or update onnxruntime."
        ) from error


def _contract(path: Path, session: Any, metadata: dict[str, str]) -> tuple[int, tuple[int, int, int], int | None]:
    """Latent dimension, picture shape and number of classes. Raises GanletError unless this is a Ganlet generator."""
    inputs = {node.name: node for node in session.get_inputs()}
    outputs = {node.name: node for node in session.get_outputs()}
    signature = ", ".join(f"{n.name} {n.type}{n.shape}" for n in (*inputs.values(), *outputs.values()))
    conditional = "label" in inputs
    fits = (
        list(inputs) in (["z"], ["z", "label"])
        and list(outputs) == ["images"]
        and _is_batch_of(inputs["z"], "tensor(float)", 1)
        and _is_batch_of(outputs["images"], "tensor(float)", 3)
        and (not conditional or _is_batch_of(inputs["label"], "tensor(int64)", 0))
    )
    if not fits:
        raise GanletError(
            f"{path} is not a Ganlet generator: got {signature}; expected z float (batch, latent), perhaps label int64 "
            "(batch), and images float (batch, channels, height, width), batch free; export it with `ganlet export`."
        )
    latent_dim = int(inputs["z"].shape[1])
    expected = {"ganlet_schema": "1", "latent": str(latent_dim), "range": "-1,1"}
    got = {key: metadata.get(key) for key in expected}
    classes = metadata.get("classes", "")
    has_classes = classes.isdecimal() and int(classes) >= 1
    if got != expected or has_classes != conditional:
        raise GanletError(
            f"{path} is not a generator this Ganlet can read: got the metadata {got} and classes {classes or None!r}; "
            f"expected {expected}{' and a number of classes' if conditional else ''}; export it with `ganlet export`."
        )
    channels, height, width = outputs["images"].shape[1:]
    return latent_dim, (channels, height, width), int(classes) if conditional else None


def _is_batch_of(node: Any, element: str, fixed_axes: int) -> bool:
    """Whether a graph input or output has a free first axis and then `fixed_axes` axes of known length."""
    batch, *rest = node.shape or [1]
    fixed = len(rest) == fixed_axes and all(isinstance(length, int) and length >= 1 for length in rest)
    return node.type == element and not isinstance(batch, int) and fixed


def _first_line(error: Exception, path: Path | None = None) -> str:
    """The runtime's own words, shortened; it repeats the path, which the sentence names already."""
    words = (str(error).replace(str(path), path.name) if path else str(error)).strip()
    return (words.splitlines() or [type(error).__name__])[0][:200]
