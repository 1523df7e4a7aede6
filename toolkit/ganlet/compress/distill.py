"""KD-GAN distillation: a small student learns from the teacher's pictures and from a critic together."""

from ganlet.artifact import Stage
from ganlet.compress.freeze import require_penalty_is_valid, require_same_pictures
from ganlet.compress.importance import channel_scores, require_importance
from ganlet.errors import GanletError
from ganlet.losses.perceptual import weights_path
from ganlet.models.base import Critic, Generator
from ganlet.models.config import GeneratorConfig, hidden_pairs
from ganlet.models.families import FAMILIES
from ganlet.models.init import can_start_from, copy_strongest_channels
from ganlet.recipe import Distill, Recipe
from ganlet.training.load import critic_config_of, generator_config_of, load_critic, load_generator
from ganlet.training.plan import Fill, Plan, random_weights
from ganlet.training.steps import distillation_step


def distill_plan(recipe: Recipe, source: Stage) -> Plan:
    """Distilling `source` into the recipe's student. Raises GanletError for a student that cannot start as asked."""
    distill = _section(recipe)
    require_same_pictures(recipe, source)
    teacher = generator_config_of(source)
    student = student_config(distill, teacher)
    if distill.critic == "teacher":
        critic = critic_config_of(source)
    else:
        critic = FAMILIES[distill.family].critic_config.of(distill.critic, teacher.ends)
    require_penalty_is_valid(distill.loss, critic, source)
    if distill.init == "teacher":
        require_importance(distill.importance, teacher)
        obstacle = can_start_from(student, teacher)
        if obstacle:
            raise GanletError(f'distill.init = "teacher" is not possible: {obstacle}; set distill.init = "random".')
    for term in ("adapters", "relation"):
        if getattr(distill, term) and not hidden_pairs(student, teacher):
            raise GanletError(
                f"distill.{term}: no hidden layer of the student has maps of the same size as one of its teacher's; "
                f"set distill.{term} = 0, or give the student its teacher's strides."
            )
    if distill.perceptual:
        weights_path()
    return Plan(
        stage="student",
        generator=student,
        critic=critic,
        section=distill,
        step=distillation_step,
        teacher=teacher,
    )


def student_config(distill: Distill, teacher: GeneratorConfig) -> GeneratorConfig:
    """The student that a recipe describes, by its widths or by a fraction of its teacher's."""
    if distill.width is not None:
        if distill.family != teacher.family:
            raise GanletError(
                f'distill.width is a fraction of the widths of a teacher of the same family, but the teacher is "'
                f'{teacher.family}" and the student "{distill.family}"; give distill.widths.'
            )
        distill = distill.model_copy(update=teacher.narrowed(distill.width).shape)
    return FAMILIES[distill.family].generator_config.of(distill, teacher.ends)


def distill_weights(recipe: Recipe, source: Stage) -> Fill:
    """Student and critic random (the base work) or from the teacher's, as the recipe says."""
    distill = _section(recipe)

    def fill(generator: Generator, critic: Critic, teacher: Generator | None) -> None:
        random_weights(recipe.run.seed, "student")(generator, critic, None)
        loaded = load_generator(source)
        if teacher is not None:
            teacher.load_state_dict(loaded.state_dict())
        if distill.init == "teacher":
            # "strength" is judged from layer to layer, by the inputs that are kept: the others need the whole teacher
            known = distill.importance == "strength"
            scores = None if known else channel_scores(loaded, distill.importance, recipe.run.seed)
            copy_strongest_channels(generator, loaded, scores)
        if distill.critic == "teacher":
            critic.load_state_dict(load_critic(source).state_dict())

    return fill


def _section(recipe: Recipe) -> Distill:
    if recipe.distill is None:
        raise GanletError(f"Recipe {recipe.run.name} has no [distill] section; add one, or run the stages that it has.")
    return recipe.distill
