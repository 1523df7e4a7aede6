"""A generator that draws in fp32 what its int8 file draws: the same folds, the same steps, gradients straight through.

Quantisation-aware training (Jacob et al. 2018, section 3): the forward pass rounds weights and activations as the file
of `ganlet.export.int8` does, and the backward pass takes rounding for the identity (straight-through, Bengio et al.
2013), with no gradient where a number was cut off. Batch norms keep their running statistics and are part of the
weights before those are rounded, as in the file.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ganlet.errors import GanletError
from ganlet.export.calibrate import LEVELS
from ganlet.export.int8 import UNSIGNED_LEVELS, LayerScales, Scale
from ganlet.models.config import GeneratorConfig
from ganlet.models.dcgan import Generator
from ganlet.models.families import build_generator

Convolution = nn.ConvTranspose2d | nn.Conv2d
LEAST_INT8 = -128  # of activations, as QuantizeLinear cuts them off; weights end at -127


class FakeQuantised(Generator):
    """A generator whose layers in `scales` are as in int8. Weights, state dict and config are those of the plain one.

    It draws the same in training and in eval mode. `scales`: layer, `layer2.0`, -> what is around it.
    """

    def __init__(self, config: Any, scales: Mapping[str, LayerScales]) -> None:
        super().__init__(config)
        self.scales = dict(scales)

    def blank(self) -> "FakeQuantised":
        return FakeQuantised(self.config, self.scales)

    def features(self, z: Tensor, label: Tensor | None = None) -> Iterator[Tensor]:
        """Yield what each hidden layer of the int8 file makes of z, (N, widths[i], h, w), and at last the images."""
        x = self.entering(z, label)
        for number in range(len(self.config.widths)):
            x = self._layer(number, x)
            yield x
        yield self.output(self._layer(len(self.config.widths), x))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        x = self.entering(z, label)
        for number in range(len(self.config.widths) + 1):
            x = self._layer(number, x)
        images: Tensor = self.output(x)  # (N, channels, size, size) in [-1, 1]
        return images

    def _layer(self, number: int, x: Tensor) -> Tensor:
        """What layer `number`, from 0, makes of x."""
        layer = self.layers()[number]
        prefix = f"layer{number + 1}" if number < len(self.config.widths) else "final"
        parts = [(f"{prefix}.{name}", part) for name, part in layer.named_modules() if not list(part.children())]
        following = [part for _, part in parts[1:]] + [None]
        for (name, part), after in zip(parts, following, strict=True):
            if isinstance(part, Convolution):
                x = self._convolution(name, part, after if isinstance(after, nn.BatchNorm2d) else None, x)
            elif not isinstance(part, nn.BatchNorm2d):
                x = part(x)
        return x

    def _convolution(self, name: str, part: Convolution, norm: nn.BatchNorm2d | None, x: Tensor) -> Tensor:
        weight, bias = folded(part, norm)
        scales = self.scales.get(name)
        if scales is None:
            return _convolved(part, x, weight, bias)
        if scales.entering is not None:
            x = fake_quantised(x, scales.entering)
        phases = part.kernel_size[0] if name == "layer1.0" else part.stride[0]  # of one pixel each place is one
        return fake_quantised(_convolved(part, x, fake_quantised_weight(weight, part, phases), bias), scales.leaving)


def folded(convolution: Convolution, norm: nn.BatchNorm2d | None) -> tuple[Tensor, Tensor | None]:
    """Weight and bias (out,) with the norm after it: (y - mean) / sqrt(var + eps) * gamma + beta, its running numbers.

    As `ganlet.export.fold` does (Ioffe and Szegedy 2015, Algorithm 1).
    """
    weight, bias = convolution.weight, convolution.bias
    if norm is None or norm.running_mean is None or norm.running_var is None:
        return weight, bias
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)  # (out,)
    shape = (1, -1, 1, 1) if isinstance(convolution, nn.ConvTranspose2d) else (-1, 1, 1, 1)
    shift = -norm.running_mean if bias is None else bias - norm.running_mean
    return weight * factor.reshape(shape), shift * factor + norm.bias


def fake_quantised(x: Tensor, scale: Scale) -> Tensor:
    """x rounded to the scale's steps and cut off at its ends: Jacob et al. 2018, equation 12, with zero point 0."""
    least, most = (0, UNSIGNED_LEVELS) if scale.unsigned else (LEAST_INT8, LEVELS)
    return torch.fake_quantize_per_tensor_affine(x.float(), scale.step, 0, least, most)


def fake_quantised_weight(weight: Tensor, convolution: Convolution, phases: int) -> Tensor:
    """The weight rounded to the steps that its row has in the file; a transposed one has a row for every output phase.

    weight: (in, out / groups, k, k) of a transposed convolution, (out, in / groups, k, k) of another.
    """
    if not isinstance(convolution, nn.ConvTranspose2d):
        rows = weight.permute(0, 2, 3, 1)  # (out, k, k, in / g)
        return _rounded(rows).permute(0, 3, 1, 2)
    groups, (entering, out, height, width) = convolution.groups, weight.shape
    split = (groups, entering // groups, out, height // phases, phases, width // phases, phases)
    parts = weight.reshape(split).permute(0, 2, 4, 6, 3, 5, 1)  # (g, out / g, i, j, m, n, in / g)
    parts = parts.flip(4, 5)  # as the Conv in its place has them
    rounded = _rounded(parts.reshape(groups * out * phases**2, *parts.shape[4:])).reshape(parts.shape)
    return rounded.flip(4, 5).permute(0, 6, 1, 4, 2, 5, 3).reshape(weight.shape)


def _rounded(rows: Tensor) -> Tensor:
    """Rows (R, m, n, in) to int8 steps of their own."""
    flat = rows.reshape(len(rows), -1)
    none = torch.zeros(len(flat), dtype=torch.int32, device=flat.device)
    rounded = torch.fake_quantize_per_channel_affine(flat.float(), row_steps(flat), none, 0, -LEVELS, LEVELS)
    return rounded.reshape(rows.shape)


@torch.no_grad()
def row_steps(rows: Tensor) -> Tensor:
    """Step of each row (R, n), whose neighbours are those of a runtime: as `export.int8.quantised_weight` has it."""
    even = functional.pad(rows.float(), (0, rows.shape[1] % 2)).reshape(len(rows), -1, 2)
    pairs = torch.maximum(even.clamp(min=0).sum(2).amax(1), (-even).clamp(min=0).sum(2).amax(1))
    largest = torch.maximum(rows.abs().amax(1), pairs)
    return torch.where(largest > 0, largest / LEVELS, torch.ones_like(largest))


def _convolved(part: Convolution, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    about: Any = {"stride": part.stride, "padding": part.padding, "groups": part.groups}
    if isinstance(part, nn.ConvTranspose2d):
        return functional.conv_transpose2d(x, weight, bias, **about)
    return functional.conv2d(x, weight, bias, **about)


def require_can_be_tuned(config: GeneratorConfig) -> None:
    """Raise GanletError for a generator whose int8 file cannot be imitated while training."""
    if config.family != "dcgan":
        raise GanletError(
            f'Quantisation-aware fine-tuning is made for family = "dcgan", got "{config.family}"; remove '
            "[compress.tune]: the int8 file is calibrated without it."
        )
    if config.classes is not None and getattr(config, "condition", "") == "batch-norm":
        raise GanletError(
            'Quantisation-aware fine-tuning does not know condition = "batch-norm"; remove [compress.tune], or set '
            'condition = "concatenate".'
        )


def planned_scales(config: GeneratorConfig) -> dict[str, LayerScales]:
    """Which layers of a generator will be in int8, before it has weights: all scales are 1.

    The last stays as it is, and so do transposed convolutions whose kernel is no multiple of their stride.
    """
    one = Scale(1.0)
    found: dict[str, LayerScales] = {}
    with torch.device("meta"):
        network = build_generator(config)
    before = None  # what the last layer gives is in int8
    for name, part in network.named_modules():
        if isinstance(part, nn.InstanceNorm2d):
            before = None
        if not isinstance(part, Convolution) or name.startswith("final"):
            continue
        if isinstance(part, nn.ConvTranspose2d) and part.kernel_size[0] % part.stride[0]:
            before = None
            continue
        found[name] = LayerScales(one if before is None else None, one)
        before = name
    return found
