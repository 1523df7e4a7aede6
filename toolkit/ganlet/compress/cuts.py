"""The stage pruned/: one cut, or several with fine-tuning after each, of the last generator made before it."""

from pathlib import Path
from typing import Any

import torch

from ganlet.artifact import CRITIC, GENERATOR, STAGE_OF_STEP, Stage, save_stage
from ganlet.compress.freeze import require_same_pictures
from ganlet.compress.importance import Scores, channel_scores, require_importance
from ganlet.compress.prune import Kept, Rule, remove_channels, size_mb
from ganlet.compress.tuning import no_step, tuning_plan
from ganlet.errors import GanletError
from ganlet.models.base import Generator
from ganlet.models.config import GeneratorConfig
from ganlet.recipe import Prune, Recipe
from ganlet.training.load import generator_config_of, load_generator
from ganlet.training.plan import Plan

STAGE = STAGE_OF_STEP["prune"]


def section_of(recipe: Recipe) -> tuple[int, Prune]:
    """The recipe's pruning, and its number among the steps of [[compress]]. Raises GanletError where it has none."""
    for number, step in enumerate(recipe.compress):
        if isinstance(step, Prune):
            return number, step
    raise no_step(recipe, "prune")


def stage_name(prune: Prune, number: int) -> str:
    """Folder of what cut `number` (from 1) leaves: pruned/ for the last one."""
    return STAGE if number == prune.rounds else f"{STAGE}-round{number}"


def cut(recipe: Recipe, whole: Stage, current: Stage, number: int) -> Generator:
    """What cut `number` leaves of `current`; `whole` is the stage before the first one. All cuts are steps alike.

    Raises GanletError where nothing would be cut in the end, or the size asked for cannot be reached.
    """
    require_same_pictures(recipe, whole)
    (_, prune), before = section_of(recipe), generator_config_of(whole)
    generator = load_generator(current)
    scores = channel_scores(generator, prune.importance, recipe.run.seed)
    kept = _kept(prune, before, generator.config, scores, number)
    cut_down = remove_channels(generator, kept)
    if number == prune.rounds and cut_down.config.widths == before.widths:
        raise GanletError(
            f"[[compress]] cuts nothing of widths {before.widths} in steps of round_to = {prune.round_to}; lower "
            "round_to, or ask for more."
        )
    return cut_down


def _kept(prune: Prune, before: GeneratorConfig, now: GeneratorConfig, scores: Scores, number: int) -> Kept:
    rule, done = Rule(before.widths, prune.scope, prune.round_to), number / prune.rounds
    if prune.target_mb is None:
        return rule.keep(scores, (1 - (prune.ratio or 0.0)) ** done)
    whole_mb = size_mb(before)
    if whole_mb <= prune.target_mb:
        raise GanletError(
            f"[[compress]] asks for {prune.target_mb:g} MB, but the generator takes {whole_mb:.3g} MB already; lower "
            "target_mb, or remove the section."
        )
    return rule.keep_below_mb(scores, now, whole_mb * (prune.target_mb / whole_mb) ** done)


def planned_widths(prune: Prune, before: GeneratorConfig, number: int) -> tuple[int, ...]:
    """The widths after cut `number` if each layer loses the same part: all that is known before there are weights."""
    uniform = prune.model_copy(update={"scope": "uniform"})
    kept = _kept(uniform, before, before, [torch.zeros(width) for width in before.widths], number)
    return tuple(map(len, kept))


def planned_config(prune: Prune, before: GeneratorConfig, number: int) -> GeneratorConfig:
    """The config after cut `number`, as far as it is known before there are weights.

    Raises GanletError for an importance that such a generator does not have.
    """
    require_importance(prune.importance, before)
    return before.without_spectral().with_widths(planned_widths(prune, before, number))


def tune_plan(recipe: Recipe, whole: Stage, widths: tuple[int, ...], turn: int) -> Plan:
    """Fine-tuning of `widths` after cut `turn`: a distillation of `whole`, by its own critic."""
    number, prune = section_of(recipe)
    student = generator_config_of(whole).without_spectral().with_widths(widths)
    return tuning_plan(recipe, number, whole, stage_name(prune, turn), student)


def save_cut(folder: Path, generator: Generator, whole: Stage, provenance: dict[str, Any]) -> Stage:
    """Write what a cut left as a stage that was not trained; the critic, where there is one, is the whole's."""
    networks: dict[str, Any] = {
        "generator": (GENERATOR, generator.config.model_dump(mode="json"), generator.state_dict())
    }
    if "critic" in whole.config:
        networks["critic"] = (CRITIC, whole.config["critic"], whole.tensors(CRITIC))
    return save_stage(folder, stage=STAGE, networks=networks, provenance=provenance, training={})
