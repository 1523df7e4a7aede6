"""What every family gives: a generator, a critic, and the classes that describe them."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

from torch import Tensor, nn

from ganlet.device.feed import Ports, label_port, z_port
from ganlet.models.blocks import Weighted, maker
from ganlet.models.config import CriticConfig, CriticNetwork, GeneratorConfig, Network


class Generator(nn.Module):
    """Pictures (N, channels, size, size) in [-1, 1] from a feed. The argument names of forward are its inputs."""

    config: Any  # the family's own GeneratorConfig

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def ports(self) -> Ports:
        """What it takes."""
        z = z_port(self.config.latent)
        return (z, label_port(self.config.classes, self.config.class_names)) if self.config.classes else (z,)

    def blank(self) -> Self:
        """One of the same kind, with the weights torch gives it."""
        return type(self)(self.config)

    def layers(self) -> list[nn.Sequential]:
        """All layers from the latent on, in the order in which freezing counts them; the last one makes the colours."""
        raise NotImplementedError

    def features(self, *, z: Tensor, label: Tensor | None = None) -> Iterator[Tensor]:
        """Yield what each hidden layer makes, (N, widths[i], ...), and at last the images."""
        raise NotImplementedError

    def cuts(self) -> list[Weighted]:
        """For each hidden layer the module that makes its channels, which pruning may cut. [] cannot be pruned."""
        return [maker(layer) for layer in self.layers()[:-1]]


class Critic(nn.Module):
    """A raw score per picture (logit of "real" for the losses with a sigmoid, which live in `ganlet.losses`)."""

    config: Any  # the family's own CriticConfig

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def sees(self) -> tuple[str, ...]:
        """The ports of the generator that it is shown beside the pictures."""
        return ("label",) if self.config.classes is not None else ()

    def layers(self) -> list[nn.Sequential]:
        """All layers from the picture on; the last one makes the score."""
        raise NotImplementedError

    def features(self, images: Tensor, label: Tensor | None = None) -> Iterator[Tensor]:
        """Yield what each hidden layer makes, (N, widths[i], ...), and at last the scores (N,)."""
        raise NotImplementedError

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        *_, scores = self.features(images, label)
        return scores


@dataclass(frozen=True)
class Family:
    """One kind of networks: what a recipe says of them, what a stage keeps of them, and how they are made."""

    network: type[Network]
    critic: type[CriticNetwork]
    generator_config: type[GeneratorConfig]
    critic_config: type[CriticConfig]
    make_generator: Callable[[Any], Generator]
    make_critic: Callable[[Any], Critic]
