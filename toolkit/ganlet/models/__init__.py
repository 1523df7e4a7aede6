"""Model families. A network is its config (widths) and nothing else; a new family is one file and one line here."""

from ganlet.models import dcgan
from ganlet.models.adapters import Adapters, hidden_pairs
from ganlet.models.config import CriticConfig, GeneratorConfig, partners
from ganlet.models.dcgan import Critic, Generator
from ganlet.models.init import copy_strongest_channels, initialise

GENERATORS = {"dcgan": dcgan.Generator}
CRITICS = {"dcgan": dcgan.Critic}


def build_generator(config: GeneratorConfig) -> Generator:
    """The generator that `config` describes, with the weights torch gives it."""
    return GENERATORS[config.family](config)


def build_critic(config: CriticConfig) -> Critic:
    """The critic that `config` describes, with the weights torch gives it."""
    return CRITICS[config.family](config)


__all__ = [
    "CRITICS",
    "GENERATORS",
    "Adapters",
    "Critic",
    "CriticConfig",
    "Generator",
    "GeneratorConfig",
    "build_critic",
    "build_generator",
    "copy_strongest_channels",
    "hidden_pairs",
    "initialise",
    "partners",
]
