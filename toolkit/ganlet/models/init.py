"""Weights before training: drawn from a seed, or taken from a larger network of the same shape."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from ganlet.models.dcgan import Generator


@torch.no_grad()
def initialise(network: nn.Module, seed: int) -> None:
    """Redraw every convolution from N(0, 0.02^2) (Radford et al. 2016, section 4), biases 0, norms 1 and 0.

    Depends on `seed` alone, not on torch's global state.
    """
    drawn = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            weight = module.parametrizations.weight.original if hasattr(module, "parametrizations") else module.weight  # type: ignore[union-attr,index]
            weight.copy_(torch.randn(weight.shape, generator=drawn) * 0.02)  # type: ignore[union-attr,operator,arg-type]
            nn.init.zeros_(module.bias) if module.bias is not None else None
        elif isinstance(module, nn.BatchNorm2d | nn.InstanceNorm2d):
            module.reset_parameters()
        if hasattr(module, "_u"):  # the power iteration's vectors of spectral normalisation
            for vector in (module._u, module._v):
                drawn_vector = torch.randn(vector.shape, generator=drawn)  # type: ignore[union-attr,arg-type]
                vector.copy_(drawn_vector / drawn_vector.norm())  # type: ignore[operator]


@torch.no_grad()
def strength(layer: nn.Sequential, inputs: Tensor | None = None) -> Tensor:
    """Norm scale x norm of the weights that make each channel of a generator's layer, from `inputs` (all): (out,)."""
    weight = cast(nn.ConvTranspose2d, layer[0]).weight  # ConvTranspose2d: (in, out, k, k)
    found: Tensor = (weight if inputs is None else weight[inputs]).flatten(2).norm(dim=(0, 2))
    for norm in list(layer)[1:]:
        if isinstance(norm, nn.BatchNorm2d | nn.InstanceNorm2d):
            found = norm.weight.abs() * found
    return found


@torch.no_grad()
def copy_strongest_channels(student: Generator, teacher: Generator, scores: Sequence[Tensor] | None = None) -> None:
    """Start `student` from the teacher's best channels: by `scores`, (width,) for each hidden layer, or by `strength`.

    Both must have the same depth, latent, strides, kernels and norm, and the student no width above its teacher's:
    `can_start_from` tells. Kept channels keep their order, so that equal widths copy the teacher exactly.
    """
    kept = torch.arange(teacher.config.latent)
    for number, (mine, theirs) in enumerate(zip(student.layers(), teacher.layers(), strict=True)):
        target, source = cast(nn.ConvTranspose2d, mine[0]), cast(nn.ConvTranspose2d, theirs[0])
        weight = source.weight[kept]  # ConvTranspose2d: (in, out, k, k)
        judged = scores[number] if scores is not None and number < len(scores) else strength(theirs, kept)
        chosen = judged.topk(target.out_channels).indices.sort().values
        target.weight.copy_(weight[:, chosen])
        if target.bias is not None and source.bias is not None:
            target.bias.copy_(source.bias[chosen])
        for part, origin in zip(list(mine)[1:], list(theirs)[1:], strict=True):
            values = origin.state_dict()
            part.load_state_dict({name: v[chosen] if v.dim() else v for name, v in values.items()})
        kept = chosen


def can_start_from(student: Generator, teacher: Generator) -> str | None:
    """None when `copy_strongest_channels` applies, else what stands in its way."""
    for name in ("family", "latent", "strides", "kernels", "norm", "channels"):
        mine, theirs = getattr(student.config, name), getattr(teacher.config, name)
        if mine != theirs:
            return f"the student's {name} {mine} differs from the teacher's {theirs}"
    if student.config.spectral or teacher.config.spectral:
        return "spectral normalisation in a generator cannot be cut by channels"
    if any(s > t for s, t in zip(student.config.widths, teacher.config.widths, strict=True)):
        return f"the student's widths {student.config.widths} exceed the teacher's {teacher.config.widths}"
    return None
