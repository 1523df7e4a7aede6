"""Every family of networks: one visible dict. A new family is one file in this folder and one line here.

Importing this module imports torch, so the recipe room imports it only where it parses a recipe.
"""

from typing import Any

from ganlet.errors import GanletError
from ganlet.models import dcgan, mlp
from ganlet.models.base import Critic, Family, Generator
from ganlet.models.config import DEFAULT_FAMILY, CriticConfig, GeneratorConfig

FAMILIES: dict[str, Family] = {
    "dcgan": dcgan.FAMILY,
    "mlp": mlp.FAMILY,
}


def build_generator(config: GeneratorConfig) -> Generator:
    """The generator that `config` describes, with the weights torch gives it."""
    return FAMILIES[config.family].make_generator(config)


def build_critic(config: CriticConfig) -> Critic:
    """The critic that `config` describes, with the weights torch gives it."""
    return FAMILIES[config.family].make_critic(config)


def family_of_json(values: Any, origin: str) -> Family:
    """The family of a config as a stage keeps it. Raises GanletError, which names `origin`, for an unknown one."""
    name = values.get("family", DEFAULT_FAMILY) if isinstance(values, dict) else DEFAULT_FAMILY
    if not isinstance(name, str) or name not in FAMILIES:
        raise GanletError(
            f"{origin} holds a network of the family {name!r}, which this version of Ganlet does not know; expected "
            f"{' or '.join(FAMILIES)}."
        )
    return FAMILIES[name]
