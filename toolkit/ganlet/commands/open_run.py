"""A run's recipe, folder and pictures, and what making any stage there has in common."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganlet.artifact import FORECAST, STAGE_OF_STEP, Stage, find_stage, load_stage
from ganlet.commands import earlier_stages
from ganlet.commands.preflight import is_complete, is_recipe_of, preflight, with_feature_net
from ganlet.data import Batches, PictureSet, load_pictures, require_classes
from ganlet.errors import GanletError
from ganlet.files import write_json
from ganlet.leftovers import remove_leftovers
from ganlet.observer import Observer
from ganlet.recipe import Basis, Recipe, Train, save_recipe

if TYPE_CHECKING:
    from ganlet.training.evaluate import Evaluate
    from ganlet.training.plan import Fill, Plan

LEAST_PICTURES = 2  # of a side of a distance: below, hours of training would end without a verdict


@dataclass(frozen=True)
class OpenRun:
    """A run's recipe, its folder and its pictures: what every stage needs."""

    recipe: Recipe
    run: Path
    pictures: PictureSet
    observer: Observer

    @classmethod
    def open(cls, recipe: Recipe, run: Path, observer: Observer) -> "OpenRun":
        """Preflight and pictures. Everything that can be found wrong before hours of work is found here."""
        earlier_stages.refuse_damaged(run)
        preflight(recipe, run)
        remove_leftovers(run, deep=True)
        pictures = open_pictures(recipe, observer)
        if len(pictures) < LEAST_PICTURES:
            raise GanletError(
                f"[data] gave {len(pictures)} picture{'s' * (len(pictures) != 1)}, expected {LEAST_PICTURES} or more, "
                "so that a distance can be measured in the end; add pictures."
            )
        opened = cls(recipe, run, pictures, observer)
        if recipe.teacher is not None and recipe.teacher.classes is not None:
            require_classes(pictures, opened.trained_on, recipe.teacher.classes)
        return opened

    @property
    def trained_on(self) -> NDArray[np.int64]:
        """Indices of the pictures that training sees."""
        return self.pictures.split(self.recipe.data.holdout, self.recipe.data.seed)[0]

    def keep_recipe(self) -> None:
        """Write RUN/recipe.toml, by which the run is verified from now on; call it once nothing can be refused."""
        if not is_recipe_of(self.run, self.recipe):
            save_recipe(self.recipe, self.run / "recipe.toml")

    def batches(self, train: Train) -> Batches:
        """The training pictures in the seeded, endless order of one stage."""
        seed, flip = self.recipe.run.seed, self.recipe.data.flip
        return Batches(self.pictures, self.trained_on, batch=train.batch, seed=seed, flip=flip)

    def key(self, section: str, train: Train, **more: str) -> Basis:
        """What a training stage depends on: its section, the pictures, and the net that it is evaluated with."""
        if train.evaluate_steps:
            more |= {"evaluated_with": self.recipe.verify.features}
        return self.recipe.basis("data", section, data_sha256=self.pictures.sha256, **more)

    def step_key(self, number: int, **more: str) -> Basis:
        """What a step of [[compress]] depends on: itself alone, and where it trains on all that training does."""
        step = self.recipe.compress[number]
        alone = replace(self, recipe=self.recipe.model_copy(update={"compress": (step,)}))
        return (
            alone.recipe.basis("compress", **more)
            if step.tune is None
            else alone.key("compress", step.tune.train, **more)
        )

    def evaluate(self, train: Train) -> "Evaluate | None":
        """Distance of a generator to the training pictures, where the recipe evaluates while training."""
        if not train.evaluate_steps:
            return None
        from ganlet.verify import DistanceToData

        recipe = self.recipe
        return DistanceToData(
            self.pictures,
            self.trained_on,
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
            return load_stage(self.run / STAGE_OF_STEP[recipe.compress[number - 1].method])
        path = recipe.compress[number].source_run
        return load_stage(self.run / "student") if recipe.distill is not None else self.source(path)

    def train(self, plan: "Plan", fill: "Fill", basis: Basis, source: Stage | None) -> Stage:
        """Train one plan into its folder, or find it complete there."""
        folder = self.run / plan.stage
        if (stage := self.complete(folder, basis)) is not None:
            return stage
        from ganlet.memory.forecast import forecast, place_of
        from ganlet.memory.guard import out_of_memory, require_memory
        from ganlet.training.loop import pick_device
        from ganlet.training.plan import train_stage

        device = pick_device(self.recipe.run.device)
        if is_complete(self.recipe, self.run, plan.stage):  # so that the preflight did not look at it
            require_memory([plan], device, self.recipe.budget.training_memory_mib)
        went_on_from = earlier_stages.begin(folder, basis, plan, self.observer.say)
        if plan.train.amp != "off" and place_of(device) == "cpu":
            self.observer.say(f"{plan.stage}: amp = {plan.train.amp} is for CUDA, on {device} this trains in fp32")
        if plan.generator.classes is not None:
            require_classes(self.pictures, self.trained_on, plan.generator.classes)
            plan = plan.with_class_names(self.pictures.label_names)
        plan = with_feature_net(plan, self.recipe)
        predicted = forecast(plan, place_of(device))
        for note in predicted.notes:
            self.observer.say(f"{plan.stage}: {note}")
        write_json(folder / FORECAST, predicted.as_json())
        with self.observer.watch(plan.stage, "pictures") as update, out_of_memory(plan, predicted.peak_mib, device):
            stage = train_stage(
                plan,
                fill,
                self.batches(plan.train).at,
                folder,
                run=self.recipe.run,
                provenance=self.provenance(basis, source),
                predicted_memory_mib=round(predicted.peak_mib, 3),
                progress=lambda step, steps, pictures: update(step * pictures, steps * pictures),
                evaluate=self.evaluate(plan.train),
                say=self.observer.say,
            )
        if found := stage.training.get("evaluation"):
            early = f"stopped early at step {stage.training['steps']}, " if found["stopped_early"] else ""
            self.observer.say(
                f"{plan.stage}: {early}best distance to the data {found['distance']:.4g} at step {found['step']}, kept"
            )
        earlier_stages.close(folder, plan, went_on_from)
        return stage

    def complete(self, folder: Path, basis: Basis) -> Stage | None:
        """The stage in `folder` where it is complete and made of the same; one that was moved aside is taken back."""
        return earlier_stages.find_complete(folder, basis, self.observer.say)

    def provenance(self, basis: Basis, source: Stage | None) -> dict[str, Any]:
        """What config.json says of a stage made of `source`, or of random weights."""
        made_from = {} if source is None else {"stage": str(source.folder), "weights_sha256": source.weights_sha256}
        return {
            "key": basis.key,
            "rests_on": basis.values,
            "recipe_sha256": self.recipe.sha256,
            "data_sha256": self.pictures.sha256,
            "seed": self.recipe.run.seed,
            "made_from": made_from,
        }

    def move_aside(self, folder: Path, basis: Basis) -> None:
        """Rename a stage made from another recipe, complete or not, to NAME.previous, NAME.previous2, ..."""
        earlier_stages.move_aside(folder, basis, self.observer.say)


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
            say=lambda sentence: observer.say(f"data: {sentence}"),
        )
    if pictures.skipped:
        observer.say(f"data: {len(pictures.skipped)} bad pictures skipped, {len(pictures)} remain")
    return pictures
