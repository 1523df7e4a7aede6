"""Weights before training: drawn from a seed, or taken from a larger network of the same shape."""

import torch
from torch import nn

from ganlet.models.config import partners
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

    A layer of the student takes after its partner in the teacher (`partners`); what has none, or another kernel, stride
    or block, keeps the weights that it has, and so does what follows a layer that the teacher does not have there.
    `can_start_from` tells what stands in the way of all of it. Kept channels keep their order, so that equal widths
    copy the teacher exactly.
    """
    kept = {-1: torch.arange(teacher.config.latent)}  # by layer of the teacher: which channels the student has of it
    before = -1
    layers, sources = student.layers(), teacher.layers()
    for mine, partner in zip(layers, partners(student.config, teacher.config), strict=True):
        if partner is not None:
            follows = before == partner - 1 and before in kept
            entering = kept[before] if follows and _same_kind(mine[0], sources[partner][0]) else None
            kept[partner] = _copy_layer(mine, sources[partner], entering)
        before = -2 if partner is None else partner


def _same_kind(mine: nn.Module, theirs: nn.Module) -> bool:
    """Whether both are transposed convolutions of the same geometry."""
    if not isinstance(mine, nn.ConvTranspose2d) or not isinstance(theirs, nn.ConvTranspose2d):
        return False
    return mine.kernel_size == theirs.kernel_size and mine.stride == theirs.stride


def _copy_layer(mine: nn.Sequential, theirs: nn.Sequential, entering: torch.Tensor | None) -> torch.Tensor:
    """Choose the teacher's strongest channels of a layer (n,); copy them where its `entering` channels are known."""
    source = next(m for m in theirs.modules() if isinstance(m, nn.ConvTranspose2d | nn.Conv2d) and m.groups == 1)
    weight = source.weight if isinstance(source, nn.ConvTranspose2d) else source.weight.transpose(0, 1)
    weight = weight if entering is None else weight[entering]  # (in, out, k, k)
    strength = weight.flatten(2).norm(dim=(0, 2))  # (out,)
    for norm in list(theirs)[1:]:
        if isinstance(norm, nn.BatchNorm2d | nn.InstanceNorm2d):
            strength = norm.weight.abs() * strength
    target = next(m for m in mine.modules() if isinstance(m, nn.ConvTranspose2d | nn.Conv2d) and m.groups == 1)
    chosen: torch.Tensor = strength.topk(target.out_channels).indices.sort().values
    if entering is not None:
        target.weight.copy_(weight[:, chosen])
        if target.bias is not None and source.bias is not None:
            target.bias.copy_(source.bias[chosen])
        for part, origin in zip(list(mine)[1:], list(theirs)[1:], strict=True):
            values = origin.state_dict()
            part.load_state_dict({name: v[chosen] if v.dim() else v for name, v in values.items()})
    return chosen


def can_start_from(student: Generator, teacher: Generator) -> str | None:
    """None when `copy_strongest_channels` applies, else what stands in its way."""
    for name in ("family", "latent", "norm", "channels"):
        mine, theirs = getattr(student.config, name), getattr(teacher.config, name)
        if mine != theirs:
            return f"the student's {name} {mine} differs from the teacher's {theirs}"
    if student.config.spectral or teacher.config.spectral:
        return "spectral normalisation in a generator cannot be cut by channels"
    pairs = enumerate(partners(student.config, teacher.config)[:-1])
    if any(p is not None and student.config.widths[i] > teacher.config.widths[p] for i, p in pairs):
        return f"the student's widths {student.config.widths} exceed the teacher's {teacher.config.widths}"
    return None
