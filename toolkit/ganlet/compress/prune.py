"""Pruning: whole channels leave a generator, and what remains is an ordinary config with ordinary weights."""

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ganlet.compress.importance import Scores, channel_group, dependency_graph, plain_copy
from ganlet.errors import GanletError
from ganlet.files import MB
from ganlet.models.base import Generator
from ganlet.models.blocks import ConditionalBatchNorm2d, channel_count, channel_weight
from ganlet.models.config import GeneratorConfig
from ganlet.models.families import build_generator
from ganlet.training.load import load_strict

Scope = Literal["global", "uniform"]
Kept = list[Tensor]
"""Indices of the channels that stay, ascending, for each hidden layer."""


@dataclass(frozen=True)
class Rule:
    """How many channels stay. Shares are of the widths that the generator had before its first cut."""

    before: tuple[int, ...]
    scope: Scope
    round_to: int

    def keep(self, scores: Scores, share: float) -> Kept:
        """The channels to keep: the best `share` of all, each layer's count then rounded.

        A layer keeps at least `round_to` channels (all where it has fewer), so that none is cut through.
        """
        counts = [share * width for width in self.before]
        if self.scope == "global":
            everything = torch.cat(scores)
            layer = torch.cat([torch.full((len(s),), number) for number, s in enumerate(scores)])
            chosen = everything.argsort(descending=True, stable=True)[: _half_up(share * sum(self.before))]
            counts = [float((layer[chosen] == number).sum()) for number in range(len(scores))]
        widths = [self._rounded(count, len(s)) for count, s in zip(counts, scores, strict=True)]
        return best_channels(scores, widths)

    def _rounded(self, count: float, width: int) -> int:
        return min(width, max(self.round_to, _half_up(count / self.round_to) * self.round_to))

    def keep_below_mb(self, scores: Scores, config: GeneratorConfig, target_mb: float) -> Kept:
        """The most channels whose weights.safetensors is at most `target_mb` (10^6 bytes).

        Raises GanletError when even the fewest that the rule allows are too many.
        """
        total = sum(self.before)  # channels; the size grows with how many of them stay

        def mb(channels: int) -> float:
            return size_mb(narrowed(config, self.keep(scores, channels / total)))

        if (least_mb := mb(0)) > target_mb:
            raise GanletError(
                f"[[compress]] asks for {target_mb:g} MB, but {self.round_to} channels a layer are the fewest it "
                f"allows and take {least_mb:.3g} MB; lower round_to, or raise target_mb."
            )
        most = bisect.bisect_right(range(total + 1), target_mb, key=mb) - 1
        return self.keep(scores, most / total)


def best_channels(scores: Scores, widths: Sequence[int]) -> Kept:
    """The `widths[i]` channels of layer i with the highest scores; of equal ones the first."""
    return [
        s.argsort(descending=True, stable=True)[:width].sort().values for s, width in zip(scores, widths, strict=True)
    ]


def narrowed(config: GeneratorConfig, kept: Kept) -> GeneratorConfig:
    """The config of the generator that keeps those channels."""
    return config.without_spectral().with_widths(tuple(len(indices) for indices in kept))


def size_mb(config: GeneratorConfig) -> float:
    """Size of weights.safetensors of a generator."""
    return len(save(dict(build_generator(config).state_dict()))) / MB


def remove_channels(generator: Generator, kept: Kept) -> Generator:
    """A new generator in eval mode with only the kept channels, loaded strictly into the config of its widths.

    It draws what the old one draws with the weights, bias and norm of the other channels at zero (`zero_channels`).
    """
    cut = plain_copy(generator)
    graph = dependency_graph(cut)
    for module, indices in zip(cut.cuts(), kept, strict=True):
        gone = sorted(set(range(channel_count(module))) - set(indices.tolist()))
        if gone:
            channel_group(graph, module, gone).prune()
    result = build_generator(narrowed(generator.config, kept))
    load_strict(result, cut.state_dict(), "The pruned generator")
    return result.eval()


@torch.no_grad()
def zero_channels(generator: Generator, kept: Kept) -> Generator:
    """A copy, as wide as before, with all but the kept channels silent: weights, bias, norm scale and shift are 0."""
    silent = plain_copy(generator)
    layers = silent.layers()
    for layer, following, module, indices in zip(layers, layers[1:], silent.cuts(), kept, strict=False):
        gone = torch.ones(channel_count(module), dtype=torch.bool)
        gone[indices] = False
        channel_weight(module)[:, gone] = 0
        norms = [part for part in layer if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d | nn.InstanceNorm2d)]
        alone = [m for m in following.modules() if isinstance(m, nn.ConvTranspose2d) and m.groups > 1]  # depthwise
        parts: list[Any] = [module, *norms, *alone]
        for part in parts:
            if part.bias is not None:
                part.bias[gone] = 0
        for part in (*norms, *alone):
            part.weight[gone] = 0
        for norm in [part for part in layer if isinstance(part, ConditionalBatchNorm2d)]:
            norm.gain.weight[:, gone] = 0  # (classes, out)
            norm.bias.weight[:, gone] = 0
    return silent


def _half_up(value: float) -> int:
    return math.floor(value + 0.5)
