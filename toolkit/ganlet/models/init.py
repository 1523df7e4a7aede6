"""Weights before training: drawn from a seed, or taken from a larger network of the same shape."""

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
        source = theirs[0]
        weight: Tensor = source.weight[kept]  # type: ignore[index,assignment]  # ConvTranspose2d: (in, out, k, k)
        width = mine[0].weight.shape[1]  # type: ignore[union-attr,index]
        strength = weight.flatten(2).norm(dim=(0, 2))  # (out,)
        if len(theirs) > 2 and getattr(theirs[1], "weight", None) is not None:
            strength = theirs[1].weight.abs() * strength  # type: ignore[operator,union-attr]
        chosen = strength.topk(width).indices.sort().values
        mine[0].weight.copy_(weight[:, chosen])  # type: ignore[union-attr,operator]
        mine[0].bias.copy_(source.bias[chosen])  # type: ignore[union-attr,operator,index]
        for part, origin in zip(mine[1:], theirs[1:], strict=True):
            for name, tensor in part.state_dict(keep_vars=True).items():
                values = origin.state_dict()[name]
                tensor.copy_(values[chosen] if values.dim() else values)
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
