"""How much each channel of a generator matters: one score a channel, the same numbers for pruning and for a start.

`strength`, `magnitude`, `batch-norm` and `group-norm` read the weights. `diversity` reads what the weights do: how much
a channel has to do with the differences between the pictures of different latents, which is what a GAN is for.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch_pruning import DependencyGraph, prune_conv_out_channels, prune_linear_out_channels
from torch_pruning.pruner.importance import BNScaleImportance, GroupMagnitudeImportance, MagnitudeImportance

from ganlet.errors import GanletError
from ganlet.models.base import Generator
from ganlet.models.blocks import Weighted, channel_count
from ganlet.models.config import GeneratorConfig
from ganlet.models.families import build_generator
from ganlet.models.init import strength
from ganlet.models.ports import TensorFeed, seeded_feed, split_feed, zeros
from ganlet.recipe import Importance
from ganlet.training.state import seed_of

Scores = list[Tensor]
"""(widths[i],) float32 for each hidden layer i, the more the better; layers are comparable."""

LATENTS, PROBES = 256, 16  # that `diversity` looks at, and through; between two draws of them ranks correlate to 0.9
PART = 32  # latents at a time, to save memory


def channel_scores(generator: Generator, importance: Importance, seed: int) -> Scores:
    """The scores of a generator as it draws in eval mode: a function of its weights and, for `diversity`, of `seed`.

    Raises GanletError where the importance does not apply (see `require_importance`), and where nothing can be cut.
    """
    require_importance(importance, generator.config)
    if not generator.cuts():
        raise GanletError(
            f'Generators of family = "{generator.config.family}" have no width that pruning may change; remove this '
            'step of [[compress]], or distil into a narrower student with distill.width and init = "random".'
        )
    return SCORES[importance](plain_copy(generator), seed)


def require_importance(importance: Importance, config: GeneratorConfig) -> None:
    """Raise GanletError where an importance has nothing to read in a generator of `config`."""
    norm = getattr(config, "norm", "none")
    conditional = config.classes is not None and getattr(config, "condition", "") == "batch-norm"
    if importance == "batch-norm" and (norm != "batch" or conditional):
        has = 'condition = "batch-norm", whose scales differ by class' if conditional else f'norm = "{norm}"'
        raise GanletError(
            f'importance = "batch-norm" reads the scales of batch norms, but the generator has {has}; choose '
            'importance = "diversity".'
        )


def diversity(generator: Generator, feed: TensorFeed, probes: Tensor) -> Scores:
    """The share that each channel has, to the first order, in the differences between the pictures of `feed`.

    With G(z_i) a picture, a_c(i) the activation of channel c that the next layer reads, and J_i the Jacobian of the
    picture in it, E_c(i) = J_i a_c(i) is what c adds to picture i to the first order: scaling a_c by 1 - t changes the
    difference of a pair, D_ij = G(z_i) - G(z_j), by -t (E_c(i) - E_c(j)). The score is

        mean |E_c(i) - E_c(j)|^2 / mean |D_ij|^2  over all pairs i < j  =  sum over pixels of Var E_c / Var G.

    A channel that adds the same to every picture has none. The squared norm is the mean of <u, .>^2 over the probes u,
    so that one backward pass a probe serves all channels: exact for sqrt(P) x an orthonormal basis of the P numbers of
    a picture, unbiased for random signs (Hutchinson 1990). No unit: layers compare as they are.
    feed: N >= 2 rows; probes: (K, channels, size, size) float.
    """
    seen: list[list[Tensor]] = []  # of each part of the feed: (K, part, widths[i]) of every layer
    pictures: list[Tensor] = []
    for part in split_feed(feed, PART):
        with torch.enable_grad():
            # (part, widths[i], h, w) of every hidden layer, and (part, channels, size, size)
            *activations, drawn = generator.features(**_traced(part))
        effects = [_effects(drawn, u.expand_as(drawn), activations) for u in probes]
        seen.append([torch.stack(of_layer) for of_layer in zip(*effects, strict=True)])
        pictures.append(drawn.detach())
    spread = torch.cat(pictures).double().var(dim=0).sum()
    projected = [torch.cat(of_layer, dim=1).double() for of_layer in zip(*seen, strict=True)]  # (K, N, widths[i])
    return [(p.var(dim=1).mean(dim=0) / spread.clamp_min(torch.finfo(torch.float32).tiny)).float() for p in projected]


def _traced(feed: TensorFeed) -> TensorFeed:
    """The feed with gradients, so that what is made of it has them in a generator whose weights have none."""
    return {name: rows.clone().requires_grad_() if rows.is_floating_point() else rows for name, rows in feed.items()}


def _effects(pictures: Tensor, along: Tensor, activations: Sequence[Tensor]) -> list[Tensor]:
    """<along(i), E_c(i)> of every picture and channel, (N, widths[i]) for each layer, by one backward pass."""
    gradients = torch.autograd.grad(pictures, activations, along, retain_graph=True)
    products = [g * a.detach() for g, a in zip(gradients, activations, strict=True)]
    return [p.sum(dim=tuple(range(2, p.ndim))) if p.ndim > 2 else p for p in products]


def _diversity(generator: Generator, seed: int) -> Scores:
    feed = seeded_feed(generator.ports, seed_of(seed, "importance"), 0, LATENTS)  # none that a verdict rests on
    shape = (PROBES, generator.config.channels, generator.config.size_px, generator.config.size_px)
    drawn = torch.Generator().manual_seed(seed_of(seed, "importance", "probes"))
    return diversity(generator, feed, torch.randint(0, 2, shape, generator=drawn) * 2.0 - 1.0)


def _strength(generator: Generator, seed: int) -> Scores:
    """Norm scale x norm of the weights that make the channel, as a share of the layer's mean."""
    found = [strength(layer) for layer in generator.layers()[:-1]]
    return [score / score.mean().clamp_min(torch.finfo(score.dtype).tiny) for score in found]


def _by_weights(judge: Callable[[Any], Tensor]) -> Callable[[Generator, int], Scores]:
    """Scores by one of torch-pruning's importances, which judges the group of weights that go with a channel."""

    def scores(generator: Generator, seed: int) -> Scores:
        # a layer of zeros has no mean to be a share of
        return [judge(group).detach().float().nan_to_num(0.0) for group in channel_groups(generator)]

    return scores


def channel_groups(generator: Generator) -> list[Any]:
    """torch-pruning's group of each hidden layer's channels: their weights, norm, and the inputs of the next layer."""
    graph = dependency_graph(generator)
    return [channel_group(graph, module, list(range(channel_count(module)))) for module in generator.cuts()]


def channel_group(graph: Any, module: Weighted, channels: list[int]) -> Any:
    """torch-pruning's group of some of the channels that a module makes."""
    cut = prune_linear_out_channels if isinstance(module, nn.Linear) else prune_conv_out_channels
    return graph.get_pruning_group(module, cut, idxs=channels)


def dependency_graph(generator: Generator) -> Any:
    """torch-pruning's graph of what belongs together in a generator without spectral normalisation."""
    example = zeros(generator.ports, 2)
    with torch.enable_grad():  # it follows what autograd notes
        return DependencyGraph().build_dependency(generator, example_inputs=example)


@torch.no_grad()
def plain_copy(generator: Generator) -> Generator:
    """A copy in eval mode on the processor, spectrally normalised weights replaced by the values that they draw with.

    Its ReLUs do not work in place: that would hide an instance norm before them from torch-pruning.
    """
    was_training = generator.training
    generator.eval()  # or reading a spectrally normalised weight would change it
    copied = build_generator(generator.config.without_spectral()).eval()
    for name, part in copied.named_modules():
        origin: Any = generator.get_submodule(name)
        for key, value in [*part.named_parameters(recurse=False), *part.named_buffers(recurse=False)]:
            value.copy_(getattr(origin, key))
        if isinstance(part, nn.ReLU):
            part.inplace = False
    generator.train(was_training)
    return copied


SCORES: dict[Importance, Callable[[Generator, int], Scores]] = {
    "strength": _strength,
    # squared norm of the weights that make the channel (Li et al. 2017), as a share of the layer's mean
    "magnitude": _by_weights(MagnitudeImportance(p=2, group_reduction="first")),
    # |gamma| (Liu et al. 2017, network slimming), as a share of the layer's mean
    "batch-norm": _by_weights(BNScaleImportance()),
    # squared norm of all that goes with the channel, the next layer's inputs too (Fang et al. 2023, DepGraph)
    "group-norm": _by_weights(GroupMagnitudeImportance(p=2)),
    "diversity": _diversity,
}
"""The recipe's word -> the function (generator, seed) -> scores."""
