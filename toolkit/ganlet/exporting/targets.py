"""What is made of a stage's generator: one function a target, each checked before it is called done."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from ganlet.artifact import (
    CONFIG,
    Stage,
    add_to_manifest,
    find_stage,
    is_listed_as,
    manifest_entry,
)
from ganlet.device import OnnxRunner
from ganlet.device.expected import EXPECTED, write_expected
from ganlet.errors import GanletError
from ganlet.exporting.engines import MODULES, engine_targets, export_engine
from ganlet.exporting.onnx_files import export_onnx_file
from ganlet.exporting.programs import export_program
from ganlet.observer import Observer
from ganlet.preflight import require_training_packages
from ganlet.recipe import Recipe, Verify, load_recipe


@dataclass(frozen=True)
class Wish:
    """How a target is wanted, where it leaves a choice."""

    precision: str = "fp32"
    """fp32, fp16 or int8."""
    gpus: tuple[str, ...] = ()
    """Cards and boards that an engine is built for, by name."""
    profile: str | None = None
    """Which form of each layer is the fastest (`ganlet.export.profiles`); the precision's usual one unless told."""
    tune: bool = False
    """Choose the form of each layer by measured time on this machine instead."""
    wasm: Path | None = None
    """Folder of the npm package onnxruntime-web, for a web page that works offline."""
    opt_batch: int = 1
    """Pictures at a time that an engine is made the fastest for."""
    max_batch: int = 32
    """Most pictures that an engine draws at a time; its memory grows with it."""
    workspace_mib: int = 1024
    """Most memory that an engine may take to work in, in MiB."""
    limits: Verify = field(default_factory=Verify)
    """What the recipe allows exported files to differ from the network."""


Target = Callable[[Stage, Path, Wish, Observer], list[Path]]


def export_source(source: Path, to: str, wish: Wish, observer: Observer) -> list[Path]:
    """Make one target of the run, or of the one stage, at `source`; the files lie in the run's folder.

    Returns the files made, and those that were there made of the same. Raises GanletError for an unknown target, where
    there is no stage, and when the result does not draw what it should.
    """
    if to not in TARGETS:
        raise GanletError(f"--to {to} is not a target of this version; expected {', '.join(TARGETS)}.")
    _require_use(to, wish)
    require_training_packages()
    stage = find_stage(source)
    run = source.parent if (source / CONFIG).is_file() else source
    if (run / "recipe.toml").is_file():
        wish = replace(wish, limits=load_recipe(run / "recipe.toml").verify)
    made = TARGETS[to](stage, run, wish, observer)
    _expect(stage, run)
    return made


def _require_use(to: str, wish: Wish) -> None:
    """Raise GanletError for a choice of `wish` that the target does not have: ignoring it would look like doing it."""
    usual = Wish()
    useless = [
        OPTIONS[field.name]
        for field in fields(wish)
        if field.name in OPTIONS.keys() - USES[to] and getattr(wish, field.name) != getattr(usual, field.name)
    ]
    if useless:
        raise GanletError(f"--to {to} has no use for {' and '.join(useless)}; leave that out, or choose another --to.")


def check_exports(recipe: Recipe) -> None:
    """Before hours of training: raise GanletError for a target that this machine or this version cannot make."""
    wish = Wish(gpus=recipe.export.gpus)
    for target in recipe.export.targets:
        to = WORDS.get(target, (target, ""))[0]
        if to not in TARGETS:
            raise GanletError(f"export.targets has {target}, not made by this version; expected {', '.join(TARGETS)}.")
        if to in MODULES:
            engine_targets(MODULES[to], wish.gpus, (1, wish.opt_batch, wish.max_batch), wish.workspace_mib)


def export_recipe(recipe: Recipe, stage: Stage, run: Path, observer: Observer) -> list[Path]:
    """generator.onnx, which every run has and everything else is made of, then the recipe's other targets."""
    wish = Wish(gpus=recipe.export.gpus, limits=recipe.verify)
    made = TARGETS["onnx"](stage, run, wish, observer)
    for target in recipe.export.targets:
        to, precision = WORDS.get(target, (target, "fp32"))
        if (to, precision) != ("onnx", "fp32"):
            profile = recipe.int8_profile if (to, precision) == ("onnx", "int8") else None
            made += TARGETS[to](stage, run, replace(wish, precision=precision, profile=profile), observer)
    _expect(stage, run)
    return made


WORDS = {"onnx-fp16": ("onnx", "fp16"), "onnx-int8": ("onnx", "int8"), "executorch-int8": ("executorch", "int8")}
"""The recipe's words for a target with a precision."""


def _onnx(stage: Stage, run: Path, wish: Wish, observer: Observer) -> list[Path]:
    """RUN/generator.onnx, or the variant of it that is wished for."""
    how = (wish.precision, wish.profile, wish.tune)
    return [export_onnx_file(run, stage, *how, limits=wish.limits, observer=observer)]


def _executorch(stage: Stage, run: Path, wish: Wish, observer: Observer) -> list[Path]:
    """RUN/generator.pte or RUN/generator.int8.pte."""
    return [export_program(run, stage, wish.precision, limits=wish.limits, observer=observer)]


def _expect(stage: Stage, run: Path) -> None:
    """RUN/expected.npz: what a device compares its own pictures with (`ganlet verify --artifact`)."""
    from ganlet.verify.torch_runner import TorchRunner

    path = run / EXPECTED
    if is_listed_as(path, stage.as_source()):
        return
    recipe_sha256 = stage.config["provenance"].get("recipe_sha256", "")
    write_expected(path, TorchRunner.of_stage(stage), weights_sha256=stage.weights_sha256, recipe_sha256=recipe_sha256)
    add_to_manifest(run, EXPECTED, recipe_sha256=recipe_sha256, **stage.as_source())


def _engine(module: str) -> Target:
    """RUN/engines/*.engine for `wish.gpus`; of RTX cards, with no card named, one for every target that builds."""

    def make(stage: Stage, run: Path, wish: Wish, observer: Observer) -> list[Path]:
        from ganlet.export.profiles import ENGINES

        batches = (1, wish.opt_batch, wish.max_batch)
        targets = engine_targets(module, wish.gpus, batches, wish.workspace_mib)
        source = replace(wish, profile=wish.profile or ENGINES.get(wish.precision), tune=False)
        onnx = TARGETS["onnx"](stage, run, source, observer)[-1]
        return [export_engine(module, run, onnx, targets, wish.precision, batches, wish.workspace_mib, observer)]

    return make


def _web(stage: Stage, run: Path, wish: Wish, observer: Observer) -> list[Path]:
    """RUN/web/, of the ONNX file of the wished precision, which is made first where it is missing."""
    from ganlet.export.web import INDEX, Subject, export_web

    model = TARGETS["onnx"](stage, run, wish, observer)[-1]
    recipe = run / "recipe.toml"
    runner = OnnxRunner(model)
    subject = Subject(
        model=model,
        title=load_recipe(recipe).run.name if recipe.is_file() else run.resolve().name,
        precision=str(manifest_entry(run, model.name)["precision"]),
        latent_dim=runner.latent_dim,
        picture_shape=runner.picture_shape,
        classes=runner.classes,
    )
    made = export_web(run, subject, wish.wasm)
    observer.say(f"export: {model.name} -> {made[-1].parent / INDEX}, open it in a browser")
    return made


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
