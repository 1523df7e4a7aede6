"""The whole flow on one page: recipe -> data -> teacher -> transfer -> student -> exports -> verdict.

Every stage is a folder. One that is complete and was made from the same things (its key) is skipped; one that was
interrupted goes on from its checkpoint; one made from other things is moved aside, never overwritten.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganlet.artifact import CONFIG, FORECAST, Stage, find_stage, load_stage
from ganlet.data import Batches, PictureSet, load_pictures
from ganlet.errors import GanletError
from ganlet.exporting import check_exports, export_recipe
from ganlet.files import read_json, write_json
from ganlet.observer import Hushed, Observer
from ganlet.preflight import preflight, require_training_packages, with_feature_net
from ganlet.recipe import Recipe, Train

if TYPE_CHECKING:
    from ganlet.training.evaluate import Evaluate

LEAST_PICTURES = 2  # of a side of a distance: below, hours of training would end without a verdict


@dataclass(frozen=True)
class Workplace:
    """A run's recipe, its folder and its pictures: what every stage needs."""

    recipe: Recipe
    run: Path
    pictures: PictureSet
    observer: Observer

    @classmethod
    def open(cls, recipe: Recipe, run: Path, observer: Observer) -> "Workplace":
        """Preflight and pictures. Everything that can be found wrong before hours of work is found here."""
        preflight(recipe, run)
        pictures = open_pictures(recipe, observer)
        if len(pictures) < LEAST_PICTURES:
            raise GanletError(
                f"[data] gave {len(pictures)} picture{'s' * (len(pictures) != 1)}, expected {LEAST_PICTURES} or more, "
                "so that a distance can be measured in the end; add pictures."
            )
        return cls(recipe, run, pictures, observer)

    def batches(self, train: Train) -> Batches:
        """The training pictures in the seeded, endless order of one stage."""
        data = self.recipe.data
        indices, _ = self.pictures.split(data.holdout, data.seed)
        return Batches(self.pictures, indices, batch=train.batch, seed=self.recipe.run.seed, flip=data.flip)

    def key(self, section: str, train: Train, **more: str) -> str:
        """What a training stage depends on: its section, the pictures, and the net that it is evaluated with."""
        if train.evaluate_steps:
            more |= {"evaluated_with": self.recipe.verify.features}
        return self.recipe.key("data", section, data_sha256=self.pictures.sha256, **more)

    def step_key(self, number: int, **more: str) -> str:
        """What a step of [[compress]] depends on: itself alone, and where it trains on all that training does."""
        step = self.recipe.compress[number]
        alone = replace(self, recipe=self.recipe.model_copy(update={"compress": (step,)}))
        return (
            alone.recipe.key("compress", **more)
            if step.tune is None
            else alone.key("compress", step.tune.train, **more)
        )

    def evaluate(self, train: Train) -> "Evaluate | None":
        """Distance of a generator to the training pictures, where the recipe evaluates while training."""
        if not train.evaluate_steps:
            return None
        from ganlet.verify import DistanceToData

        recipe = self.recipe
        indices, _ = self.pictures.split(recipe.data.holdout, recipe.data.seed)
        return DistanceToData(
            self.pictures,
            indices,
            net_name=recipe.verify.features,
            samples=train.evaluate_samples,
            seed=recipe.run.seed,
        )

    def source(self, path: str | None) -> Stage:
        """The stage to start from: of another run where the recipe names one, else what this recipe trains before."""
        if path is not None:
            return find_stage(Path(path))
        return load_stage(self.run / ("transfer" if self.recipe.transfer is not None else "teacher"))

    def to_compress(self, number: int) -> Stage:
        """The stage that step `number` of [[compress]] takes: of another run where it names one, else the last one."""
        recipe = self.recipe
        if number:
            return load_stage(self.run / FOLDERS[recipe.compress[number - 1].method])
        path = recipe.compress[number].source_run
        return load_stage(self.run / "student") if recipe.distill is not None else self.source(path)


def run_recipe(recipe: Recipe, run: Path, observer: Observer, command: str = "") -> dict[str, Any]:
    """Everything the recipe asks for; the same call again resumes. Returns the report."""
    place = Workplace.open(recipe, run, observer)
    check_exports(recipe)
    made = [make(place) for section, make in STEPS.items() if getattr(recipe, section)]
    export_recipe(recipe, made[-1], run, observer)
    report = verify(place, command)
    from ganlet.report import write_report

    observer.say(f"report: {write_report(run)}")
    return report


# ---------------------------------------------------------------- stages


def train_teacher(place: Workplace) -> Stage:
    """Stage teacher/: a GAN from random weights."""
    from ganlet.training.plan import random_weights, teacher_plan

    plan = teacher_plan(place.recipe)
    key = place.key("teacher", plan.train)
    return _train(place, plan, random_weights(place.recipe.run.seed, "teacher"), key, {})


def transfer(place: Workplace) -> Stage:
    """Stage transfer/: another run's GAN learns these pictures, its deep layers frozen."""
    from ganlet.compress.freeze import transfer_plan, transfer_weights

    section, given, found = place.recipe.transfer, place, None
    source = place.source(section.source_run if section else None)
    if section is not None and section.is_searched:
        from ganlet.freezing import RESULT, find_freezing, with_freezing

        chosen, found = find_freezing(place.recipe, source, place.run, place.pictures, _short(place), place.observer)
        given = replace(place, recipe=with_freezing(place.recipe, chosen))
    plan = transfer_plan(given.recipe, source)
    key = given.key("transfer", plan.train, source=source.weights_sha256)
    stage = _train(place, plan, transfer_weights(source), key, _made_from(source))
    if found is not None:
        write_json(stage.folder / RESULT, found)
    return stage


def _short(place: Workplace) -> Callable[[Recipe, Path, str], Stage]:
    """A transfer by another recipe, beside the run's own stages."""
    return lambda recipe, run, name: transfer(
        replace(place, recipe=recipe, run=run, observer=Hushed(place.observer, name))
    )


def distill(place: Workplace) -> Stage:
    """Stage student/: a small generator learns from its teacher and a critic."""
    from ganlet.compress.distill import distill_plan, distill_weights

    section = place.recipe.distill
    source = place.source(section.teacher_run if section else None)
    plan = distill_plan(place.recipe, source)
    key = place.key("distill", plan.train, source=source.weights_sha256)
    return _train(place, plan, distill_weights(place.recipe, source), key, _made_from(source))


def compress(place: Workplace) -> Stage:
    """The steps of [[compress]] in their order, each of what the one before made."""
    return [METHODS[step.method](place) for step in place.recipe.compress][-1]


def prune(place: Workplace) -> Stage:
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
        sources = {"source": whole.weights_sha256, "current": stage.weights_sha256}
        key = place.step_key(number, round=str(turn), **sources)
        place.observer.say(f"{plan.stage}: widths {whole.config['generator']['widths']} -> {generator.config.widths}")
        stage = _train(place, plan, tune_weights(generator, whole, stage), key, _made_from(stage))
    return stage


def _cut_once(place: Workplace, whole: Stage, number: int) -> Stage:
    """Pruning without training depends on no pictures."""
    from ganlet.compress.cuts import STAGE, cut, save_cut

    folder = place.run / STAGE
    key = place.step_key(number, source=whole.weights_sha256)
    if (stage := _complete(folder, key, place.observer)) is not None:
        return stage
    generator = cut(place.recipe, whole, whole, 1)
    _move_aside(folder, key, place.observer)
    place.observer.say(f"{STAGE}: widths {whole.config['generator']['widths']} -> {generator.config.widths}")
    return save_cut(folder, generator, whole, _provenance(place, key, _made_from(whole)))


def quantize(place: Workplace) -> Stage:
    """Stage quantized/: the last generator as it is, or trained on as its int8 file draws where that is too far off."""
    from ganlet.compress.quantize import STAGE, measure, quantize_plan, quantize_weights, save_quantized, section_of

    number, section = section_of(place.recipe)
    source, folder, say = place.to_compress(number), place.run / STAGE, place.observer.say
    key = place.step_key(number, source=source.weights_sha256)
    if (stage := _complete(folder, key, place.observer)) is not None:
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
        tuned = _train(place, plan, quantize_weights(source), key, _made_from(source))
        after = measure(tuned, section, source)
        kept = "kept" if after.psnr_db > before.psnr_db else "not kept, it was nearer before"
        say(f"{STAGE}: {before.psnr_db:.1f} dB before fine-tuning, {after.psnr_db:.1f} dB after it, {kept}")
    _move_aside(folder, key, place.observer)
    return save_quantized(folder, source, before, tuned, after, _provenance(place, key, _made_from(source)))


METHODS: dict[str, Callable[[Workplace], Stage]] = {"prune": prune, "quantize": quantize}
"""A step of [[compress]] by its method."""

FOLDERS = {"prune": "pruned", "quantize": "quantized"}
"""The stage that it makes."""

STEPS: dict[str, Callable[[Workplace], Stage]] = {
    "teacher": train_teacher,
    "transfer": transfer,
    "distill": distill,
    "compress": compress,
}
"""The training stages in their order, by the recipe's section that asks for them."""


def verify(place: Workplace, command: str = "") -> dict[str, Any]:
    """RUN/report.json: parity, fidelity, budgets; skipped when nothing that it rests on has changed."""
    require_training_packages()
    from ganlet.verify import stages_with_teacher, verification_key, verify_run

    run, recipe = place.run, place.recipe
    if (run / "report.json").is_file() and (run / "generator.onnx").is_file():
        report = read_json(run / "report.json")
        stages = stages_with_teacher(run, recipe)
        if isinstance(report, dict) and report.get("key") == verification_key(run, recipe, stages, place.pictures):
            place.observer.say("verify: nothing has changed since the last report, skipped")
            return report
    with place.observer.watch("verify", "pictures") as update:
        return verify_run(run, recipe, place.pictures, update, command)


def _train(place: Workplace, plan: Any, fill: Any, key: str, made_from: dict[str, str]) -> Stage:
    """Train one plan into its folder, or find it complete there."""
    from ganlet.memory.forecast import forecast, place_of
    from ganlet.memory.guard import out_of_memory
    from ganlet.training.loop import pick_device
    from ganlet.training.plan import train_stage

    folder = place.run / plan.stage
    if (stage := _complete(folder, key, place.observer)) is not None:
        return stage
    _move_aside(folder, key, place.observer)
    device = pick_device(place.recipe.run.device)
    plan = with_feature_net(plan, place.recipe)
    predicted = forecast(plan, place_of(device))
    write_json(folder / FORECAST, predicted.as_json())
    with place.observer.watch(plan.stage, "pictures") as update, out_of_memory(plan, predicted.peak_mib, device):
        stage = train_stage(
            plan,
            fill,
            place.batches(plan.train).at,
            folder,
            run=place.recipe.run,
            provenance=_provenance(place, key, made_from),
            predicted_memory_mib=round(predicted.peak_mib, 3),
            progress=lambda step, steps, pictures: update(step * pictures, steps * pictures),
            evaluate=place.evaluate(plan.train),
        )
    if found := stage.training.get("evaluation"):
        early = f"stopped early at step {stage.training['steps']}, " if found["stopped_early"] else ""
        place.observer.say(
            f"{plan.stage}: {early}best distance to the data {found['distance']:.4g} at step {found['step']}, kept"
        )
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)  # a finished stage needs none
    return stage


def _complete(folder: Path, key: str, observer: Observer) -> Stage | None:
    """The stage in `folder` where it is complete and made of the same."""
    if not (folder / CONFIG).is_file() or (stage := load_stage(folder)).key != key:
        return None
    observer.say(f"{folder.name}: complete, skipped")
    return stage


def _made_from(source: Stage) -> dict[str, str]:
    return {"stage": str(source.folder), "weights_sha256": source.weights_sha256}


def _provenance(place: Workplace, key: str, made_from: dict[str, str]) -> dict[str, Any]:
    return {
        "key": key,
        "recipe_sha256": place.recipe.sha256,
        "data_sha256": place.pictures.sha256,
        "seed": place.recipe.run.seed,
        "made_from": made_from,
    }


def _move_aside(folder: Path, key: str, observer: Observer) -> None:
    """Rename a stage made from another recipe, complete or not, to NAME.previous."""
    from ganlet.training.state import checkpoint_key

    checkpoint = folder / "checkpoint" / "state.safetensors"
    complete = (folder / CONFIG).is_file()
    if not complete and (not checkpoint.is_file() or checkpoint_key(checkpoint) == key):
        return
    previous = folder.with_name(folder.name + ".previous")
    shutil.rmtree(previous, ignore_errors=True)
    folder.rename(previous)
    observer.say(f"{folder.name}: the recipe or its input has changed, the old stage is kept as {previous}")


def open_pictures(recipe: Recipe, observer: Observer) -> PictureSet:
    """The pictures of the recipe, decoded once."""
    data = recipe.data
    with observer.watch("data", "pictures") as update:
        pictures = load_pictures(
            data.source,
            path=Path(data.path) if data.path else None,
            size=data.size,
            channels=data.channels,
            crop=data.crop,
            skip_bad=data.skip_bad,
            count=data.count,
            seed=data.seed,
            progress=update,
        )
    if pictures.skipped:
        observer.say(f"data: {len(pictures.skipped)} bad pictures skipped, {len(pictures)} remain")
    return pictures
