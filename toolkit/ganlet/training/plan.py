"""What a training stage is before any weight exists: configs, losses, frozen layers. Forecasts run on it as well."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ganlet import recipe as recipes
from ganlet.artifact import CRITIC, GENERATOR, Stage, save_stage
from ganlet.errors import GanletError
from ganlet.losses.perceptual import PerceptualNet
from ganlet.models.adapters import Adapters
from ganlet.models.base import Critic, Generator
from ganlet.models.config import CriticConfig, Ends, GeneratorConfig
from ganlet.models.families import FAMILIES, build_critic, build_generator
from ganlet.models.init import initialise
from ganlet.training.checkpoint import Say
from ganlet.training.evaluate import Evaluate, FeatureNetMemory
from ganlet.training.loop import Job, Outcome, Progress, pick_device, run_training
from ganlet.training.state import State, make_state, seed_of
from ganlet.training.steps import RealBatch, Section, Step, adversarial_step
from ganlet.training.thaw import Frozen, freeze

Fill = Callable[[Generator, Critic, Generator | None], None]
"""Gives the weights: (generator, critic, teacher of a distillation)."""


@dataclass(frozen=True)
class Plan:
    """One training stage."""

    stage: str
    generator: GeneratorConfig
    critic: CriticConfig
    section: Section
    step: Step
    teacher: GeneratorConfig | None = None
    freeze_generator: int = 0
    freeze_critic: int = 0
    unfreeze: tuple[float, ...] = ()
    """Shares of the steps after which one more frozen layer of each network thaws."""
    feature_net: FeatureNetMemory | None = None
    """Of the net that evaluates while training, where the recipe asks for that."""
    place: str = ""
    """Where the recipe has `section`, such as compress.0.tune, if not under a name of its own."""
    saves_critic: bool = True
    """Whether the stage holds the critic: not where it only stands in for one that there is not."""
    build: Callable[[GeneratorConfig], Generator] = build_generator
    """Makes the generator that is trained: a plain one, or one that draws as its int8 file does."""

    @property
    def train(self) -> recipes.Train:
        return self.section.train

    def with_train(self, **changes: Any) -> "Plan":
        """The same plan with other values in its [train] section, such as another batch."""
        return replace(self, section=self.section.model_copy(update={"train": self.train.model_copy(update=changes)}))

    def with_class_names(self, names: tuple[str, ...]) -> "Plan":
        """The same plan with the names of the classes in the generator's config; the data's are the ones that count."""
        told = names != tuple(map(str, range(len(names))))  # names that are the numbers themselves tell nothing
        return replace(self, generator=self.generator.model_copy(update={"class_names": names if told else ()}))

    def thawed(self) -> "Plan":
        """The same plan as its last phase has it, in which the most layers learn: what memory has to be there for."""
        frozen = (max(0, count - len(self.unfreeze)) for count in (self.freeze_generator, self.freeze_critic))
        return replace(self, freeze_generator=next(frozen), freeze_critic=next(frozen), unfreeze=())


def planned_stage(plan: Plan) -> Stage:
    """The stage that `plan` will make, by its configs alone: enough to plan what follows, without any file."""
    networks = {"generator": plan.generator.model_dump(mode="json")}
    networks |= {"critic": plan.critic.model_dump(mode="json")} if plan.saves_critic else {}
    return Stage(Path(plan.stage), {"stage": plan.stage, **networks})


def teacher_ends(teacher: recipes.Teacher, data: recipes.Data) -> Ends:
    """What the generator of [teacher] takes and gives."""
    return Ends(teacher.latent, data.size, data.channels, teacher.classes)


def teacher_plan(recipe: recipes.Recipe) -> Plan:
    """Training a GAN from random weights. Raises GanletError when the recipe has no [teacher]."""
    teacher = recipe.teacher
    if teacher is None:
        raise GanletError(f"Recipe {recipe.run.name} has no [teacher] section; add one, or run the stages that it has.")
    family, ends = FAMILIES[teacher.family], teacher_ends(teacher, recipe.data)
    return Plan(
        stage="teacher",
        generator=family.generator_config.of(teacher, ends),
        critic=family.critic_config.of(teacher.critic, ends),
        section=teacher,
        step=adversarial_step,
    )


def build_state(plan: Plan, fill: Fill | None, device: str) -> State:
    """Networks of a plan, their weights from `fill`, deep layers frozen, optimisers for the rest.

    A forecast has no use for weights and gives no `fill`. Raises GanletError where a package with weights is missing.
    """
    generator, critic = plan.build(plan.generator), build_critic(plan.critic)
    teacher = build_generator(plan.teacher) if plan.teacher is not None else None
    adapters = perceptual = None
    if plan.teacher is not None and isinstance(plan.section, recipes.Lessons):
        adapters = Adapters(plan.generator, plan.teacher) if plan.section.adapters else None
        perceptual = PerceptualNet() if plan.section.perceptual else None
    if fill is not None:
        fill(generator, critic, teacher)
        if perceptual is not None:
            perceptual.load()
    still = [freeze(generator.layers()[: plan.freeze_generator]), freeze(critic.layers()[: plan.freeze_critic])]
    state = make_state(generator, critic, teacher, plan.train, device, adapters, perceptual)
    thaw_steps = tuple(math.ceil(share * plan.train.steps) for share in plan.unfreeze)
    state.frozen = Frozen(list(zip(still, (state.generator_adam, state.critic_adam), strict=True)), thaw_steps)
    return state


def random_weights(seed: int, stage: str) -> Fill:
    """Weights drawn from the seed."""

    def fill(generator: Generator, critic: Critic, teacher: Generator | None) -> None:
        initialise(generator, seed_of(seed, stage, "generator"))
        initialise(critic, seed_of(seed, stage, "critic"))

    return fill


def train_stage(
    plan: Plan,
    fill: Fill,
    reals: RealBatch,
    folder: Path,
    *,
    run: recipes.Run,
    provenance: dict[str, Any],
    predicted_memory_mib: float | None = None,
    progress: Progress | None = None,
    evaluate: Evaluate | None = None,
    say: Say = lambda text: None,
) -> Stage:
    """Train a plan, from its checkpoint where there is one, and write the stage's folder.

    `provenance["key"]` names the job: a checkpoint with another key is not continued. `evaluate` measures the distance
    to the data where the recipe's evaluate_steps ask for it; the best generator is then the one that is written. `say`
    is told what was damaged, and what cannot be written and is left out.
    """
    if plan.train.evaluate_steps and evaluate is None:
        raise ValueError("evaluate_steps need a function that evaluates")
    state = build_state(plan, fill, pick_device(run.device))
    key, rests_on = provenance["key"], provenance.get("rests_on")
    job = Job(plan.stage, key, run.seed, folder, plan.section, plan.step, reals, evaluate, rests_on, say)
    outcome: Outcome = run_training(job, state, progress)
    networks = {"generator": (GENERATOR, plan.generator.model_dump(mode="json"), state.result.state_dict())}
    if plan.saves_critic:
        networks["critic"] = (CRITIC, plan.critic.model_dump(mode="json"), state.critic.state_dict())
    return save_stage(
        folder,
        stage=plan.stage,
        networks=networks,
        provenance=provenance,
        training={
            "steps": outcome.steps,
            "images": outcome.images,
            "seconds": round(outcome.seconds, 3),
            **{name: mib if mib is None else round(mib, 3) for name, mib in outcome.peaks.as_json().items()},
            "predicted_memory_mib": predicted_memory_mib,
        }
        | _frozen(plan)
        | _evaluation(state, plan.train),
    )


def _frozen(plan: Plan) -> dict[str, Any]:
    """How many layers of each network were frozen at first, where any were."""
    if not (plan.freeze_generator or plan.freeze_critic):
        return {}
    return {"frozen": {"generator": plan.freeze_generator, "critic": plan.freeze_critic}}


def _evaluation(state: State, train: recipes.Train) -> dict[str, Any]:
    """What the distances while training came to; nothing where none were measured."""
    best = state.best
    if best is None:
        return {}
    found = {"distance": best.distance, "step": best.step, "samples": train.evaluate_samples}
    return {"evaluation": found | {"stopped_early": state.step < train.steps}}
