"""The whole flow on one page: recipe -> data -> teacher -> transfer -> student -> exports -> verdict.

Every stage is a folder. One that is complete and was made from the same things (its key) is skipped; one that was
interrupted goes on from its checkpoint; one made from other things is moved aside, never overwritten.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ganlet.artifact import Stage, StageKind
from ganlet.commands.export import check_exports, export_recipe
from ganlet.commands.open_run import OpenRun
from ganlet.commands.preflight import require_training_packages
from ganlet.errors import GanletError
from ganlet.observer import Hushed, Observer
from ganlet.own_files import REPORT, check_not_foreign, read_own
from ganlet.recipe import Recipe
from ganlet.sealed import write_sealed


def run_recipe(recipe: Recipe, run: Path, observer: Observer, command: str = "") -> dict[str, Any]:
    """Everything the recipe asks for; the same call again resumes. Returns the report."""
    require_training_packages()
    check_exports(recipe)
    from ganlet.verify import warn_if_too_few

    place = OpenRun.open(recipe, run, observer)
    if too_few := warn_if_too_few(len(place.pictures), recipe.data.holdout):
        observer.say(too_few)
    place.keep_recipe()
    made = [make(place) for section, make in STEPS.items() if getattr(recipe, section)]
    export_recipe(recipe, made[-1], run, observer)
    report = verify(place, command)
    from ganlet.report import write_report

    observer.say(f"report: {write_report(run, if_outdated=True)}")
    return report


# ---------------------------------------------------------------- stages


def train_teacher(place: OpenRun) -> Stage:
    """Stage teacher/: a GAN from random weights."""
    from ganlet.training.plan import random_weights, teacher_plan

    plan = teacher_plan(place.recipe)
    key = place.key("teacher", plan.train)
    return place.train(plan, random_weights(place.recipe.run.seed, "teacher"), key, None)


def transfer(place: OpenRun) -> Stage:
    """Stage transfer/: another run's GAN learns these pictures, its deep layers frozen."""
    from ganlet.compress.freeze import transfer_plan, transfer_weights

    section, given, found = place.recipe.transfer, place, None
    source = place.source(section.source_run if section else None)
    if section is not None and section.is_searched:
        from ganlet.commands.freeze import RESULT, find_freezing, with_freezing

        chosen, found = find_freezing(place.recipe, source, place.run, place.pictures, _short(place), place.observer)
        given = replace(place, recipe=with_freezing(place.recipe, chosen))
    plan = transfer_plan(given.recipe, source)
    key = given.key("transfer", plan.train, **source.as_input)
    stage = place.train(plan, transfer_weights(source), key, source)
    if found is not None:
        write_sealed(stage.folder / RESULT, found)
    return stage


def _short(place: OpenRun) -> Callable[[Recipe, Path, str], Stage]:
    """A transfer by another recipe, beside the run's own stages."""
    return lambda recipe, run, name: transfer(
        replace(place, recipe=recipe, run=run, observer=Hushed(place.observer, name))
    )


def distill(place: OpenRun) -> Stage:
    """Stage student/: a small generator learns from its teacher and a critic."""
    from ganlet.compress.distill import distill_plan, distill_weights

    section = place.recipe.distill
    source = place.source(section.teacher_run if section else None)
    plan = distill_plan(place.recipe, source)
    key = place.key("distill", plan.train, **source.as_input)
    return place.train(plan, distill_weights(place.recipe, source), key, source)


def compress(place: OpenRun) -> Stage:
    """The steps of [[compress]] in their order, each of what the one before made."""
    return [METHODS[step.method](place) for step in place.recipe.compress][-1]


def prune(place: OpenRun) -> Stage:
    """Stage pruned/: channels leave the last generator; with [compress.tune] it learns again after each cut."""
    from ganlet.compress.cuts import cut, section_of, tune_plan
    from ganlet.compress.tuning import tune_weights

    number, section = section_of(place.recipe)
    whole = place.to_compress(number)
    if section.tune is None:
        return _cut_once(place, whole, number)
    stage = whole
    for turn in range(1, section.rounds + 1):
        generator = cut(place.recipe, whole, stage, turn)
        plan = tune_plan(place.recipe, whole, generator.config.widths, turn)
        sources = whole.as_input | {"current": stage.weights_sha256}
        key = place.step_key(number, round=str(turn), **sources)
        place.observer.say(f"{plan.stage}: widths {whole.config['generator']['widths']} -> {generator.config.widths}")
        stage = place.train(plan, tune_weights(generator, whole, stage), key, stage)
    return stage


def _cut_once(place: OpenRun, whole: Stage, number: int) -> Stage:
    """Pruning without training depends on no pictures."""
    from ganlet.compress.cuts import STAGE, cut, save_cut

    folder = place.run / STAGE
    key = place.step_key(number, **whole.as_input)
    if (stage := place.complete(folder, key)) is not None:
        return stage
    generator = cut(place.recipe, whole, whole, 1)
    place.move_aside(folder, key)
    place.observer.say(f"{STAGE}: widths {whole.config['generator']['widths']} -> {generator.config.widths}")
    return save_cut(folder, generator, whole, place.provenance(key, whole))


def quantize(place: OpenRun) -> Stage:
    """Stage quantized/: the last generator as it is, or trained on as its int8 file draws where that is too far off."""
    from ganlet.compress.quantize import (
        STAGE,
        measure,
        quantize_plan,
        quantize_weights,
        rests_on,
        save_quantized,
        section_of,
    )

    number, section = section_of(place.recipe)
    source, folder, say = place.to_compress(number), place.run / STAGE, place.observer.say
    key = place.step_key(number, **rests_on(source))
    if (stage := place.complete(folder, key)) is not None:
        return stage
    before, tuned, after = measure(source, section), None, None
    told = f"{STAGE}: int8 by {before.near.method} draws {source.name} at {before.psnr_db:.1f} dB"
    if before.psnr_db >= section.least_psnr_db:
        say(f"{told}, asked for {section.least_psnr_db:g}: its weights stay as they are")
    elif section.tune is None:
        say(f"{told}, BELOW the {section.least_psnr_db:g} asked for; without [compress.tune] it stays so")
    else:
        say(f"{told}, below the {section.least_psnr_db:g} asked for: fine-tuning")
        plan = quantize_plan(place.recipe, source, before.near.scales)
        tuned = place.train(plan, quantize_weights(source), key, source)
        after = measure(tuned, section, source)
        kept = "kept" if after.psnr_db > before.psnr_db else "not kept, it was nearer before"
        say(f"{STAGE}: {before.psnr_db:.1f} dB before fine-tuning, {after.psnr_db:.1f} dB after it, {kept}")
    place.move_aside(folder, key)
    return save_quantized(folder, source, before, tuned, after, place.provenance(key, source))


METHODS: dict[str, Callable[[OpenRun], Stage]] = {"prune": prune, "quantize": quantize}
"""A step of [[compress]] by its method."""

STEPS: dict[str, Callable[[OpenRun], Stage]] = {
    "teacher": train_teacher,
    "transfer": transfer,
    "distill": distill,
    "compress": compress,
}
"""The training stages in their order, by the recipe's section that asks for them."""


def make_stage(place: OpenRun, kind: StageKind) -> Stage:
    """The stage of that kind, made or found complete."""
    return STEPS[kind.section](place) if kind.method is None else METHODS[kind.method](place)


def verify(place: OpenRun, command: str = "") -> dict[str, Any]:
    """RUN/report.json: parity, fidelity, budgets; skipped when nothing that it rests on has changed."""
    require_training_packages()
    from ganlet.verify import stages_with_teacher, verification_key, verify_run

    run, recipe = place.run, place.recipe
    if (report := _last_report(run)) and (run / "generator.onnx").is_file():
        stages = stages_with_teacher(run, recipe)
        if report.get("key") == verification_key(run, recipe, stages, place.pictures):
            place.observer.say("verify: nothing has changed since the last report, skipped")
            return report | {"data": place.pictures.as_json()}  # what is passed over changes no result
    with place.observer.watch("verify", "pictures") as update:
        return verify_run(run, recipe, place.pictures, update, command, place.observer.say)


def _last_report(run: Path) -> dict[str, Any]:
    """RUN/report.json; empty where there is none or it is damaged, as it is measured anew then.

    Raises GanletError where the file is of another program.
    """
    check_not_foreign(run / "report.json", REPORT)
    try:
        return read_own(run / "report.json", REPORT) or {}
    except GanletError:
        return {}
