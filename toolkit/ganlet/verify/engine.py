"""Engines as files: what can be told of them without a card, and parity where there is one.

An engine's format is not documented. What is looked for in the file - targets, weights - is what `READ_FROM` writes
there; of an engine of another version these say `not_verified`, and so does everything that needs a card.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from ganlet.artifact import describe_file, listed_files, manifest_entry
from ganlet.device import OnnxRunner
from ganlet.device.cuda import driver_state
from ganlet.device.open import open_runner
from ganlet.device.tensorrt_package import EXPORTS
from ganlet.errors import GanletError
from ganlet.files import MB, MIB, sha256_file
from ganlet.memory.engine import READ_FROM, declared
from ganlet.recipe import Verify
from ganlet.verify.checks import Check, Status
from ganlet.verify.parity import check_parity

WRITER, WRITER_VERSION = "tensorrt_rtx", "1.7."  # READ_FROM, as the manifest names it
LEAST_WEIGHTS_PERCENT = 99.0
LEAST_VALUES = 16  # shorter constants are found anywhere by chance
# Kernels, padding and names beside the weights: 0.2 to 0.4 MiB a layer were seen, with 4 to 6 layers.
LAYER_MIB = 0.5
# Largest difference of a pixel in [-1, 1] from ONNX Runtime on the same file: fp32 as the recipe's default, the others
# assumed, since no card has run one yet.
PARITY_LIMITS = {"fp32": Verify().parity_max_abs, "fp16": 2e-2, "int8": 2e-1}


ENTRY: dict[str, type] = {
    "runtime": str,
    "targets": list,
    "made_from": dict,
    "versions": dict,
    "inputs": dict,
    "outputs": dict,
}
"""What the manifest says of every engine that was built here."""


@dataclass(frozen=True)
class EngineCheck:
    """`row` is the engine's under "artifacts" in report.json; `check` is the statement about its file."""

    row: dict[str, Any]
    check: Check


def check_engines(run: Path) -> list[EngineCheck]:
    """Every engine that RUN/manifest.json lists, by name. Raises GanletError for one that was changed since."""
    return [check_engine(run, name) for name in engine_names(run)]


def engine_names(run: Path) -> list[str]:
    """The engines that RUN/manifest.json lists."""
    return [name for name in listed_files(run) if name.endswith(".engine")]


def engine_hashes(run: Path) -> dict[str, str]:
    """Name -> SHA-256 of the file as it is now, empty where it is missing: what a report on engines depends on."""
    return {name: sha256_file(run / name) if (run / name).is_file() else "" for name in engine_names(run)}


def engine_rows(run: Path) -> list[dict[str, Any]]:
    """The rows of report.json's "artifacts" for the engines of a run."""
    return [engine.row for engine in check_engines(run)]


def check_engine(run: Path, name: str) -> EngineCheck:
    """What the file RUN/NAME tells of itself against what it was built from, and its parity.

    Raises GanletError when it is missing or not the file that the manifest lists.
    """
    entry, path = manifest_entry(run, name), run / name
    if not path.is_file() or not describe_file(path).items() <= entry.items():
        state = "is not the file that manifest.json lists" if path.is_file() else "is missing"
        to = EXPORTS.get(str(entry.get("runtime")), "trt-rtx")
        raise GanletError(f"{path} {state}; build it again with `ganlet export {run} --to {to}`.")
    _require_entry(run, name, entry)
    parts = _parts(run, path, entry)
    row = {
        "path": name,
        "precision": entry.get("precision"),
        "model_mb": entry["bytes"] / MB,
        "targets": entry["targets"],
        "parity": _parity(run, path, entry),
        "checks": [part.as_json() for part in parts],
    }
    bad = [part for part in parts if part.status == "failed"]
    unknown = [part for part in parts if part.status == "not_verified"]
    status: Status = "failed" if bad else "not_verified" if len(unknown) == len(parts) else "passed"
    reason = "; ".join(part.reason for part in (bad or parts))
    return EngineCheck(row, Check(f"plan of {name}", status, None, None, "", reason))


def _require_entry(run: Path, name: str, entry: dict[str, Any]) -> None:
    """Raise GanletError where manifest.json does not say of an engine what `ganlet export` writes there."""
    lacking = [key for key, kind in ENTRY.items() if not isinstance(entry.get(key), kind)]
    if isinstance(made_from := entry.get("made_from"), dict):
        lacking += [f"made_from.{key}" for key in ("onnx", "sha256") if not isinstance(made_from.get(key), str)]
    if lacking:
        raise GanletError(
            f"{run / 'manifest.json'} says of {name} nothing valid under {', '.join(lacking)}; expected what "
            "`ganlet export` writes there, build the engine again."
        )


def _parts(run: Path, path: Path, entry: dict[str, Any]) -> list[Check]:
    model = run / entry["made_from"]["onnx"]
    checks = [_contract(run, entry), _reproduced(entry)]
    version = str(entry["versions"].get(entry["runtime"].replace("_", "-"), ""))
    if entry["runtime"] != WRITER or not version.startswith(WRITER_VERSION):
        reason = f"its content is not read: written by {entry['runtime']} {version}, known is {READ_FROM}"
        return [*checks, Check("content", "not_verified", None, None, "", reason)]
    if not model.is_file() or describe_file(model)["sha256"] != entry["made_from"]["sha256"]:
        reason = f"its content cannot be compared: {model.name} is not what it was built from any more"
        return [*checks, Check("content", "failed", None, None, "", f"{reason}, build it again")]
    constants = _weights(model)
    return [*checks, _targets(path, entry), _found(path, constants), _overhead(entry, constants)]


def _contract(run: Path, entry: dict[str, Any]) -> Check:
    """Names, dtypes and shapes of the parsed network are those of the ONNX file."""
    onnx_entry = manifest_entry(run, entry["made_from"]["onnx"])
    for ends in ("inputs", "outputs"):
        got, expected = entry[ends], onnx_entry.get(ends)
        if got != expected:
            return Check("contract", "failed", None, None, "", f"its {ends} are {got}, expected {expected}")
    return Check("contract", "passed", None, None, "", "inputs and outputs as in the ONNX file")


def _reproduced(entry: dict[str, Any]) -> Check:
    if entry.get("reproduced"):
        return Check("bytes", "passed", None, None, "", "built twice with the same bytes")
    reason = "its bytes may differ from one build to the next"
    return Check("bytes", "not_verified", None, None, "", reason)


def _targets(path: Path, entry: dict[str, Any]) -> Check:
    got, expected = sorted(declared(path).targets), sorted(entry["targets"])
    status: Status = "passed" if got == expected else "failed"
    reason = f"declares {', '.join(got)}" + ("" if got == expected else f", expected {', '.join(expected)}")
    return Check("targets", status, None, None, "", reason)


def _found(path: Path, constants: list[NDArray[Any]]) -> Check:
    """The share of the weights, in bytes, whose bytes lie in the plan."""
    plan = path.read_bytes()
    total = sum(constant.nbytes for constant in constants)
    found = sum(c.nbytes for c in constants if any(form in plan for form in _forms(c)))
    percent = 100 * found / total if total else 0.0
    status: Status = "passed" if percent >= LEAST_WEIGHTS_PERCENT else "failed"
    reason = f"{percent:.4g} % of the weights lie in it byte by byte"
    return Check("weights", status, percent, LEAST_WEIGHTS_PERCENT, "%", reason, is_least=True)


def _overhead(entry: dict[str, Any], constants: list[NDArray[Any]]) -> Check:
    """The file against the weights in their precision: an engine that kept another one would be twice as large."""
    layers = sum(constant.ndim > 1 for constant in constants)
    beside_mib = (entry["bytes"] - sum(constant.nbytes for constant in constants)) / MIB
    limit_mib = LAYER_MIB * (layers + 1)
    status: Status = "passed" if 0 <= beside_mib <= limit_mib else "failed"
    reason = f"{beside_mib:.2g} MiB beside the weights in {entry['precision']}, at most {limit_mib:g} expected"
    return Check("size", status, beside_mib, limit_mib, "MiB", reason)


def _weights(model: Path) -> list[NDArray[Any]]:
    """The constants of an ONNX file that are weights: not shapes, not scales."""
    graph = onnx.load(model).graph
    quantisers = ("QuantizeLinear", "DequantizeLinear")
    helpers = {name for node in graph.node if node.op_type in quantisers for name in node.input[1:]}
    arrays = [numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name not in helpers]
    kinds = (np.float32, np.float16, np.int8)
    return [array for array in arrays if array.dtype in kinds and array.size >= LEAST_VALUES]


def _forms(weight: NDArray[Any]) -> Iterator[bytes]:
    """How a plan may hold a weight: as it is, or channels last, these filled up with zeros to a multiple of 4 or 8."""
    yield weight.tobytes()
    if weight.ndim != 4:
        return
    last = weight.transpose(0, 2, 3, 1)
    for multiple in (1, 4, 8):
        rest = -last.shape[3] % multiple
        yield np.pad(last, [(0, 0)] * 3 + [(0, rest)]).tobytes()


def _parity(run: Path, path: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """Against ONNX Runtime on the file it was built from; `not_verified` where the engine cannot run."""
    driver = driver_state()
    blank: dict[str, Any] = {"max_abs": None, "psnr_db": None, "batches": {}}
    if not driver.ready:
        reason = f"the engine was built here but not run: {driver.reason}"
        return {"status": "not_verified", "reason": reason, **blank}
    if driver.cards[0].target not in entry["targets"]:
        reason = f"the engine is not for this machine's card, {driver.cards[0].name} ({driver.cards[0].target})"
        return {"status": "not_verified", "reason": reason, **blank}
    try:
        reference = OnnxRunner(run / entry["made_from"]["onnx"], provider="cpu")
        limit = PARITY_LIMITS.get(str(entry.get("precision")), math.inf)
        return check_parity(open_runner(path), reference, limit=limit, seed=0).as_json()
    except GanletError as error:
        return {"status": "failed", "reason": str(error), **blank}
