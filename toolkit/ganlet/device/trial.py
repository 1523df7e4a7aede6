"""A first look at an ONNX file that no manifest lists: a child process loads it and draws one picture.

A small file may ask for gigabytes, for hours, or for a crash of the runtime, and native code heeds no signal. So a
file that is not known to be Ganlet's own is tried out where it can be ended: within `SECONDS`, and with `SPARE_MIB` of
memory beyond what its size accounts for. A file that a manifest.json lists is loaded at once.

`python -m ganlet.device.trial RUNTIME PATH` is that child; it prints one line of JSON: {"error": sentence or "",
"memory": whether the memory ran out}.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ganlet.device.child import module_command, module_environment
from ganlet.device.feed import example_feed
from ganlet.device.onnx_file import check_onnx_file
from ganlet.errors import GanletError
from ganlet.files import MIB

SECONDS = 20  # of a small file, the start of Python included
BYTES_A_SECOND = 20 * MIB  # read from a slow card: a large file has more time
SPARE_MIB = 2048  # what the layers of one picture may take
COPIES = 6  # of the weights: as read, as packed for the processor, and what optimisation holds meanwhile
STACK_MIB = 16  # of a thread
ONNXRUNTIME, OPENVINO = "onnxruntime", "openvino"
_OUT_OF_MEMORY = re.compile(r"bad_?alloc|bad allocation|allocat|out of memory|MemoryError", re.IGNORECASE)

_tried: set[tuple[object, ...]] = set()


def examine(path: Path, runtime: str, module: str = "ganlet.device.trial", *, strict: bool = True) -> None:
    """Check the file at `path` as `check_onnx_file` does, and try it out once where no manifest lists it.

    `module` is what the child runs. Without `strict` only a lack of time or memory and a crash count: the caller will
    run the file elsewhere than on the processor.
    Raises GanletError with the child's sentence, or with what became of it.
    """
    if check_onnx_file(path) or _key(path, runtime) in _tried or not sys.executable:
        return
    fault, decisive = _ask(path, module_command(module, runtime, str(path)))
    if fault and (strict or decisive):
        raise GanletError(fault)
    trust(path, runtime)


def trust(path: Path, runtime: str) -> None:
    """Note that the file needs no trial in this process: it has passed one, or this is its trial."""
    _tried.add(_key(path, runtime))


def answer(load_library: Callable[[], object], draw: Callable[[], object], path: Path) -> None:
    """The child's work: import the library, set the limits, draw, and print what came of it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own handler would wait for native code to return
    if hasattr(signal, "setitimer"):  # it ends native code too, where the parent is gone
        signal.setitimer(signal.ITIMER_REAL, seconds_for(path.stat().st_size) + 5)
    error, memory = "", False
    try:
        load_library()
        _limit(path.stat().st_size)
        draw()
    except MemoryError:
        error, memory = "memory", True
    except Exception as fault:  # runtimes raise anything; the parent wants a sentence
        error = str(fault) or type(fault).__name__
        memory = bool(_OUT_OF_MEMORY.search(f"{error} {fault.__cause__!r}"))  # the sentence shortens its cause
    print(json.dumps({"error": error, "memory": memory}), flush=True)
    os._exit(0)  # a runtime that ran out of memory may hang or crash while it is taken down


def seconds_for(model_bytes: int) -> float:
    """How long loading a file of this size and drawing one picture may take."""
    return SECONDS + model_bytes / BYTES_A_SECOND


def memory_mib_for(model_bytes: int) -> float:
    """How much memory loading a file of this size and drawing one picture may add."""
    return SPARE_MIB + COPIES * model_bytes / MIB


def _ask(path: Path, command: list[str]) -> tuple[str, bool]:
    """(what is wrong or "", whether it was a lack of time or memory, or a crash)."""
    model_bytes = path.stat().st_size
    seconds = seconds_for(model_bytes)
    try:
        child = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=module_environment(),
            timeout=seconds,
            check=False,
        )
        result = json.loads((child.stdout.decode(errors="replace").strip().splitlines() or ["{}"])[-1])
        error, memory = str(result["error"]), bool(result["memory"])
    except subprocess.TimeoutExpired:
        return (
            f"{path} was given up: loading it and drawing one picture took longer than {seconds:.0f} s; give a file "
            "that was exported by `ganlet export`, with its manifest.json.",
            True,
        )
    except OSError as fault:
        raise GanletError(
            f"Cannot start a process to try out {path} ({fault.strerror or fault}); copy its manifest.json beside it, "
            "or free some memory and processes."
        ) from fault
    except (ValueError, TypeError, KeyError):
        return (
            f"{path} was given up: the process that loaded it and drew one picture ended with {_ending(child)}; give "
            "a file that was exported by `ganlet export`, with its manifest.json.",
            True,
        )
    if memory:
        return (
            f"{path} was given up: loading it and drawing one picture takes more than "
            f"{memory_mib_for(model_bytes):.0f} MiB, or more than is free, from a file of {model_bytes:,} bytes; "
            "give a file that was exported by `ganlet export`, with its manifest.json.",
            True,
        )
    return error, False


def _ending(child: "subprocess.CompletedProcess[bytes]") -> str:
    if child.returncode >= 0:
        return f"exit code {child.returncode}"
    with contextlib.suppress(ValueError):
        return f"the signal {signal.Signals(-child.returncode).name}"
    return f"signal {-child.returncode}"


def _limit(model_bytes: int) -> None:
    """Bound this process's memory where the system can; what it takes already is not counted."""
    with contextlib.suppress(OSError):  # where memory ends all the same, this process goes before any other
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
        allowed_mib = memory_mib_for(model_bytes) + STACK_MIB * (os.cpu_count() or 1)
        limit_bytes = pages * resource.getpagesize() + int(allowed_mib * MIB)
        hard_bytes = resource.getrlimit(resource.RLIMIT_DATA)[1]
        if hard_bytes == resource.RLIM_INFINITY or limit_bytes < hard_bytes:
            resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, hard_bytes))


def _key(path: Path, runtime: str) -> tuple[object, ...]:
    try:
        status = path.stat()
    except OSError as error:
        raise GanletError(f"Cannot read {path}: {error.strerror or error}; check the path.") from error
    return (runtime, status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def main(runtime: str, path: Path) -> None:
    """The child: one picture of the generator at `path`, drawn on the processor."""
    from ganlet.device.onnx_runner import OnnxRunner
    from ganlet.device.openvino_runner import OpenVinoRunner
    from ganlet.device.runner import Runner
    from ganlet.device.runtimes import load_onnxruntime, load_openvino

    def draw() -> None:
        runner: Runner = OpenVinoRunner(path) if runtime == OPENVINO else OnnxRunner(path, provider="cpu")
        runner(example_feed(runner.ports, 1))

    trust(path, runtime)
    answer(load_openvino if runtime == OPENVINO else load_onnxruntime, draw, path)


if __name__ == "__main__":
    from ganlet.device import trial  # the module that the runners ask, rather than this copy called __main__

    trial.main(sys.argv[1], Path(sys.argv[2]))
