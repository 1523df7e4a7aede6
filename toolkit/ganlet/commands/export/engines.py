"""`ganlet export --to trt-rtx` and `--to tensorrt`: from the names of cards to a checked engine in the manifest."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ganlet.artifact import manifest_entry
from ganlet.device.cuda import driver_state
from ganlet.device.tensorrt_package import EXPORTS, NAMES, REMEDIES, RTX
from ganlet.errors import GanletError
from ganlet.memory.devices import find_device
from ganlet.observer import Observer

MODULES = {target: module for module, target in EXPORTS.items()}
"""Target of `ganlet export` -> the module that builds it."""


def engine_targets(
    module: str, gpus: tuple[str, ...], batches: tuple[int, int, int], workspace_mib: int
) -> tuple[str, ...]:
    """What to build for; empty: every target that builds. Called before any work, so that it finds what is wrong.

    TensorRT for RTX builds for any card it knows, on any machine. TensorRT builds for the card it runs on, so that a
    driver has to be here, and a card that is named has to be this one. Raises GanletError where that cannot be.
    """
    from ganlet.export.engine_files import sort_targets
    from ganlet.export.engines import check_limits

    check_limits(batches, workspace_mib)
    if find_spec(module) is None:
        raise GanletError(f"{NAMES[module]} is not installed here; {REMEDIES[module]}.")
    wanted = tuple(_target_of(gpu, module) for gpu in gpus)
    if module == RTX:
        return sort_targets(wanted)
    driver = driver_state()
    if not driver.ready:
        raise GanletError(
            "TensorRT builds an engine for the very card it runs on, and here is none to use "
            f"({driver.reason}); run this command on the board or server itself, or use --to trt-rtx for an RTX card."
        )
    own = driver.cards[0]
    if strange := [gpu for gpu, target in zip(gpus, wanted, strict=True) if target != own.target]:
        raise GanletError(
            f"TensorRT builds an engine for the card of this machine, {own.name} ({own.target}), not for "
            f"{', '.join(strange)}; leave --gpu out, or run this command on that machine."
        )
    return (own.target,)


def _target_of(gpu: str, module: str) -> str:
    """sm75 of gtx-1660-ti. Raises GanletError for an unknown card, and for one without engines."""
    from ganlet.export.engine_files import is_target
    from ganlet.export.refusals import TARGETS

    if is_target(gpu):
        if module == RTX and gpu.lower() not in TARGETS:
            raise GanletError(f"TensorRT for RTX builds no engine for {gpu}; its targets are {', '.join(TARGETS)}.")
        return gpu.lower()
    try:
        device = find_device(gpu)
    except GanletError as error:  # its remedy is for forecasts, which know cards by their memory too
        words = str(error).replace("give the memory with --vram-gb", "give a target such as sm86")
        raise GanletError(words) from error
    major, minor = device.compute_capability
    if module != RTX:
        return f"sm{major}{minor}"
    if not device.tensorrt_targets:
        known = "it starts with the GTX 16 and RTX 20 series (7.5): use --to onnx for this card"
        if device.unified:
            known = "it is for graphics cards: run `ganlet export RUN --to tensorrt` on the board itself"
        raise GanletError(
            f"TensorRT for RTX builds no engine for {device.name} (compute capability {major}.{minor}), {known}."
        )
    return device.tensorrt_targets[0]


def export_engine(
    module: str,
    run: Path,
    model: Path,
    targets: tuple[str, ...],
    precision: str,
    batches: tuple[int, int, int],
    workspace_mib: int,
    observer: Observer,
    *,
    keep: bool = False,
) -> Path:
    """RUN/engines/TARGETS.engine of the ONNX file `model`, checked and listed; the same again is skipped.

    With `keep` an engine of that name keeps the batches and the memory to work in that it was built with.

    Raises GanletError where the builder refuses, and where the engine is not what was asked for.
    """
    from ganlet.export.engine_files import about_engine, build_listed, engine_name, is_complete, targets_that_build
    from ganlet.export.engines import Request
    from ganlet.verify.engine import check_engine

    found = manifest_entry(run, model.name).get("precision")
    if found != precision:
        listed = found or "listed without a precision"
        raise GanletError(
            f"{model} is {listed}, expected {precision} to build a {precision} engine of; export it again with "
            f"`ganlet export {run} --to onnx --precision {precision}`."
        )
    targets = targets or targets_that_build(model, observer.say)
    name = engine_name(targets, precision, module)
    if keep and (run / name).is_file():
        batches, workspace_mib = _as_built(manifest_entry(run, name), batches, workspace_mib)
    request = Request(
        model=model,
        engine=run / name,
        targets=targets if module == RTX else (),
        batches=batches,
        workspace_mib=workspace_mib,
        module=module,
    )
    about = about_engine(run, request, targets)
    if is_complete(run, name, about):
        observer.say(f"export: {run / name} is complete, skipped")
        return run / name
    build_listed(run, name, request, about)
    engine = check_engine(run, name)
    if engine.check.status == "failed":
        raise GanletError(f"{run / name} is not what was asked for: {engine.check.reason}; report it with your recipe.")
    observer.say(
        f"export: {model.name} -> {run / name}, {engine.check.reason}; parity {engine.row['parity']['status']}"
    )
    return run / name


def _as_built(
    entry: dict[str, Any], batches: tuple[int, int, int], workspace_mib: int
) -> tuple[tuple[int, int, int], int]:
    """The batches and the memory of an engine by its entry in the manifest; what it does not say is as given."""
    profile = entry.get("profile")
    if isinstance(profile, dict) and all(isinstance(profile.get(key), int) for key in ("min", "opt", "max")):
        batches = (profile["min"], profile["opt"], profile["max"])
    return batches, entry["workspace_mib"] if isinstance(entry.get("workspace_mib"), int) else workspace_mib
