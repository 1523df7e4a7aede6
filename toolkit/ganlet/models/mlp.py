"""Fully connected generator and critic (Goodfellow et al. 2014, section 5): the smallest and the fastest family.

State-dict keys: `layer1.0.weight` (fully connected), `layer1.1.*` (norm), `final.0.*`, `output.0.*`.
"""

from collections.abc import Iterator
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from ganlet.models import base, config
from ganlet.models.blocks import LabelVectors, hidden_layers, maybe_spectral
from ganlet.models.config import Count, Widths

LEAK = 0.2


class Network(config.Network):
    widths: Widths
    """How many numbers each hidden layer makes."""
    norm: Literal["batch", "none"] = "batch"
    spectral: bool = False


class CriticNetwork(config.CriticNetwork):
    widths: Widths
    """How many numbers each hidden layer makes."""
    spectral: bool = True
    """Spectral normalisation of every layer."""
    condition: Literal["concatenate", "projection"] = "projection"
    """How a conditional critic is shown the label: beside the pixels, or by a product with its last hidden layer."""


class GeneratorConfig(Network, config.GeneratorConfig):
    """latent -> widths[0] -> ... -> channels x size x size."""

    family: Literal["mlp"] = "mlp"
    size: Count = Field(le=1024)
    """Height and width of the pictures in pixels."""

    @property
    def size_px(self) -> int:
        return self.size

    @property
    def map_sizes(self) -> list[tuple[int, ...]]:
        return [*[()] * len(self.widths), (self.size, self.size)]


class CriticConfig(CriticNetwork, config.CriticConfig):
    """channels x size x size -> widths[0] -> ... -> a score."""

    family: Literal["mlp"] = "mlp"
    size: Count = Field(le=1024)
    """Height and width of the pictures in pixels."""


class Generator(base.Generator):
    """forward: z (N, latent) float, and with classes label (N,) int64, which enters as a learnt vector beside z."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        entering = config.latent
        if config.classes is not None:
            self.embedding = LabelVectors(config.classes)
            entering += LabelVectors.length(config.classes)
        for number, width in enumerate(config.widths, start=1):
            made = maybe_spectral(nn.Linear(entering, width), config.spectral)
            norm = [nn.BatchNorm1d(width)] if config.norm == "batch" else []
            self.add_module(f"layer{number}", nn.Sequential(made, *norm, nn.ReLU(inplace=True)))
            entering = width
        pixels = config.channels * config.size**2
        self.final = nn.Sequential(maybe_spectral(nn.Linear(entering, pixels), config.spectral))
        self.output = nn.Tanh()

    def layers(self) -> list[nn.Sequential]:
        return [*hidden_layers(self), self.final]

    def features(self, z: Tensor, label: Tensor | None = None) -> Iterator[Tensor]:
        x = z if label is None else torch.cat([z, self.embedding(label)], dim=1)
        for layer in hidden_layers(self):
            x = layer(x)  # (N, widths[i])
            yield x
        side = self.config.size
        yield self.output(self.final(x)).reshape(-1, self.config.channels, side, side)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        *_, images = self.features(z, label)
        return images  # (N, channels, size, size) in [-1, 1]


class Critic(base.Critic):
    """forward: images (N, channels, size, size) float, and with classes label (N,) int64 -> scores (N,)."""

    def __init__(self, config: CriticConfig) -> None:
        super().__init__(config)
        entering = config.channels * config.size**2
        if config.classes is not None:
            if config.condition == "projection":
                self.embedding = maybe_spectral(nn.Embedding(config.classes, config.widths[-1]), config.spectral)
            else:
                self.embedding = LabelVectors(config.classes)
                entering += LabelVectors.length(config.classes)
        for number, width in enumerate(config.widths, start=1):
            made = maybe_spectral(nn.Linear(entering, width), config.spectral)
            self.add_module(f"layer{number}", nn.Sequential(made, nn.LeakyReLU(LEAK, inplace=True)))
            entering = width
        self.output = nn.Sequential(maybe_spectral(nn.Linear(entering, 1), config.spectral))

    def layers(self) -> list[nn.Sequential]:
        return [*hidden_layers(self), self.output]

    def features(self, images: Tensor, label: Tensor | None = None) -> Iterator[Tensor]:
        x = images.flatten(1)
        if label is not None and self.config.condition == "concatenate":
            x = torch.cat([x, self.embedding(label)], dim=1)
        for layer in hidden_layers(self):
            x = layer(x)  # (N, widths[i])
            yield x
        scores: Tensor = self.output(x).reshape(images.shape[0])
        if label is not None and self.config.condition == "projection":  # Miyato and Koyama 2018, equation 3
            scores = scores + (self.embedding(label) * x).sum(dim=1)
        yield scores


FAMILY = base.Family(
    network=Network,
    critic=CriticNetwork,
    generator_config=GeneratorConfig,
    critic_config=CriticConfig,
    make_generator=Generator,
    make_critic=Critic,
)
