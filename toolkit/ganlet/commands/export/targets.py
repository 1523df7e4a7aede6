"""What is made of a stage's generator: one function a target, each checked before it is called done."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from ganlet.artifact import (
    Stage,
    add_to_manifest,
    find_stage,
    is_listed_as,
    is_stage,
    listed_files,
    manifest_entry,
)
from ganlet.commands.export.earlier import current_and_outdated
from ganlet.commands.export.engines import MODULES, engine_targets, export_engine
from ganlet.commands.export.onnx_files import export_onnx_file
from ganlet.commands.export.options import ExportOptions
from ganlet.commands.export.programs import export_program
from ganlet.commands.preflight import require_training_packages
from ganlet.device import OnnxRunner
from ganlet.device.expected import EXPECTED, write_expected
from ganlet.errors import GanletError
from ganlet.observer import Observer
from ganlet.own_files import MANIFEST, check_not_foreign
from ganlet.recipe import Recipe, load_recipe

Target = Callable[[Stage, Path, ExportOptions, Observer], list[Path]]


def export_source(source: Path, to: str, options: ExportOptions, observer: Observer) -> list[Path]:
    """Make one target of the run, or of the one stage, at `source`; the files lie in the run's folder.

    Returns the files made, and those that were there made of the same. Raises GanletError for an unknown target, where
    there is no stage, and when the result does not draw what it should.
    """
    if to not in TARGETS:
        raise GanletError(f"--to {to} is not a target of this version; expected {', '.join(TARGETS)}.")
    _require_use(to, options)
    require_training_packages()
    stage = find_stage(source)
    run = source.parent if is_stage(source) else source
    check_not_foreign(run / "manifest.json", MANIFEST)
    if (run / "recipe.toml").is_file():
        options = replace(options, limits=load_recipe(run / "recipe.toml").verify)
    made = TARGETS[to](stage, run, options, observer)
    _expect(stage, run)
    return made


def _require_use(to: str, options: ExportOptions) -> None:
    """Raise GanletError for an option that has no effect on the target."""
    usual = ExportOptions()
    useless = [
        OPTIONS[field.name]
        for field in fields(options)
        if field.name in OPTIONS.keys() - USES[to] and getattr(options, field.name) != getattr(usual, field.name)
    ]
    if useless:
        raise GanletError(f"--to {to} has no use for {' and '.join(useless)}; leave that out, or choose another --to.")


def check_exports(recipe: Recipe) -> None:
    """Before hours of training: raise GanletError for a target that this machine or this version cannot make."""
    options = ExportOptions(gpus=recipe.export.gpus)
    for target in recipe.export.targets:
        to = WORDS.get(target, (target, ""))[0]
        if to not in TARGETS:
            raise GanletError(f"export.targets has {target}, not made by this version; expected {', '.join(TARGETS)}.")
        if to in MODULES:
            engine_targets(MODULES[to], options.gpus, (1, options.opt_batch, options.max_batch), options.workspace_mib)


def export_recipe(recipe: Recipe, stage: Stage, run: Path, observer: Observer) -> list[Path]:
    """generator.onnx, which every run has and everything else is made of, then the recipe's other targets."""
    options = ExportOptions(gpus=recipe.export.gpus, keep=True, limits=recipe.verify)
    made = TARGETS["onnx"](stage, run, options, observer)
    for target in recipe.export.targets:
        to, precision = WORDS.get(target, (target, "fp32"))
        if (to, precision) != ("onnx", "fp32"):
            profile = recipe.int8_profile if (to, precision) == ("onnx", "int8") else None
            made += TARGETS[to](stage, run, replace(options, precision=precision, profile=profile), observer)
    _keep_others(made, options, stage, run, observer)
    _expect(stage, run)
    return made


def _keep_others(made: list[Path], options: ExportOptions, stage: Stage, run: Path, observer: Observer) -> None:
    """Make again, with the options it had, what the recipe does not name and was exported of an earlier model.

    Says what stays as it is, and what could not be made again.
    """
    current, outdated = current_and_outdated(run, stage, except_for=made)
    for earlier in current:
        observer.say(f"export: {earlier.path} was asked for before and is made of the same model, it stays")
    for earlier in outdated:
        observer.say(f"export: {earlier.path} was asked for before and its model has changed: making it again")
        try:
            TARGETS[earlier.to](stage, run, replace(earlier.options, keep=True, limits=options.limits), observer)
        except GanletError as error:
            observer.say(f"warning: {earlier.path} is still of the earlier model, making it again failed: {error}")


WORDS = {"onnx-fp16": ("onnx", "fp16"), "onnx-int8": ("onnx", "int8"), "executorch-int8": ("executorch", "int8")}
"""The recipe's words for a target with a precision."""


def _onnx(stage: Stage, run: Path, options: ExportOptions, observer: Observer) -> list[Path]:
    """RUN/generator.onnx, or the variant of it that is wished for."""
    how = (options.precision, options.profile, options.tune)
    more: dict[str, Any] = {"limits": options.limits, "observer": observer, "as_source": options.as_source}
    return [export_onnx_file(run, stage, *how, **more)]


def _executorch(stage: Stage, run: Path, options: ExportOptions, observer: Observer) -> list[Path]:
    """RUN/generator.pte or RUN/generator.int8.pte."""
    return [export_program(run, stage, options.precision, limits=options.limits, observer=observer)]


def _expect(stage: Stage, run: Path) -> None:
    """RUN/expected.npz: what a device compares its own pictures with (`ganlet verify --artifact`)."""
    path = run / EXPECTED
    if is_listed_as(path, stage.as_source()):
        return
    from ganlet.verify.torch_runner import TorchRunner

    recipe_sha256 = stage.config["provenance"].get("recipe_sha256", "")
    write_expected(path, TorchRunner.of_stage(stage), weights_sha256=stage.weights_sha256, recipe_sha256=recipe_sha256)
    add_to_manifest(run, EXPECTED, recipe_sha256=recipe_sha256, **stage.as_source())


def _engine(module: str) -> Target:
    """RUN/engines/*.engine for `options.gpus`; of RTX cards, with no card named, one for every target that builds."""

    def make(stage: Stage, run: Path, options: ExportOptions, observer: Observer) -> list[Path]:
        from ganlet.export.profiles import ENGINES

        batches = (1, options.opt_batch, options.max_batch)
        targets = engine_targets(module, options.gpus, batches, options.workspace_mib)
        source = replace(options, profile=options.profile or ENGINES.get(options.precision), tune=False)
        onnx = _source_model(stage, run, source, observer)
        how = (options.precision, batches, options.workspace_mib)
        return [export_engine(module, run, onnx, targets, *how, observer, keep=options.keep)]

    return make


def _web(stage: Stage, run: Path, options: ExportOptions, observer: Observer) -> list[Path]:
    """RUN/web/, of the ONNX file of the wished precision, which is made first where it is missing."""
    from ganlet.export.web import FOLDER, INDEX, MODEL, Subject, export_web, is_written, runtime_at, runtime_of_page

    there = options.keep and (run / FOLDER / INDEX).is_file()
    runtime = runtime_of_page(run) if there else runtime_at(options.wasm)
    if there:  # the precision that the page has
        listed = manifest_entry(run, f"{FOLDER}/{MODEL}")
        options = replace(options, precision=str(listed.get("precision", options.precision)))
    model = _source_model(stage, run, options, observer)
    recipe = run / "recipe.toml"
    runner = OnnxRunner(model)
    subject = Subject(
        model=model,
        title=load_recipe(recipe).run.name if recipe.is_file() else run.resolve().name,
        precision=str(manifest_entry(run, model.name)["precision"]),
        ports=runner.ports,
        picture_shape=runner.picture_shape,
    )
    index = run / FOLDER / INDEX
    if is_written(run, subject, runtime):
        observer.say(f"export: {index} is complete, skipped")
        others = [run / name for name in listed_files(run) if name.startswith(f"{FOLDER}/") and run / name != index]
        return [*others, index]
    made = export_web(run, subject, runtime)
    where = "with its runtime beside it" if runtime.copies else "which takes its runtime from the network"
    observer.say(f"export: {model.name} -> {index}, {where}; open it in a browser")
    return made


def _source_model(stage: Stage, run: Path, options: ExportOptions, observer: Observer) -> Path:
    """The ONNX file that another target is made of."""
    return TARGETS["onnx"](stage, run, replace(options, as_source=True), observer)[-1]


TARGETS: dict[str, Target] = {
    "onnx": _onnx,
    "executorch": _executorch,
    **{to: _engine(module) for to, module in MODULES.items()},
    "web": _web,
}
"""Target -> the function that makes it."""

OPTIONS = {
    "profile": "--profile",
    "tune": "--tune",
    "gpus": "--gpu",
    "opt_batch": "--opt-batch",
    "max_batch": "--max-batch",
    "workspace_mib": "--workspace-mib",
    "wasm": "--wasm",
}
"""A choice that only some targets have -> what the command line calls it."""

_OF_ENGINES = {"profile", "gpus", "opt_batch", "max_batch", "workspace_mib"}
USES: dict[str, set[str]] = {
    "onnx": {"profile", "tune"},
    "executorch": set(),
    **dict.fromkeys(MODULES, _OF_ENGINES),
    "web": {"wasm"},
}
"""Target -> the choices of `OPTIONS` that it has."""
