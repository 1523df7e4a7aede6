"""Weights from elsewhere: a state dict becomes a stage of a run. Files are untrusted: no pickled objects are loaded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ganlet.artifact import CONFIG, CRITIC, GENERATOR, Stage, is_stage, save_stage
from ganlet.commands.import_weights.choosing import Candidate, Role, Shapes, candidates, choose, misfits
from ganlet.commands.import_weights.numbers import as_float32, refuse_kinds
from ganlet.commands.import_weights.reading import read_content
from ganlet.errors import GanletError
from ganlet.files import sha256_file
from ganlet.models.config import CriticNetwork, Ends, GeneratorConfig
from ganlet.models.families import FAMILIES, build_critic, build_generator
from ganlet.recipe import Distill, Recipe, Teacher, load_recipe, save_recipe
from ganlet.training.plan import teacher_ends

CLASS_WEIGHTS = ("embedding.weight", "layer1.1.gain.weight")
SHOWN = 5  # names in a message
Build = Callable[[Candidate], nn.Module]
"""The network that a candidate would be of. Raises GanletError where it cannot be any."""


@dataclass(frozen=True)
class Taken:
    """A network of a foreign file: its tensors as ours has them, where they lay, and what there is to say of that."""

    network: nn.Module
    tensors: dict[str, torch.Tensor]
    chosen: str
    notes: tuple[str, ...]


def import_stage(
    weights: Path,
    recipe: Recipe,
    stage: str,
    run: Path,
    critic: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Stage:
    """Make RUN/STAGE of a generator's state dict (and its critic's) that fits the recipe's network.

    `say` is told what was chosen of a checkpoint that holds more, and what was converted. Raises GanletError when the
    file holds no generator that fits, or RUN already holds the stage.
    """
    section = {"teacher": recipe.teacher, "student": recipe.distill}.get(stage)
    if section is None:
        raise GanletError(
            f"--stage {stage} cannot be imported like recipe {recipe.run.name}; expected teacher (its [teacher] "
            "section) or student (its [distill] section)."
        )
    if (run / stage / CONFIG).exists():
        holds = "already holds a stage" if is_stage(run / stage) else f"holds a {CONFIG} of another program"
        raise GanletError(f"{run / stage} {holds}; choose another --out.")
    if critic is not None and not isinstance(section.critic, CriticNetwork):
        raise GanletError(f"--critic {critic}: recipe {recipe.run.name} has no [critic] widths to build it; add them.")
    in_file = read_candidates(weights)
    generator = take(in_file, "generator", _generator_of(section, recipe, weights), weights)
    networks: dict[str, Any] = {"generator": (GENERATOR, _config(generator.network), generator.tensors)}
    notes, digest = [f"generator: {note}" for note in generator.notes], sha256_file(weights)
    made_from = {"file": weights.name, "sha256": sha256_file(weights), "generator": generator.chosen}
    own = _take_critic(section, recipe, weights, in_file, critic)
    if isinstance(own, Taken):
        networks["critic"] = (CRITIC, _config(own.network), own.tensors)
        notes += [f"critic: {note}" for note in own.notes]
        made_from["critic"] = own.chosen
    elif own:
        notes.append(own)
    digest += sha256_file(critic) if critic is not None else ""
    for note in notes:
        say(note)
    _keep_recipe(recipe, run / "recipe.toml")
    provenance = {
        "key": f"imported {digest}",
        "recipe_sha256": recipe.sha256,
        "data_sha256": None,
        "seed": None,
        "made_from": made_from | {"notes": notes},
    }
    return save_stage(run / stage, stage=stage, networks=networks, provenance=provenance, training={})


def read_candidates(path: Path) -> list[Candidate]:
    """The sets of tensors in a file of weights. Raises GanletError for a file that holds none."""
    content = read_content(path)
    in_file = candidates(content)
    if not in_file:
        kind = type(content).__name__
        keys = f" with the keys {', '.join(map(repr, list(content)[:SHOWN]))}" if isinstance(content, dict) else ""
        raise GanletError(f"{path} holds a {kind}{keys}, expected a state dict of tensors; save model.state_dict().")
    return in_file


def take(in_file: list[Candidate], role: Role, build: Build, path: Path) -> Taken:
    """The network of a role among the candidates of the file at `path`.

    Raises GanletError where none fits, several do and differ, or its numbers are no weights.
    """

    def expected(candidate: Candidate) -> Shapes | None:
        try:
            return _shapes(build(candidate))
        except GanletError:
            return None

    best, others = choose(in_file, role, expected)
    if not best:
        raise _no_fit(in_file, role, build, path)
    if len(best) > 1:
        raise GanletError(
            f"{path} holds several {role}s that fit, under {' and '.join(map(str, best[:SHOWN]))}; save the state dict "
            "of the one that is meant."
        )
    chosen = best[0]
    network = build(chosen)
    tensors, changes = as_float32(chosen.tensors, network.state_dict(), str(path))
    notes = list(changes)
    if chosen.where or chosen.prefix or others:
        average = " (an average of the weights)" if chosen.is_average and role == "generator" else ""
        beside = f"; {' and '.join(map(str, others[:SHOWN]))} would fit as well" if others else ""
        notes.insert(0, f"taken from {chosen}{average}{beside}")
    left = [c for c in in_file if c.is_average and c.rank(role) == 0 and c not in (*best, *others)]
    if role == "generator" and not chosen.is_average and left and (shapes := expected(left[0])) is not None:
        notes.append(f"the average in {left[0]} does not fit: {'; '.join(misfits(left[0].tensors, shapes))}")
    return Taken(network, tensors, str(chosen), tuple(notes))


def _no_fit(in_file: list[Candidate], role: Role, build: Build, path: Path) -> GanletError:
    """Why no candidate fits: of the one that has the most names and shapes in common with the network."""
    nearest, faults, likeness = in_file[0], [""], -1
    for candidate in in_file:
        try:
            shapes = _shapes(build(candidate))
        except GanletError as error:
            if likeness < 0:
                faults = [str(error)]
            continue
        alike = sum(name in shapes for name in candidate.tensors)
        if alike > likeness:
            nearest, faults, likeness = candidate, misfits(candidate.tensors, shapes), alike
    refuse_kinds(nearest.tensors, str(path))
    if likeness < 0:
        return GanletError(faults[0])
    place = f" of {nearest}" if nearest.where or nearest.prefix else ""
    names = ", ".join(list(nearest.tensors)[:SHOWN])
    return GanletError(
        f"{path}{place} does not fit the {role} of the recipe ({'; '.join(faults)}; it holds {len(nearest.tensors)} "
        f"tensors: {names}{', ...' if len(nearest.tensors) > SHOWN else ''}); give the recipe that made it."
    )


def _generator_of(section: Teacher | Distill, recipe: Recipe, path: Path) -> Build:
    config_class = FAMILIES[section.family].generator_config

    def build(candidate: Candidate) -> nn.Module:
        if isinstance(section, Teacher):
            return build_generator(config_class.of(section, teacher_ends(section, recipe.data)))
        # A teacher's latent stands in the recipe, a student's is its teacher's.
        ends = Ends(1, recipe.data.size, recipe.data.channels, classes_of(candidate.tensors))
        latent = _latent_of(candidate, lambda latent: config_class.of(section, replace(ends, latent=latent)), path)
        try:
            return build_generator(config_class.of(section, replace(ends, latent=latent)))
        except ValidationError as error:
            raise GanletError(
                f"{path} reads latents of {latent} numbers, which no generator can; give the weights of another one."
            ) from error

    return build


def _latent_of(candidate: Candidate, config: Callable[[int], GeneratorConfig], path: Path) -> int:
    """The length of a candidate's latents, by the first weight whose shape depends on it."""
    shapes, longer = (_shapes(build_generator(config(latent))) for latent in (1, 2))
    name = next(name for name in shapes if shapes[name] != longer[name])
    axis = next(axis for axis, (one, two) in enumerate(zip(shapes[name], longer[name], strict=True)) if one != two)
    first = candidate.tensors.get(name)
    if first is None or first.dim() != len(shapes[name]):
        names = ", ".join(list(candidate.tensors)[:SHOWN])
        raise GanletError(
            f"{path} has no {name} of {len(shapes[name])} dimensions but {names}; expected a Ganlet or base-work "
            "generator."
        )
    return int(first.shape[axis]) - shapes[name][axis] + 1


def classes_of(tensors: Mapping[str, Tensor]) -> int | None:
    """The number of classes of a generator's state dict, by its label vectors or its first conditional norm."""
    rows = next((tensors[name] for name in CLASS_WEIGHTS if name in tensors), None)
    return None if rows is None else len(rows)


def _take_critic(
    section: Teacher | Distill, recipe: Recipe, weights: Path, in_file: list[Candidate], path: Path | None
) -> Taken | str:
    """The critic of its own file, or that which lies beside the generator; else what there is to say, or nothing."""
    if not isinstance(section.critic, CriticNetwork):
        return ""
    classes = recipe.teacher.classes if recipe.teacher is not None else None
    ends = Ends(1, recipe.data.size, recipe.data.channels, classes)  # no critic knows the latent
    config = FAMILIES[section.family].critic_config.of(section.critic, ends)

    def build(candidate: Candidate) -> nn.Module:
        return build_critic(config)

    if path is not None:
        return take(read_candidates(path), "critic", build, path)
    named = [candidate for candidate in in_file if candidate.rank("critic") < 2]
    if not named:
        return ""
    try:
        return take(named, "critic", build, weights)
    except GanletError as error:
        return f"the critic beside it is left out: {error}"


def _config(network: nn.Module) -> dict[str, Any]:
    config: dict[str, Any] = network.config.model_dump(mode="json")  # type: ignore[union-attr, operator]
    return config


def _shapes(network: nn.Module) -> Shapes:
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _keep_recipe(recipe: Recipe, path: Path) -> None:
    """Write the run's recipe. Raises GanletError when the run has another one."""
    if path.is_file() and load_recipe(path) != recipe:
        raise GanletError(
            f"{path} is another recipe than {recipe.run.name}; choose another --out, or import like that one."
        )
    save_recipe(recipe, path)
