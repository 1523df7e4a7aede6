"""RUN/engines/*.engine: which cards they are for, what they are called, and what the manifest says of them."""

import re
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganlet.artifact import add_to_manifest, describe_file, manifest_entry, versions
from ganlet.device.tensorrt_package import NAMES, RTX, package_version
from ganlet.errors import GanletError
from ganlet.export.engines import Built, Refused, Request, build_engines
from ganlet.export.refusals import EVERY, TARGETS, capability_of, predict

FOLDER = "engines"


def engine_name(targets: tuple[str, ...], precision: str, module: str = RTX) -> str:
    """`engines/sm75+sm86.fp16.engine`; fp32 goes without saying, and so does TensorRT for RTX."""
    words = ["+".join(sort_targets(targets)), *([] if precision == "fp32" else [precision])]
    return f"{FOLDER}/{'.'.join(words + ([] if module == RTX else [module]))}.engine"


def sort_targets(targets: tuple[str, ...]) -> tuple[str, ...]:
    """Each once, from the oldest to the newest."""
    return tuple(sorted(set(targets), key=capability_of))


def is_target(name: str) -> bool:
    """Whether a card is given by its target itself, such as sm120."""
    return re.fullmatch(r"sm\d{2,3}", name.lower()) is not None


def targets_that_build(model: Path, say: Callable[[str], None]) -> tuple[str, ...]:
    """Every target but those for which the table knows that this file is refused; each left out is said, with why.

    Raises GanletError where none is left.
    """
    foreseen = [found for found in predict(model, TARGETS) if found.row.below < EVERY]
    for found in foreseen:
        say(
            f"export: no engine for {', '.join(found.targets)}, which refuses {found.row.what} ({found.nodes[0]}); "
            f"{found.row.remedy}"
        )
    left = tuple(target for target in TARGETS if not any(target in found.targets for found in foreseen))
    if not left:
        raise GanletError(f"No target of {NAMES[RTX]} builds {model}: {foreseen[0].row.remedy}.")
    return left


def about_engine(run: Path, request: Request, targets: tuple[str, ...]) -> dict[str, Any]:
    """What the manifest says before anything is built: equal for an engine that need not be built again."""
    onnx = manifest_entry(run, request.model.name)
    about = {
        "precision": onnx.get("precision"),
        "runtime": request.module,
        "targets": list(targets),
        "profile": None if request.batches is None else dict(zip(("min", "opt", "max"), request.batches, strict=True)),
        "workspace_mib": request.workspace_mib,
        "made_from": {"onnx": request.model.name, "sha256": describe_file(request.model)["sha256"]},
        "versions": versions() | {request.module.replace("_", "-"): package_version(request.module)},
    }
    return about | {key: onnx[key] for key in ("ganlet_schema", "classes", "class_names") if key in onnx}


def is_complete(run: Path, name: str, about: dict[str, Any]) -> bool:
    """Whether the manifest lists this very engine and the file is the one that it lists."""
    if not (run / name).is_file():
        return False
    return (about | describe_file(run / name)).items() <= manifest_entry(run, name).items()


def build_listed(run: Path, name: str, request: Request, about: dict[str, Any]) -> Built:
    """Build the engine, twice where its bytes should be the same again, and list it in RUN/manifest.json.

    Raises GanletError as `build_engine` does.
    """
    with tempfile.TemporaryDirectory() as folder:
        again = replace(request, engine=Path(folder) / "again.engine")
        first, *second = build_engines([request, again] if request.module == RTX else [request])
    if isinstance(first, Refused):
        raise GanletError(first.sentence)
    same = [isinstance(other, Built) and other.sha256 == first.sha256 for other in second]
    add_to_manifest(
        run,
        name,
        **about,
        inputs=first.inputs,
        outputs=first.outputs,
        layers=first.layers,
        reproduced=same[0] if same and first.fixed_addresses else None,
    )
    return first
