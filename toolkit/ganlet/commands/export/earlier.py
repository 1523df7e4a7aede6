"""What was exported before, by RUN/manifest.json: of which model, and with which options."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganlet.artifact import STAGES, Stage, describe_file, find_stage, listed_files, manifest_entry
from ganlet.commands.export.options import ExportOptions
from ganlet.device.tensorrt_package import EXPORTS
from ganlet.errors import GanletError

PAGE, PAGE_MODEL = "web/index.html", "web/generator.onnx"


@dataclass(frozen=True)
class Earlier:
    """One target that was exported before, and the options that make it again."""

    path: Path
    to: str
    options: ExportOptions
    current: bool
    """The file is whole, and what it is made of is still the same."""


def current_and_outdated(run: Path, stage: Stage, except_for: Collection[Path]) -> tuple[list[Earlier], list[Earlier]]:
    """What else of the manifest is there: made of a model that has not changed, or of one that has.

    `stage` is the run's last one, which an outdated file is made of again. In an order in which each can be made of
    those before it: ONNX files, programs, engines, the web page.
    """
    others = [earlier for earlier in earlier_exports(run) if earlier.path not in except_for]
    return [e for e in others if e.current], [e for e in others if not e.current]


def earlier_exports(run: Path) -> list[Earlier]:
    """Every target in RUN/manifest.json whose file is there; a file that was deleted is not wanted any more."""
    return sorted(_exports(run), key=lambda earlier: ORDER.index(earlier.to))


ORDER = ("onnx", "executorch", *EXPORTS.values(), "web")


def _exports(run: Path) -> Iterator[Earlier]:
    for name in listed_files(run):
        path, entry = run / name, manifest_entry(run, name)
        if not path.is_file():
            continue
        made_from = entry.get("made_from")
        made_from = made_from if isinstance(made_from, dict) else {}
        whole = describe_file(path).items() <= entry.items()
        precision = str(entry.get("precision", "fp32"))
        if "/" not in name and name.startswith("generator.") and path.suffix in (".onnx", ".pte"):
            current = whole and _is_stage(run, made_from)
            if path.suffix == ".pte":
                yield Earlier(path, "executorch", ExportOptions(precision=precision), current)
            else:
                how = ExportOptions(precision=precision, profile=entry.get("profile"), tune=bool(entry.get("tuned")))
                yield Earlier(path, "onnx", how, current)
        elif path.suffix == ".engine" and entry.get("runtime") in EXPORTS:
            current = whole and _is_file(run, made_from.get("onnx"), made_from.get("sha256"))
            yield Earlier(path, EXPORTS[str(entry["runtime"])], _engine_options(run, entry), current)
        elif name == PAGE:
            current = whole and _is_file(run, made_from.get("file"), made_from.get("sha256"))
            precision = str(manifest_entry(run, PAGE_MODEL).get("precision", "fp32"))
            yield Earlier(path, "web", ExportOptions(precision=precision), current)


def _engine_options(run: Path, entry: dict[str, Any]) -> ExportOptions:
    """What `ganlet export` was told of an engine, by what the manifest says of it."""
    usual = ExportOptions()
    profile = entry.get("profile")  # of batches: {"min", "opt", "max"}
    batches = profile if isinstance(profile, dict) else {}
    onnx = (entry.get("made_from") or {}).get("onnx")
    return ExportOptions(
        precision=str(entry.get("precision", "fp32")),
        gpus=tuple(str(target) for target in entry.get("targets", ())),
        profile=manifest_entry(run, str(onnx)).get("profile"),
        opt_batch=int(batches.get("opt", usual.opt_batch)),
        max_batch=int(batches.get("max", usual.max_batch)),
        workspace_mib=int(entry.get("workspace_mib", usual.workspace_mib)),
    )


def _is_stage(run: Path, made_from: dict[str, Any]) -> bool:
    """Whether a stage of the run still has the weights that a file was made of."""
    name = made_from.get("stage")
    if name not in STAGES:
        return False
    try:
        return find_stage(run / str(name)).weights_sha256 == made_from.get("weights_sha256")
    except GanletError:
        return False


def _is_file(run: Path, name: Any, sha256: Any) -> bool:
    """Whether RUN/NAME still is the file of that hash."""
    path = run / str(name)
    return name is not None and path.is_file() and describe_file(path)["sha256"] == sha256
