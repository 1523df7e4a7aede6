"""Builds engines with TensorRT for RTX or with TensorRT, in a process of its own: both can crash the one they live in.

Run as a file, not as a module, since the package around it loads torch. A JSON list of requests comes on standard input
(`ganlet.export.engines.Request` as a dict); one JSON line a request goes to standard output, in order:

    {"built": {"bytes", "inputs", "outputs", "layers", "version", "fixed_addresses"}}
    {"refused": "parse" | "build" | "flag" | "target" | "axes", "words": [...], "node": name, "operator": op, "version"}
    {"missing": module, "words": [...]}           the package cannot be imported
    {"died": signal}                              where each request has a process of its own (POSIX)

Standard library and TensorRT alone. An engine's bytes depend on the addresses of the builder's own objects (the
numbers in names of temporaries differ from run to run; seen with int8 and fp16). Three things make them the same: no
randomisation of addresses, a fresh process a build, and in it a fresh thread, whose heap begins at a round address and
holds nothing of Python's start.
"""

import ctypes
import importlib
import json
import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import Any

_NO_RANDOM_ADDRESSES = 0x0040000  # ADDR_NO_RANDOMIZE, linux/personality.h
_ASK = 0xFFFFFFFF  # personality(2): tell, change nothing
_MARK = "GANLET_FIXED_ADDRESSES"
_GRAPH = "generator"
_OLDEST = 10  # TensorRT before it takes precision from flags
_MISREAD = "UINT8 zero_point"  # a mere warning: integers above 127 would be cut off, and the pictures be others


def main() -> None:
    if _can_fix_addresses():  # takes effect at the next program start
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
    sys.stdout.flush()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # the builder itself prints to standard output
    requests = json.load(sys.stdin)
    loaded: dict[str, Any] = {}
    for request in requests:
        module = request["module"]
        if module not in loaded:
            loaded[module] = _load(module)
        _answer(loaded[module], request, answers)


def _can_fix_addresses() -> bool:
    """Ask Linux to start the next program of this process at fixed addresses; False when that is done or refused."""
    if not sys.platform.startswith("linux") or os.environ.get(_MARK):
        return False
    os.environ[_MARK] = "1"
    libc = ctypes.CDLL(None)
    before = int(libc.personality(_ASK))
    return before >= 0 and libc.personality(before | _NO_RANDOM_ADDRESSES) != -1


def _fixed_addresses() -> bool:
    return sys.platform.startswith("linux") and bool(ctypes.CDLL(None).personality(_ASK) & _NO_RANDOM_ADDRESSES)


def _load(module: str) -> Any:
    """The package, or the answer that says why not."""
    try:
        return importlib.import_module(module)
    except Exception as error:  # a library that does not load raises anything
        return {"missing": module, "words": [f"{type(error).__name__}: {error}"]}


def _answer(trt: Any, request: dict[str, Any], answers: Any) -> None:
    if isinstance(trt, dict):
        print(json.dumps(trt), file=answers)
        return
    if not hasattr(os, "fork"):
        print(json.dumps(_in_a_thread(trt, request)), file=answers)
        return
    child = os.fork()
    if child == 0:
        signal.alarm(
            request["timeout_s"]
        )  # its default action ends the process, in the midst of the builder's code too
        print(json.dumps(_in_a_thread(trt, request)), file=answers, flush=True)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:
        print(json.dumps({"died": -code}), file=answers)


def _in_a_thread(trt: Any, request: dict[str, Any]) -> dict[str, Any]:
    model = Path(request["model"]).read_bytes()
    answer: dict[str, Any] = {}

    def build() -> None:
        try:
            answer.update(_build(trt, request, model))
        except Exception as error:  # the bindings raise whatever they like
            words = [f"{type(error).__name__}: {error}"]
            answer.update({"refused": "build", "words": words, "version": trt.__version__})

    thread = threading.Thread(target=build)
    thread.start()
    thread.join()
    return answer


def _build(trt: Any, request: dict[str, Any], model: bytes) -> dict[str, Any]:
    """Parse, set targets, profile and limits, build, write."""
    words: list[str] = []
    warnings: list[str] = []
    logger = _logger(trt, words, warnings)

    def refused(step: str, **more: Any) -> dict[str, Any]:
        return {"refused": step, "words": words, "version": trt.__version__, **more}

    if request["module"] == "tensorrt" and int(trt.__version__.split(".")[0]) < _OLDEST:
        words.append(f"it knows no strongly typed networks, {_OLDEST}.0 is the oldest that does")
        return refused("target")
    builder = trt.Builder(logger)
    flags = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)  # the rule where there is no such flag
    network = builder.create_network(0 if flags is None else 1 << int(flags))
    network.name = _GRAPH  # else it is numbered, and the number ends up in the engine
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        if parser.num_errors == 0:
            return refused("parse")
        error = parser.get_error(0)
        words.insert(0, error.desc())
        operator = error.node_operator() if hasattr(error, "node_operator") else ""
        return refused("parse", node=error.node_name(), operator=operator)
    if misread := [warning for warning in warnings if _MISREAD in warning]:
        words += misread
        return refused("parse")
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, request["workspace_mib"] << 20)
    for name in request["flags"]:
        if not hasattr(trt.BuilderFlag, name):
            words.append(f"there is no BuilderFlag.{name}")
            return refused("flag")
        config.set_flag(getattr(trt.BuilderFlag, name))
    known = {
        name.lower(): value for name, value in _members(trt, "ComputeCapability").items() if re.match(r"SM\d", name)
    }
    unknown = [target for target in request["targets"] if target not in known]
    if unknown:
        words.append(f"no {', '.join(unknown)}; it has {', '.join(known) or 'none'}")
        return refused("target")
    if request["targets"]:
        config.num_compute_capabilities = len(request["targets"])
        for index, target in enumerate(request["targets"]):
            config.set_compute_capability(known[target], index)
    if request["batches"] is not None:
        profile = builder.create_optimization_profile()
        for tensor in map(network.get_input, range(network.num_inputs)):
            rest = tuple(tensor.shape)[1:]
            if -1 in rest:
                words.append(f"input {tensor.name} has the shape {tuple(tensor.shape)}")
                return refused("axes")
            if tensor.shape[0] == -1:
                profile.set_shape(tensor.name, *((batch, *rest) for batch in request["batches"]))
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        return refused("build")
    size_bytes = Path(request["engine"]).write_bytes(plan)
    return {
        "built": {
            "bytes": size_bytes,
            "inputs": _tensors(map(network.get_input, range(network.num_inputs))),
            "outputs": _tensors(map(network.get_output, range(network.num_outputs))),
            "layers": network.num_layers,
            "version": trt.__version__,
            "fixed_addresses": _fixed_addresses(),
        }
    }


def _logger(trt: Any, words: list[str], warnings: list[str]) -> Any:
    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                words.append(message)
            elif severity <= trt.ILogger.Severity.WARNING:
                warnings.append(message)

    return Logger()


def _members(trt: Any, name: str) -> dict[str, Any]:
    return dict(getattr(getattr(trt, name, None), "__members__", {}))


_TYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16"}


def _tensors(tensors: Any) -> dict[str, dict[str, Any]]:
    """Name -> dtype and shape, in manifest.json's words: a free first axis is "batch"."""
    return {
        tensor.name: {
            "shape": ["batch" if length == -1 else length for length in tensor.shape],
            "dtype": _TYPES.get(tensor.dtype.name, tensor.dtype.name.lower()),
        }
        for tensor in tensors
    }


if __name__ == "__main__":
    main()
