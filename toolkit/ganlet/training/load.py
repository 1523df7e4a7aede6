"""Networks rebuilt from a stage's folder."""

from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from torch import nn

from ganlet.artifact import CRITIC, GENERATOR, Stage
from ganlet.errors import GanletError
from ganlet.models.base import Critic, Family, Generator
from ganlet.models.config import CriticConfig, GeneratorConfig
from ganlet.models.families import build_critic, build_generator, family_of_json

Role = Literal["generator", "critic"]
Config = TypeVar("Config", bound=BaseModel)


def generator_config_of(stage: Stage) -> GeneratorConfig:
    """The generator's config. Raises GanletError when config.json does not hold one."""
    return _config(stage, "generator", family_of(stage, "generator").generator_config)


def critic_config_of(stage: Stage) -> CriticConfig:
    """The critic's config. Raises GanletError when the stage has none (an imported generator)."""
    if "critic" not in stage.config:
        raise GanletError(
            f"{stage.folder} holds no critic, as a stage that was imported or compressed; make a fresh one: give the "
            "recipe a [distill.critic] with widths."
        )
    return _config(stage, "critic", family_of(stage, "critic").critic_config)


def family_of(stage: Stage, role: Role) -> Family:
    """The family of a stage's generator or critic. Raises GanletError for one that this version does not know."""
    return family_of_json(stage.config[role], f"{stage.folder}/config.json")


def load_generator(stage: Stage) -> Generator:
    """The generator in eval mode on the processor, weights verified and loaded strictly."""
    generator = build_generator(generator_config_of(stage))
    load_strict(generator, stage.tensors(GENERATOR), str(stage.folder / GENERATOR))
    return generator.eval()


def load_critic(stage: Stage) -> Critic:
    """The critic on the processor, weights verified and loaded strictly."""
    critic = build_critic(critic_config_of(stage))
    load_strict(critic, stage.tensors(CRITIC), str(stage.folder / CRITIC))
    return critic


def load_strict(network: nn.Module, tensors: dict[str, Any], origin: str) -> None:
    """Load a state dict whose names and shapes must be the network's. Raises GanletError naming what differs."""
    mine = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    theirs = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    missing, foreign = sorted(mine.keys() - theirs.keys()), sorted(theirs.keys() - mine.keys())
    shapes = [f"{n}: {theirs[n]}, expected {mine[n]}" for n in mine if n in theirs and mine[n] != theirs[n]]
    faults = [f"missing {', '.join(missing[:4])}"] if missing else []
    faults += [f"unknown {', '.join(foreign[:4])}"] if foreign else []
    faults += [f"shape of {'; '.join(shapes[:4])}"] if shapes else []
    if faults:
        raise GanletError(
            f"{origin} does not fit the network of the config ({'; '.join(faults)}); give the recipe that made it."
        )
    network.load_state_dict(tensors, strict=True)


def _config(stage: Stage, role: Role, kind: type[Config]) -> Config:
    try:
        return kind.model_validate(stage.config[role])
    except ValidationError as error:
        raise GanletError(
            f"{stage.folder}/config.json does not describe a {role} ({error.error_count()} faults, first: "
            f"{error.errors()[0]['msg']}); restore it or run the stage again."
        ) from error
