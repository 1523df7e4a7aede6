"""Whether a runtime really runs here, asked in a process of its own: one that is broken may take the asker down.

`python -m ganlet.device.probe NAME` loads a model of one convolution on NAME - the full name of a provider of ONNX
Runtime, or "openvino" - compares what it computes, and prints one JSON line: {"fault": "" or why not, "detail": ...}.
"""

import json
import subprocess
import sys
from typing import Any

import numpy as np

from ganlet.device import openvino_runner
from ganlet.device.child import module_command, module_environment
from ganlet.device.onnx_session import RunsElsewhere, available_providers, open_session
from ganlet.device.profiles import PROFILES
from ganlet.device.runtimes import load_onnxruntime, load_openvino
from ganlet.errors import GanletError

# y = Conv(x, w): x and y float32 (1, 1, 1, 2), w (1, 1, 1, 1) = 2; opset 13, IR 8. The test of this module makes the
# same bytes with the package onnx, which a device does not have.
DOUBLES = bytes.fromhex(
    "080812003a630a0f0a01780a01771201792204436f6e761201672a13080108010801080110014201774a04000000405a1b0a017812160a1408"
    "0112100a0208010a0208010a0208010a020802621b0a017912160a14080112100a0208010a0208010a0208010a02080242040a00100d"
)
LIST = "onnxruntime"  # instead of a name: what ONNX Runtime lists
TIMEOUT_S = 60


def run_tiny_model(name: str) -> str:
    """Run the convolution on `name`; returns what is known of it: a version, devices, or the names that are listed.

    Raises GanletError, RunsElsewhere and whatever the runtime raises.
    """
    if name == LIST:
        return " ".join(available_providers(load_onnxruntime()))
    x = np.array([[[[1.0, 3.0]]]], np.float32)
    if name == openvino_runner.NAME:
        runtime = load_openvino()
        core = runtime.Core()
        y = core.compile_model(core.read_model(DOUBLES), "CPU")(x)[0]
        detail = f"openvino {runtime.__version__.partition('-')[0]}, devices: {', '.join(core.available_devices)}"
    else:
        runtime = load_onnxruntime()
        (y,) = open_session(runtime, DOUBLES, name, PROFILES["small"]).run(["y"], {"x": x})
        detail = f"onnxruntime {runtime.__version__} ran a layer on it"
    if not np.array_equal(y, 2 * x):
        raise GanletError(f"it computes {y.ravel().tolist()} where {(2 * x).ravel().tolist()} is right")
    return detail


def ask(name: str) -> tuple[str, str]:
    """(fault, detail) of `name`, from a child; a child that dies, hangs or babbles is a fault too."""
    return read_answer(module_command("ganlet.device.probe", name))


def read_answer(command: list[str]) -> tuple[str, str]:
    """Run a probe and read its last line."""
    try:
        child = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            env=module_environment(),
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"it did not answer within {TIMEOUT_S} s", ""
    try:
        said = json.loads((child.stdout.strip().splitlines() or [""])[-1])
        return str(said["fault"]), str(said["detail"])
    except (ValueError, TypeError, KeyError):
        return f"its process ended with exit code {child.returncode} and no answer", ""


def answer(name: str) -> dict[str, Any]:
    """What the child prints."""
    try:
        return {"fault": "", "detail": run_tiny_model(name)}
    except RunsElsewhere as error:
        return {"fault": f"it is listed, but {error}", "detail": ""}
    except Exception as error:  # a runtime may raise anything; the answer is a sentence all the same
        return {"fault": (str(error).strip().splitlines() or [type(error).__name__])[0][:400], "detail": ""}


if __name__ == "__main__":
    print(json.dumps(answer(sys.argv[1])))
