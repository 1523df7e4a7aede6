"""What the layers of several families are made of: norms, label vectors, spectral normalisation."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ganlet.models.config import Norm

MOST_EMBEDDED = 32


class LabelVectors(nn.Embedding):
    """A learnt vector for each class, as long as there are classes, but at most MOST_EMBEDDED numbers.

    forward: label (N,) int64 -> (N, length).
    """

    def __init__(self, classes: int) -> None:
        super().__init__(classes, self.length(classes))

    @staticmethod
    def length(classes: int) -> int:
        return min(classes, MOST_EMBEDDED)

    def draw_weights(self, drawn: torch.Generator) -> None:
        """Standard normal, as the latents beside which they stand."""
        self.weight.copy_(torch.randn(self.weight.shape, generator=drawn))


class ConditionalBatchNorm2d(nn.Module):
    """Batch norm whose gain and bias are those of each picture's class (Dumoulin et al. 2017, section 2.2).

    forward: x (N, C, H, W), label (N,) int64 -> (N, C, H, W). It begins as the plain norm: gains 1, biases 0.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Embedding(classes, channels)
        self.bias = nn.Embedding(classes, channels)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        self.norm.reset_parameters()
        nn.init.ones_(self.gain.weight)
        nn.init.zeros_(self.bias.weight)

    def draw_weights(self, drawn: torch.Generator) -> None:
        self.reset_parameters()

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        scaled: Tensor = self.norm(x) * self.gain(label)[:, :, None, None] + self.bias(label)[:, :, None, None]
        return scaled


def hidden_layers(network: nn.Module) -> list[nn.Sequential]:
    """The layers that a network has under the names layer1, layer2, ..., in this order."""
    names = (name for name, _ in network.named_children())
    numbers = sorted(int(name.removeprefix("layer")) for name in names if name.removeprefix("layer").isdecimal())
    return [cast(nn.Sequential, network.get_submodule(f"layer{number}")) for number in numbers]


def through(layer: nn.Sequential, x: Tensor, label: Tensor | None) -> Tensor:
    """What a layer makes of x; its conditional norm is told the label."""
    for part in layer:
        x = part(x, label) if isinstance(part, ConditionalBatchNorm2d) else part(x)
    return x


def norm_layers(kind: Norm, channels: int, classes: int | None = None) -> list[nn.Module]:
    if classes is not None:
        return [ConditionalBatchNorm2d(channels, classes)]
    if kind == "batch":
        return [nn.BatchNorm2d(channels)]
    if kind == "instance":
        return [nn.InstanceNorm2d(channels, affine=True)]
    return []


def maybe_spectral(layer: nn.Module, spectral: bool) -> nn.Module:
    return spectral_norm(layer) if spectral else layer


Weighted = nn.ConvTranspose2d | nn.Conv2d | nn.Linear


def weighted_modules(layer: nn.Module) -> list[Weighted]:
    """The convolutions and fully connected modules of a layer, in their order."""
    return [module for module in layer.modules() if isinstance(module, Weighted)]


def maker(layer: nn.Module) -> Weighted:
    """The module that makes the channels of a layer: of two the second, which mixes the channels."""
    return weighted_modules(layer)[-1]


def channel_weight(module: Weighted) -> Tensor:
    """A view of its weight as (in, out, ...)."""
    return module.weight if isinstance(module, nn.ConvTranspose2d) else module.weight.transpose(0, 1)


def channel_count(module: Weighted) -> int:
    """How many channels a module makes."""
    return module.out_features if isinstance(module, nn.Linear) else module.out_channels


def entering_count(module: Weighted) -> int:
    """How many channels a module reads."""
    return module.in_features if isinstance(module, nn.Linear) else module.in_channels
