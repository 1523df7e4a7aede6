"""What can be wrong among the steps of [[compress]], and in what a generator learns, though each value is valid."""

from collections.abc import Iterator, Sequence

from ganlet.recipe.compressing import Lessons, Prune, Quantize
from ganlet.recipe.sections import Export, Train

PAST = {"prune": "pruned", "quantize": "quantised"}


def step_faults(steps: Sequence[Prune | Quantize], has_stages: bool, export: Export | None) -> Iterator[str]:
    """Faults of the steps, alone and in their order. `has_stages`: whether the recipe trains something before them."""
    methods = [step.method for step in steps]
    if methods.count("prune") > 1:
        yield f"compress: there are {methods.count('prune')} prunings; make one of them, with its rounds"
    if methods.count("quantize") > 1:
        yield f"compress: there are {methods.count('quantize')} quantisations; one is all there can be"
    for number, step in enumerate(steps):
        name = f"compress.{number}"
        if step.method == "prune" and "quantize" in methods[:number]:
            yield f"{name}.method: pruning would undo the quantisation before it; prune first"
        yield from _source_faults(name, step, number, has_stages)
        yield from _prune_faults(name, step) if isinstance(step, Prune) else _quantize_faults(name, export)
        if step.tune is not None:
            yield from _tune_faults(f"{name}.tune", step.tune)


def _source_faults(name: str, step: Prune | Quantize, number: int, has_stages: bool) -> Iterator[str]:
    if number and step.source_run:
        yield f"{name}.from: this step takes what the one before it makes; remove {name}.from"
    elif step.source_run and has_stages:
        yield (
            f"{name}.from: this recipe makes the stage that is {PAST[step.method]}; remove {name}.from, or its other "
            "stages"
        )
    if not (number or step.source_run or has_stages):
        yield f"{name}.from: there is no stage here to {step.method}; name a run"


def _prune_faults(name: str, prune: Prune) -> Iterator[str]:
    if (prune.ratio is None) == (prune.target_mb is None):
        yield f"{name}.ratio: give either ratio or target_mb, got {'neither' if prune.ratio is None else 'both'}"
    if prune.rounds > 1 and prune.tune is None:
        yield f"{name}.rounds: cuts without fine-tuning between them are one cut; add [compress.tune], or set it to 1"


def _quantize_faults(name: str, export: Export | None) -> Iterator[str]:
    if export is not None and not any(target.endswith("-int8") for target in export.targets):
        yield f'{name}.method: no int8 file is asked for; add "onnx-int8" to export.targets'


def _tune_faults(name: str, tune: Lessons) -> Iterator[str]:
    yield from lesson_faults(name, tune)
    yield from training_faults(name, tune.train, tune.loss)


def training_faults(name: str, train: Train, loss: str) -> Iterator[str]:
    """Faults between the values of one stage's training."""
    if train.patience and not train.evaluate_steps:
        yield f"{name}.train.patience: there is nothing to wait for; set {name}.train.evaluate_steps as well"
    if train.accumulate > train.batch:
        yield f"{name}.train.accumulate: {train.accumulate} parts of a batch of {train.batch}; make it that or less"
    if loss == "wgan-gp" and train.amp != "off":
        yield f"{name}.train.amp: mixed precision is not supported under a gradient penalty; set it to off"


def lesson_faults(name: str, lessons: Lessons) -> Iterator[str]:
    """A student has to have something to learn."""
    terms = (lessons.features, lessons.perceptual, lessons.adapters, lessons.relation)
    if lessons.pixel == "none" and not any(terms) and min(lessons.alpha, lessons.end_alpha) < 1:
        yield f"{name}.pixel: none leaves nothing of the teacher to learn; give another term a weight, or set alpha = 1"
    if lessons.relation and lessons.train.batch < 2 * lessons.train.accumulate:
        got = f"a batch of {lessons.train.batch} in {lessons.train.accumulate} parts"
        yield f"{name}.relation: {got} leaves no two pictures to relate; make the parts larger"
