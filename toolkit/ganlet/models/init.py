"""Weights before training: drawn from a seed, or taken from a larger network of the same shape."""

from typing import cast

import torch
from torch import nn

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
def copy_strongest_channels(student: Generator, teacher: Generator) -> None:
    """Start `student` from the teacher's strongest channels: those with the largest batch-norm scale x weight norm.

    Both must have the same depth, latent, strides, kernels and norm, and the student no width above its teacher's:
    `can_start_from` tells. Kept channels keep their order, so that equal widths copy the teacher exactly.
    """
    kept = torch.arange(teacher.config.latent)
    for mine, theirs in zip(student.layers(), teacher.layers(), strict=True):
        target, source = cast(nn.ConvTranspose2d, mine[0]), cast(nn.ConvTranspose2d, theirs[0])
        weight = source.weight[kept]  # ConvTranspose2d: (in, out, k, k)
        strength = weight.flatten(2).norm(dim=(0, 2))  # (out,)
        for norm in list(theirs)[1:]:
            if isinstance(norm, nn.BatchNorm2d | nn.InstanceNorm2d):
                strength = norm.weight.abs() * strength
        chosen = strength.topk(target.out_channels).indices.sort().values
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
