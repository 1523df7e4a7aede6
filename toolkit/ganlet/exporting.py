"""What is made of a stage's generator: one function a target, each checked before it is called done."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ganlet.artifact import CONFIG, Stage, describe_file, find_stage, manifest_entry
from ganlet.device import OnnxRunner
from ganlet.errors import GanletError
from ganlet.observer import Observer
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


def export_source(source: Path, to: str, wish: Wish, observer: Observer) -> list[Path]:
    """Make one target of the run, or of the one stage, at `source`; the files lie in the run's folder.

    Returns the files made, and those that were there made of the same. Raises GanletError for an unknown target, where
    there is no stage, and when the result does not draw what it should.
    """
    if to not in TARGETS:
        raise GanletError(f"--to {to} is not a target of this version; expected {', '.join(TARGETS)}.")
    require_training_packages()
    stage = find_stage(source)
    return TARGETS[to](stage, source.parent if (source / CONFIG).is_file() else source, wish, observer)


def export_recipe(recipe: Recipe, stage: Stage, run: Path, observer: Observer) -> list[Path]:
    """generator.onnx, which every run has and everything else is made of, then the recipe's other targets."""
    made = TARGETS["onnx"](stage, run, Wish(), observer)
    for target in recipe.export.targets:
        to, precision = WORDS.get(target, (target, "fp32"))
        if (to, precision) != ("onnx", "fp32"):
            made += TARGETS[to](stage, run, Wish(precision=precision, gpus=recipe.export.gpus), observer)
    return made


WORDS = {"onnx-fp16": ("onnx", "fp16"), "onnx-int8": ("onnx", "int8"), "executorch-int8": ("executorch", "int8")}
"""The recipe's words for a target with a precision."""


def _onnx(stage: Stage, run: Path, wish: Wish, observer: Observer) -> list[Path]:
    """RUN/generator.onnx. Raises GanletError when ONNX Runtime draws something else than torch: grey is no export."""
    from ganlet.export import export_onnx
    from ganlet.verify.parity import check_parity
    from ganlet.verify.torch_runner import TorchRunner

    path = run / "generator.onnx"
    if path.is_file():
        entry = manifest_entry(run, path.name)
        wanted = describe_file(path) | {"made_from": {"stage": stage.name, "weights_sha256": stage.weights_sha256}}
        if wanted.items() <= entry.items():
            observer.say(f"export: {path} is complete, skipped")
            return [path]
    export_onnx(stage, run)
    parity = check_parity(OnnxRunner(path), TorchRunner.of_stage(stage), limit=Verify().parity_max_abs, seed=0)
    batches = ", ".join(parity.batches)
    observer.say(f"export: {stage.name} -> {path}, max abs difference {parity.max_abs:.1e} at batch {batches}")
    if parity.status != "passed":
        raise GanletError(
            f"{path} differs from the {stage.name} it was made from by {parity.max_abs:.2g}, expected at most "
            f"{Verify().parity_max_abs:g}; update torch, onnx and onnxruntime, then export again."
        )
    return [path]


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
    if wish.precision == "fp32" and parity.status != "passed":
        raise GanletError(
            f"{path} differs from the {stage.name} it was made from by {parity.max_abs:.2g}, expected at most "
            f"{Verify().parity_max_abs:g}; update torch and executorch, then export again."
        )
    if psnr_db < INT8_PSNR_DB:
        raise GanletError(
            f"{path} draws {psnr_db:.1f} dB from the {stage.name} it was made from, expected at least {INT8_PSNR_DB:g} "
            "dB; train the generator longer, or export it with --precision fp32."
        )
    return [path]


TARGETS: dict[str, Callable[[Stage, Path, Wish, Observer], list[Path]]] = {
    "onnx": _onnx,
    "web": _web,
    "executorch": _executorch,
}
"""Target -> the function that makes it."""
