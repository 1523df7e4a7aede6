"""Fine-tuning of what a step of [[compress]] left: a distillation of the generator before it, by that one's critic."""

from collections.abc import Callable

from ganlet.artifact import Stage
from ganlet.compress.freeze import require_penalty_is_valid, require_same_pictures
from ganlet.errors import GanletError
from ganlet.losses.perceptual import weights_path
from ganlet.models.base import Critic, Generator
from ganlet.models.config import CriticConfig, GeneratorConfig
from ganlet.models.families import build_generator
from ganlet.recipe import Recipe, Tune
from ganlet.training.load import critic_config_of, family_of, generator_config_of, load_critic, load_generator
from ganlet.training.plan import Fill, Plan
from ganlet.training.steps import distillation_step


def tuning_plan(
    recipe: Recipe,
    number: int,
    whole: Stage,
    stage: str,
    student: GeneratorConfig,
    build: Callable[[GeneratorConfig], Generator] = build_generator,
) -> Plan:
    """Training of `student`, made by `build`, towards the pictures of `whole`, into the folder `stage`.

    `number`: which table of [[compress]] asks for it. Raises GanletError where it has no [compress.tune], and where the
    whole's pictures or its critic do not fit the recipe.
    """
    tune = recipe.compress[number].tune
    if tune is None:
        raise GanletError(f"Recipe {recipe.run.name} has no [compress.tune] section; add one to fine-tune.")
    require_same_pictures(recipe, whole)
    critic = _critic_for(tune, whole)
    require_penalty_is_valid(tune.loss, critic, whole)
    if tune.perceptual:
        weights_path()
    teacher = generator_config_of(whole)
    place = f"compress.{number}.tune"
    saves = "critic" in whole.config
    return Plan(
        stage,
        student,
        critic,
        tune,
        distillation_step,
        teacher=teacher,
        place=place,
        saves_critic=saves,
        build=build,
    )


def _critic_for(tune: Tune, whole: Stage) -> CriticConfig:
    """The whole's own. A generator that was imported without one has the least there is, where nothing asks it."""
    if "critic" in whole.config or tune.needs_critic:
        return critic_config_of(whole)
    family, ends = family_of(whole, "generator"), generator_config_of(whole).ends
    return family.critic_config.of(family.critic(widths=(1,)), ends)


def tune_weights(generator: Generator, whole: Stage, current: Stage) -> Fill:
    """The student starts as `generator`, its critic as that of `current`, its teacher is `whole`."""

    def fill(student: Generator, critic: Critic, teacher: Generator | None) -> None:
        student.load_state_dict(generator.state_dict())
        if "critic" in current.config:
            critic.load_state_dict(load_critic(current).state_dict())
        if teacher is not None:
            teacher.load_state_dict(load_generator(whole).state_dict())

    return fill


def no_step(recipe: Recipe, method: str) -> GanletError:
    """What is raised where a recipe does not ask for a method."""
    return GanletError(
        f'Recipe {recipe.run.name} has no [[compress]] section with method = "{method}"; add one, or run the stages '
        "that it has."
    )
