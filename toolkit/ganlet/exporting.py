"""What is made of a stage's generator: one function a target, each checked before it is called done."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from ganlet.artifact import (
    CONFIG,
    Stage,
    add_to_manifest,
    describe_file,
    find_stage,
    manifest_entry,
)
from ganlet.device import OnnxRunner
from ganlet.device.expected import EXPECTED, write_expected
from ganlet.engine_export import MODULES, engine_targets, export_engine
from ganlet.errors import GanletError
from ganlet.observer import Observer
from ganlet.onnx_exporting import export_onnx_file
from ganlet.preflight import require_training_packages
from ganlet.recipe import Recipe, Verify, load_recipe

INT8_PSNR_DB = 38.0
"""Below this an int8 file is no likeness of what it was made from."""


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
    require_training_packages()
    stage = find_stage(source)
    run = source.parent if (source / CONFIG).is_file() else source
    if (run / "recipe.toml").is_file():
        wish = replace(wish, limits=load_recipe(run / "recipe.toml").verify)
    made = TARGETS[to](stage, run, wish, observer)
    _expect(stage, run)
    return made


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
            made += TARGETS[to](stage, run, replace(wish, precision=precision), observer)
    _expect(stage, run)
    return made


WORDS = {"onnx-fp16": ("onnx", "fp16"), "onnx-int8": ("onnx", "int8"), "executorch-int8": ("executorch", "int8")}
"""The recipe's words for a target with a precision."""


def _onnx(stage: Stage, run: Path, wish: Wish, observer: Observer) -> list[Path]:
    """RUN/generator.onnx, or the variant of it that is wished for."""
    how = (wish.precision, wish.profile, wish.tune)
    return [export_onnx_file(run, stage, *how, limits=wish.limits, observer=observer)]


def _executorch(stage: Stage, run: Path, wish: Wish, observer: Observer) -> list[Path]:
    """RUN/generator.pte or RUN/generator.int8.pte. Raises GanletError when XNNPACK draws something else than torch."""
    from ganlet.device.executorch_runner import ExecuTorchRunner
    from ganlet.export.executorch_export import FILES, export_executorch, require_executorch
    from ganlet.verify.parity import check_parity
    from ganlet.verify.torch_runner import TorchRunner

    require_executorch(wish.precision)
    path = run / FILES[wish.precision]
    if path.is_file():
        wanted = describe_file(path) | {"made_from": {"stage": stage.name, "weights_sha256": stage.weights_sha256}}
        if wanted.items() <= manifest_entry(run, path.name).items():
            observer.say(f"export: {path} is complete, skipped")
            return [path]
    export_executorch(stage, run, wish.precision)
    parity = check_parity(ExecuTorchRunner(path), TorchRunner.of_stage(stage), limit=Verify().parity_max_abs, seed=0)
    psnr_db = math.inf if parity.psnr_db is None else parity.psnr_db
    observer.say(f"export: {stage.name} -> {path}, max abs difference {parity.max_abs:.1e}, {psnr_db:.1f} dB")
    exact = wish.precision == "fp32"
    if parity.status == "passed" if exact else psnr_db >= INT8_PSNR_DB:
        return [path]
    path.unlink()  # or the next export would find it complete
    if exact:
        raise GanletError(
            f"{path} differed from the {stage.name} it was made from by {parity.max_abs:.2g}, expected at most "
            f"{Verify().parity_max_abs:g}, and was removed; update torch and executorch, then export again."
        )
    raise GanletError(
        f"{path} drew {psnr_db:.1f} dB from the {stage.name} it was made from, expected at least {INT8_PSNR_DB:g} dB, "
        "and was removed; train the generator longer, or export it with --precision fp32."
    )


def _expect(stage: Stage, run: Path) -> None:
    """RUN/expected.npz: what a device compares its own pictures with (`ganlet verify --artifact`)."""
    from ganlet.verify.torch_runner import TorchRunner

    path, made_from = run / EXPECTED, {"stage": stage.name, "weights_sha256": stage.weights_sha256}
    if path.is_file():
        wanted = describe_file(path) | {"made_from": made_from}
        if wanted.items() <= manifest_entry(run, EXPECTED).items():
            return
    recipe_sha256 = stage.config["provenance"].get("recipe_sha256", "")
    write_expected(path, TorchRunner.of_stage(stage), weights_sha256=stage.weights_sha256, recipe_sha256=recipe_sha256)
    add_to_manifest(run, EXPECTED, made_from=made_from, recipe_sha256=recipe_sha256)


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

    model = TARGETS["onnx"](stage, run, Wish(precision=wish.precision), observer)[-1]
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
