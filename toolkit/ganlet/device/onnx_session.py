"""ONNX Runtime's providers: which one is asked for, with what options, and whether it really runs the model.

A provider that is listed may not load (CUDA without a driver), and one that loads may run nothing: the session then
names it first and works on the processor. So where the layers run is read from the session, not from its list.
"""

import contextlib
import io
import re
from collections import defaultdict
from typing import Any

from ganlet.device.profiles import Profile
from ganlet.device.runtimes import quiet_stderr
from ganlet.errors import GanletError

CPU, CUDA, DIRECTML = "CPUExecutionProvider", "CUDAExecutionProvider", "DmlExecutionProvider"
TENSORRT, TENSORRT_RTX = "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider"
COREML, OPENVINO_PLUGIN = "CoreMLExecutionProvider", "OpenVINOExecutionProvider"

PROVIDERS = {
    "cpu": CPU,
    "cuda": CUDA,
    "tensorrt": TENSORRT,
    "tensorrt-rtx": TENSORRT_RTX,
    "directml": DIRECTML,
    "coreml": COREML,
}
"""Short names. Any other provider of ONNX Runtime goes by its full name; `openvino` is the OpenVINO package itself."""

AUTO = (CUDA, DIRECTML, CPU)
"""In this order "auto" takes the first that runs the whole model. The others are taken only by name: TensorRT builds an
engine at every start, and CoreML, which every macOS wheel lists, may compute in half precision."""

_GET_GPU = 'run `pip uninstall -y onnxruntime`, then `pip install "ganlet[gpu]"`'
_GET = {
    CUDA: _GET_GPU,
    TENSORRT: _GET_GPU,
    DIRECTML: "on Windows run `pip uninstall -y onnxruntime`, then `pip install onnxruntime-directml`",
    COREML: "it comes with onnxruntime on macOS only; use cpu",
    OPENVINO_PLUGIN: 'run `pip install "ganlet[openvino]"` and ask for the provider openvino',
}

# TensorFloat-32 would keep 10 bits of each factor, and the exhaustive search for a convolution algorithm may choose
# another one in every process: both would make pictures differ from those of the CPU and of the last run.
_OPTIONS: dict[str, dict[str, str]] = {CUDA: {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}}
_SILENT = 4  # log only what is fatal: every failure is raised and reported once, in a sentence
_LIBRARY = re.compile(r"Failed to load library .* with error: (.*)")
_RECORD = "session.record_ep_graph_assignment_info"
_STRICT = "session.disable_cpu_ep_fallback"
_WORK = ("Conv", "Gemm", "MatMul")  # what a generator's time goes into; ONNX Runtime puts shapes on the CPU on purpose


class RunsElsewhere(Exception):
    """The provider loads, but not all layers run on it."""


def available_providers(runtime: Any) -> list[str]:
    """Full names of the providers that this ONNX Runtime lists; whether they load is not said."""
    return list(runtime.get_available_providers())


def full_name(runtime: Any, provider: str) -> str:
    """The full name of a provider. Raises GanletError, with what to install, where this ONNX Runtime lacks it."""
    available = available_providers(runtime)
    wanted = PROVIDERS.get(provider, provider)
    if wanted not in available:
        raise GanletError(
            f"Got the provider {provider!r}, but this ONNX Runtime has only {', '.join(available)} "
            f"(also: auto, openvino, {', '.join(PROVIDERS)}); {_GET.get(wanted, 'use cpu')}."
        )
    return wanted


def open_session(runtime: Any, model: str | bytes, provider: str, profile: Profile) -> Any:
    """A session of the model (a path, or its content) on one provider's full name, or on the first of AUTO that works.

    Raises RunsElsewhere where a provider asked for by name does not run every layer, else what ONNX Runtime raises.
    """
    if provider != "auto":
        return _session_on(runtime, model, provider, profile)
    *accelerators, _ = AUTO
    for candidate in (name for name in accelerators if name in available_providers(runtime)):
        with contextlib.suppress(Exception):  # ONNX Runtime's exceptions share no base class
            return _session_on(runtime, model, candidate, profile)
    return _session_on(runtime, model, CPU, profile)


def layers_by_provider(session: Any) -> dict[str, list[str]]:
    """Provider -> the operators with weights that run on it. Of a session that `open_session` made off the CPU."""
    found: dict[str, list[str]] = defaultdict(list)
    for part in session.get_provider_graph_assignment_info():
        found[part.ep_name] += [
            node.op_type for node in part.get_nodes() if any(word in node.op_type for word in _WORK)
        ]
    return dict(found)


def _session_on(runtime: Any, model: str | bytes, wanted: str, profile: Profile) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = _SILENT
    if profile.threads is not None:
        options.intra_op_num_threads = profile.threads
    if wanted == CPU:
        return runtime.InferenceSession(model, options, providers=[CPU])
    if wanted == DIRECTML:  # it refuses memory patterns and parallel execution
        options.enable_mem_pattern = False
    # ONNX Runtime 1.23 and older do not tell where layers run. There no layer at all may run on the CPU.
    tells = hasattr(runtime.InferenceSession, "get_provider_graph_assignment_info")
    options.add_session_config_entry(_RECORD if tells else _STRICT, "1")
    providers = [(wanted, _OPTIONS.get(wanted, {})), *([CPU] if tells else [])]
    # preload_dlls finds the CUDA libraries that pip installs (nvidia-*), and prints those it does not find.
    # Which library it misses it only writes to standard error, at whatever severity is set.
    with contextlib.redirect_stdout(io.StringIO()), quiet_stderr() as written:
        if wanted in (CUDA, TENSORRT) and hasattr(runtime, "preload_dlls"):
            runtime.preload_dlls()
        # Without enable_fallback=0 the Python layer would try again with other providers, and print that it does.
        try:
            session = runtime.InferenceSession(model, options, providers=providers, enable_fallback=0)
        except Exception as error:  # ONNX Runtime's exceptions share no base class
            if missing := _LIBRARY.search(written()):
                raise RunsElsewhere(f"it does not load ({missing[1]})") from error
            if "fallback to CPU EP" in str(error):
                raise RunsElsewhere("it does not load, or does not run every layer") from error
            raise
        missing = _LIBRARY.search(written())
    if session.get_providers()[0] != wanted:
        raise RunsElsewhere(f"it does not load ({missing[1] if missing else 'ONNX Runtime does not say why'})")
    if tells:
        elsewhere = {name: found for name, found in layers_by_provider(session).items() if found and name != wanted}
        if elsewhere:
            raise RunsElsewhere(
                "; ".join(f"{', '.join(found)} would run on {name}" for name, found in elsewhere.items())
            )
    return session
