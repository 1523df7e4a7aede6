"""The ways to train a stage that save memory, each as a plan and as the words that choose it."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ganlet.models.families import FAMILIES
from ganlet.recipe import Distill, Recipe, Transfer, distill_section
from ganlet.training.plan import Plan
from ganlet.training.steps import distillation_step

RUNS = Path("exported")
FROZEN_GENERATOR_LAYERS, FROZEN_CRITIC_LAYERS = 2, 4  # of the base work's transfer
STUDENT_SHARE = 0.5  # a student of half the teacher's widths has about a quarter of its parameters
LEFT_OUT = ("batch", "checkpoint_steps", "progress_steps", "log_steps")  # the batch is told apart, the rest is taste
SECTIONS = {"student": "distill"}  # where a section has another name than its stage
NAMES = {"teacher": "plain", "transfer": "frozen", "student": "distilled"}


@dataclass(frozen=True)
class Way:
    """One way to train. `choice` holds the recipe's keys that choose it, beside the batch and its parts."""

    name: str
    plan: Plan
    choice: tuple[str, ...] = ()
    accumulates: bool = False
    needs_a_run: bool = False
    """Whether it starts from a trained run, which has to be there first."""

    def words(self, batch: int) -> tuple[str, ...]:
        """The `--set` words for the command line."""
        section = section_of(self.plan)
        keys = [*self.choice, f"{section}.train.batch={batch}"]
        if self.accumulates:
            keys.append(f"{section}.train.accumulate={self.plan.train.accumulate}")
        return tuple(f"--set {shlex.quote(key)}" for key in keys)


def section_of(plan: Plan) -> str:
    """The name of the recipe's section that a plan comes from."""
    return plan.place or SECTIONS.get(plan.stage, plan.stage)


def ways_of(recipe: Recipe, plan: Plan) -> Iterator[Way]:
    """As it is, with mixed precision, in parts; of a teacher also frozen and distilled, unless the recipe does so."""
    name, section = NAMES.get(plan.stage, plan.stage.split("-")[0]), section_of(plan)  # pruned-round1 is one of pruned
    yield Way(name, plan)
    if plan.section.loss != "wgan-gp":  # recipes refuse mixed precision under a gradient penalty
        yield Way(f"{name}, mixed precision", plan.with_train(amp="fp16"), (f"{section}.train.amp=fp16",))
    yield Way(f"{name}, in parts", plan.with_train(accumulate=2), accumulates=True)
    if plan.stage == "teacher" and recipe.transfer is None:
        yield frozen(recipe, plan)
    if plan.stage == "teacher" and recipe.distill is None:
        yield distilled(recipe, plan)


def frozen(recipe: Recipe, plan: Plan) -> Way:
    """Training on from this very teacher with as many layers frozen as the base work froze."""
    generator = min(FROZEN_GENERATOR_LAYERS, plan.generator.layer_count - 1)
    critic = min(FROZEN_CRITIC_LAYERS, plan.critic.layer_count - 1)
    source = str(RUNS / recipe.run.name)
    table = {"from": source, "freeze_generator": generator, "freeze_critic": critic, "loss": plan.section.loss}
    section = Transfer.model_validate(table | {"train": plan.train})
    changed = replace(plan, stage="transfer", section=section, freeze_generator=generator, freeze_critic=critic)
    return _of_a_run(f"frozen {generator} / {critic}", changed, section)


def distilled(recipe: Recipe, plan: Plan) -> Way:
    """A student of half the widths that learns from this very teacher and a critic like the teacher's."""
    teacher, family = plan.generator, FAMILIES[plan.generator.family]
    student = teacher.narrowed(STUDENT_SHARE)
    loss = "non-saturating" if plan.section.loss == "wgan-gp" else plan.section.loss
    section = distill_section(teacher.family).model_validate(
        {name: getattr(student, name) for name in family.network.model_fields}
        | {
            "from": str(RUNS / recipe.run.name),
            "family": teacher.family,
            "critic": {name: getattr(plan.critic, name) for name in family.critic.model_fields},
            "loss": loss,
            "train": plan.train.model_copy(update={"n_critic": 1}),
        }
    )
    changed = Plan("student", student, plan.critic, section, distillation_step, teacher=teacher)
    return _of_a_run("distilled, half the widths", changed, section)


def _of_a_run(name: str, plan: Plan, section: Transfer | Distill) -> Way:
    """A way whose whole section is told by words, in place of the recipe's [teacher]."""
    tables = section.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    nested = {key: value for key, value in tables.items() if isinstance(value, dict)}
    keys = {key: value for key, value in tables.items() if key not in nested}
    for table, values in nested.items():
        keys |= {f"{table}.{key}": value for key, value in values.items() if key not in LEFT_OUT}
    told = [f"{section_of(plan)}.{key}={json.dumps(value)}" for key, value in keys.items()]
    return Way(name, plan, ("teacher=off", *told), needs_a_run=True)
