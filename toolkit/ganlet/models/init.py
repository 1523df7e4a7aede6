"""Weights before training: drawn from a seed, or taken from a larger network of the same shape."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganlet.models.base import Generator
from ganlet.models.blocks import (
    ConditionalBatchNorm2d,
    LabelVectors,
    Weighted,
    channel_count,
    channel_weight,
    entering_count,
    maker,
    weighted_modules,
)
from ganlet.models.config import GeneratorConfig, partners


@torch.no_grad()
def initialise(network: nn.Module, seed: int) -> None:
    """Redraw every weight from N(0, 0.02^2) (Radford et al. 2016, section 4), biases 0, norms 1 and 0.

    A module with a method `draw_weights(generator)` draws its own. Depends on `seed` alone, not on torch's global
    state. Raises TypeError for a parameter that no rule is for: it would keep what torch drew.
    """
    drawn = torch.Generator().manual_seed(seed)
    ruled: set[nn.Parameter] = set()
    done: set[nn.Module] = set()  # parts of a module that drew its own
    for module in network.modules():
        if module in done:
            continue
        if hasattr(module, "draw_weights"):
            module.draw_weights(drawn)  # type: ignore[operator]
            ruled.update(module.parameters())
            done.update(module.modules())
        elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear | nn.Embedding):
            weight = module.parametrizations.weight.original if hasattr(module, "parametrizations") else module.weight  # type: ignore[union-attr]
            weight.copy_(torch.randn(weight.shape, generator=drawn) * 0.02)  # type: ignore[operator,arg-type]
            bias = getattr(module, "bias", None)
            nn.init.zeros_(bias) if bias is not None else None
            ruled.update([weight] if bias is None else [weight, bias])  # type: ignore[list-item]
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.InstanceNorm2d):
            module.reset_parameters()
            ruled.update(module.parameters())
        if hasattr(module, "_u"):  # the power iteration's vectors of spectral normalisation
            for vector in (module._u, module._v):
                drawn_vector = torch.randn(vector.shape, generator=drawn)  # type: ignore[arg-type]
                vector.copy_(drawn_vector / drawn_vector.norm())  # type: ignore[operator]
    _require_ruled(network, ruled)


def _require_ruled(network: nn.Module, ruled: set[nn.Parameter]) -> None:
    left = [name for name, parameter in network.named_parameters() if parameter not in ruled]
    if left:
        raise TypeError(f"no rule draws the weights of {', '.join(left)}; give their module a method draw_weights")


@torch.no_grad()
def strength(layer: nn.Sequential, inputs: Tensor | None = None) -> Tensor:
    """Norm scale x norm of the weights that make each channel of a generator's layer, from `inputs` (all): (out,)."""
    weight = channel_weight(maker(layer))
    chosen = weight if inputs is None else weight[inputs]
    found: Tensor = chosen.reshape(*chosen.shape[:2], -1).norm(dim=(0, 2))
    for norm in list(layer)[1:]:
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d | nn.InstanceNorm2d):
            found = norm.weight.abs() * found
        elif isinstance(norm, ConditionalBatchNorm2d):
            found = norm.gain.weight.abs().mean(dim=0) * found  # over the classes
    return found


@torch.no_grad()
def copy_strongest_channels(student: Generator, teacher: Generator, scores: Sequence[Tensor] | None = None) -> None:
    """Start `student` from the teacher's best channels: by `scores`, (width,) for each hidden layer, or by `strength`.

    A layer of the student takes after its partner in the teacher (`partners`); what has none, or another kernel, stride
    or block, keeps the weights that it has, and so does what follows a layer that the teacher does not have there.
    `can_start_from` tells what stands in the way of all of it. Kept channels keep their order, so that equal widths
    copy the teacher exactly.
    """
    layers, sources = student.layers(), teacher.layers()
    latent = torch.arange(entering_count(weighted_modules(sources[0])[0]))  # a label's vector beside it included
    kept = {-1: latent}  # by layer of the teacher: which channels the student has of it
    before = -1
    for name, module in student.named_children():
        if isinstance(module, LabelVectors):
            module.load_state_dict(teacher.get_submodule(name).state_dict())
    for mine, partner in zip(layers, partners(student.config, teacher.config), strict=True):
        if partner is not None:
            follows = before == partner - 1 and before in kept
            entering = kept[before] if follows and _same_kind(mine, sources[partner]) else None
            known = scores[partner] if scores is not None and partner < len(scores) else None
            kept[partner] = _copy_layer(mine, sources[partner], entering, known)
        before = -2 if partner is None else partner


def _same_kind(mine: nn.Sequential, theirs: nn.Sequential) -> bool:
    """Whether both layers are the same block of the same geometry."""

    def geometry(layer: nn.Sequential) -> list[tuple[object, ...]]:
        scales = [(nn.Upsample, m.scale_factor) for m in layer.modules() if isinstance(m, nn.Upsample)]
        return [*scales, *((type(m), *_kernel(m)) for m in weighted_modules(layer))]

    return geometry(mine) == geometry(theirs)


def _kernel(module: Weighted) -> tuple[object, ...]:
    return () if isinstance(module, nn.Linear) else (module.kernel_size, module.stride)


def _copy_layer(mine: nn.Sequential, theirs: nn.Sequential, entering: Tensor | None, scores: Tensor | None) -> Tensor:
    """Choose the best of the teacher's channels of a layer (n,); copy them where its `entering` channels are known."""
    target, source = maker(mine), maker(theirs)
    judged = strength(theirs, entering) if scores is None else scores
    chosen: Tensor = judged.topk(channel_count(target)).indices.sort().values
    if entering is not None:
        channel_weight(target).copy_(channel_weight(source)[entering][:, chosen])
        _copy_values(target.bias, source.bias, chosen)
        for alone, origin in zip(weighted_modules(mine)[:-1], weighted_modules(theirs)[:-1], strict=True):  # depthwise
            alone.weight.copy_(origin.weight[entering])
            _copy_values(alone.bias, origin.bias, entering)
        for part, norm in zip(list(mine)[1:], list(theirs)[1:], strict=True):
            values = norm.state_dict()
            part.load_state_dict({name: v[..., chosen] if v.dim() else v for name, v in values.items()})
    return chosen


def _copy_values(mine: Tensor | None, theirs: Tensor | None, chosen: Tensor) -> None:
    if mine is not None and theirs is not None:
        mine.copy_(theirs[chosen])


def can_start_from(student: GeneratorConfig, teacher: GeneratorConfig) -> str | None:
    """None when `copy_strongest_channels` applies to networks of these configs, else what stands in its way."""
    for name in ("family", "latent", "classes", "condition", "norm", "channels"):
        mine, theirs = getattr(student, name, None), getattr(teacher, name, None)
        if mine != theirs:
            return f"the student's {name} {mine} differs from the teacher's {theirs}"
    if student != student.without_spectral() or teacher != teacher.without_spectral():
        return "spectral normalisation in a generator cannot be cut by channels"
    pairs = enumerate(partners(student, teacher)[:-1])
    if any(p is not None and student.widths[i] > teacher.widths[p] for i, p in pairs):
        return f"the student's widths {student.widths} exceed the teacher's {teacher.widths}"
    return None
