"""DCGAN (Radford et al. 2016) by widths; the base work's teacher, student and critic are configs of it.

State-dict keys are the base work's: `layer1.0.weight` (convolution), `layer1.1.*` (norm), `final.0.*`, `output.0.*`.
The other blocks have a number more: `layer2.0.0.weight`, `layer2.0.1.weight` (depthwise and 1 x 1, or resize alone).
"""

import math
from collections.abc import Callable, Iterator
from itertools import accumulate
from operator import mul
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from ganlet.models import base, config
from ganlet.models.blocks import LabelVectors, hidden_layers, maybe_spectral, norm_layers, through
from ganlet.models.config import Ends, Norm, Widths

Block = Literal["transposed", "separable", "resize"]
LEAK = 0.2
FIRST_SIZE_PX = 4  # the first generator layer makes 4 x 4 pixels from the latent, the critic's last layer reads 4 x 4


# ---------------------------------------------------------------- keys of a recipe


class Network(config.Network):
    """What a generator is: its widths, and nothing hidden."""

    widths: Widths
    """Channels after each transposed convolution but the last, which makes the colours."""
    strides: tuple[Annotated[int, Field(ge=1, le=8)], ...] | None = None
    """Upsampling of each layer after the first (one per width): 2 each unless told."""
    kernels: tuple[Annotated[int, Field(ge=1, le=32)], ...] | None = None
    """Kernel of each layer after the first: twice its stride (plus one if odd) unless told; kernel - stride is even."""
    norm: Norm = "batch"
    spectral: bool = False
    block: Block = "transposed"
    """How the hidden layers after the first scale up: a transposed convolution, a depthwise-separable one (a kernel a
    channel, then 1 x 1), or a nearest-neighbour resize and a convolution of the odd kernel (4 becomes 3)."""
    condition: Literal["concatenate", "batch-norm"] = "concatenate"
    """How the label of a conditional generator enters: as a vector beside the latent, or by a gain and a bias of each
    class in every batch norm."""

    shape_keys: ClassVar[tuple[str, ...]] = ("widths", "strides", "kernels")

    @property
    def all_strides(self) -> tuple[int, ...]:
        """The stride of each layer after the first."""
        return self.strides or (2,) * len(self.widths)

    @property
    def all_kernels(self) -> tuple[int, ...]:
        """The kernel of each layer after the first."""
        return self.kernels or tuple(2 * stride + stride % 2 for stride in self.all_strides)

    def faults(self, size_px: int | None = None) -> Iterator[str]:
        if self.condition == "batch-norm" and self.norm != "batch":
            yield f'condition: batch-norm needs norm = "batch", got "{self.norm}"; use concatenate'
        depth = len(self.widths)
        if depth == 0:  # a student by a fraction of its teacher's widths
            return
        for key, values in (("strides", self.strides), ("kernels", self.kernels)):
            if values is not None and len(values) != depth:
                yield f"{key}: {len(values)} values for {depth} widths; give one for each"
                return
        for kernel, stride in zip(self.all_kernels, self.all_strides, strict=True):
            if kernel < stride or (kernel - stride) % 2:
                yield f"kernels: kernel {kernel} and stride {stride} must differ by 0, 2, 4, ... to scale exactly"
        makes_px = FIRST_SIZE_PX * math.prod(self.all_strides)
        if size_px is not None and makes_px != size_px:
            product = f"{FIRST_SIZE_PX} x {' x '.join(map(str, self.all_strides))} = {makes_px}"
            remedy = nearest_size(size_px, has_strides=self.strides is not None)
            yield f"widths: {depth} widths make {product} pixels, but data.size = {size_px}; {remedy}"

    @classmethod
    def size_hint(cls, size_px: int) -> str:
        return nearest_size(size_px)


class CriticNetwork(config.CriticNetwork):
    widths: Widths
    """Channels after each strided convolution; each halves the picture."""
    norm: Norm = "none"
    spectral: bool = True
    """Spectral normalisation of every convolution."""
    condition: Literal["concatenate", "projection"] = "projection"
    """How a conditional critic is shown the label: as maps beside the colours, or by a product with its last maps."""

    @property
    def mixes_samples(self) -> bool:
        return self.norm == "batch"

    def faults(self, size_px: int | None = None) -> Iterator[str]:
        reads_px = FIRST_SIZE_PX * 2 ** len(self.widths)
        if size_px is not None and reads_px != size_px:
            yield (
                f"widths: {len(self.widths)} widths read {reads_px} pixels, but data.size = {size_px}; "
                f"{nearest_size(size_px)}"
            )


def nearest_size(size_px: int, has_strides: bool = False) -> str:
    """What to do where widths and size do not fit: every width doubles the side, from 4 pixels on.

    Only a generator has strides, which scale it otherwise; its critic reads such sizes alone all the same.
    """
    depth = min(range(2, 7), key=lambda widths: (abs(FIRST_SIZE_PX * 2**widths - size_px), -widths))
    nearest_px = FIRST_SIZE_PX * 2**depth
    if nearest_px == size_px:
        return f"give strides whose product is {2**depth}" if has_strides else f"give {depth} widths"
    return f"the nearest size that a generator and its critic both have is {nearest_px}, with {depth} widths"


# ---------------------------------------------------------------- configs of networks


class GeneratorConfig(Network, config.GeneratorConfig):
    """A generator of (transposed) convolutions: latent -> widths[0] x 4 x 4 -> ... -> channels x size x size."""

    family: Literal["dcgan"] = "dcgan"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for fault in self.faults():
            raise ValueError(fault)
        return self

    @classmethod
    def of(cls, network: config.Network, ends: Ends) -> Self:
        if isinstance(network, Network):  # a config has every value written out
            network = network.model_copy(update={"strides": network.all_strides, "kernels": network.all_kernels})
        return super().of(network, ends)

    @property
    def size_px(self) -> int:
        return FIRST_SIZE_PX * math.prod(self.all_strides)

    @property
    def map_sizes(self) -> list[tuple[int, ...]]:
        return [(FIRST_SIZE_PX * scale,) * 2 for scale in accumulate([1, *self.all_strides], mul)]


class CriticConfig(CriticNetwork, config.CriticConfig):
    """A critic of strided convolutions (kernel 4, stride 2, padding 1) and one 4 x 4 convolution to a raw score."""

    family: Literal["dcgan"] = "dcgan"


# ---------------------------------------------------------------- networks


def _transposed(entering: int, width: int, kernel: int, stride: int, spectral: bool) -> nn.Module:
    return maybe_spectral(nn.ConvTranspose2d(entering, width, kernel, stride, (kernel - stride) // 2), spectral)


def _separable(entering: int, width: int, kernel: int, stride: int, spectral: bool) -> nn.Module:
    """A kernel for each channel, then 1 x 1 over the channels (Howard et al. 2017, MobileNets, section 3.1)."""
    depthwise = nn.ConvTranspose2d(entering, entering, kernel, stride, (kernel - stride) // 2, groups=entering)
    return nn.Sequential(maybe_spectral(depthwise, spectral), maybe_spectral(nn.Conv2d(entering, width, 1), spectral))


def _resize(entering: int, width: int, kernel: int, stride: int, spectral: bool) -> nn.Module:
    """Nearest neighbours, then a convolution of an odd kernel (Odena et al. 2016, Deconvolution and Checkerboard)."""
    odd = kernel - 1 + kernel % 2
    convolution = nn.Conv2d(entering, width, odd, 1, odd // 2)
    return nn.Sequential(nn.Upsample(scale_factor=stride), maybe_spectral(convolution, spectral))


BLOCKS: dict[Block, Callable[[int, int, int, int, bool], nn.Module]] = {
    "transposed": _transposed,
    "separable": _separable,
    "resize": _resize,
}


class Generator(base.Generator):
    """Pictures from latents.

    forward: z (N, latent) float, and with classes label (N,) int64 -> images (N, channels, size, size) in [-1, 1].
    A label enters as a learnt vector beside the latent (Mirza and Osindero 2014), or by conditional batch norms.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__(config)
        entering = config.latent
        norm_classes = config.classes if config.condition == "batch-norm" else None
        if config.classes is not None and config.condition == "concatenate":
            self.embedding = LabelVectors(config.classes)
            entering += LabelVectors.length(config.classes)
        inputs, outputs = [entering, *config.widths], [*config.widths, config.channels]
        kernels, strides = [FIRST_SIZE_PX, *config.all_kernels], [1, *config.all_strides]
        last = len(config.widths)
        for number, (entering, width, kernel, stride) in enumerate(
            zip(inputs, outputs, kernels, strides, strict=True), start=1
        ):
            if number in (1, last + 1):  # from the latent, and to the colours
                padding = 0 if number == 1 else (kernel - stride) // 2
                made = maybe_spectral(nn.ConvTranspose2d(entering, width, kernel, stride, padding), config.spectral)
            else:
                made = BLOCKS[config.block](entering, width, kernel, stride, config.spectral)
            if number > last:
                self.final = nn.Sequential(made)
            else:
                norm = norm_layers(config.norm, width, norm_classes)
                self.add_module(f"layer{number}", nn.Sequential(made, *norm, nn.ReLU(inplace=True)))
        self.output = nn.Tanh()

    def layers(self) -> list[nn.Sequential]:
        """All layers from the latent on; the last one makes the colours."""
        return [*hidden_layers(self), self.final]

    def entering(self, z: Tensor, label: Tensor | None) -> Tensor:
        """What the first layer reads: (N, latent, 1, 1), the label's vector behind the latent where one is learnt."""
        if label is not None and self.config.condition == "concatenate":
            z = torch.cat([z, self.embedding(label)], dim=1)
        return z.reshape(z.shape[0], -1, 1, 1)

    def features(self, z: Tensor, label: Tensor | None = None) -> Iterator[Tensor]:
        """Yield what each hidden layer makes of z, (N, widths[i], h, w), and at last the images."""
        x = self.entering(z, label)
        for layer in self.layers()[:-1]:
            x = through(layer, x, label)
            yield x
        yield self.output(self.final(x))  # (N, channels, size, size) in [-1, 1]

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        x = self.entering(z, label)
        for layer in self.layers():  # not by way of `features`, whose last maps would outlive the picture
            x = through(layer, x, label)
        images: Tensor = self.output(x)  # (N, channels, size, size) in [-1, 1]
        return images


class Critic(base.Critic):
    """A raw score per picture (logit of "real" for the losses with a sigmoid, which live in `ganlet.losses`).

    forward: images (N, channels, size, size) float, and label (N,) int64 with classes -> scores (N,) float. A label
    adds the product of its vector with the last hidden maps, summed over their places (Miyato and Koyama 2018, equation
    3), or enters as constant maps beside the colours.
    """

    def __init__(self, config: CriticConfig) -> None:
        super().__init__(config)
        seen: int = config.channels
        if config.classes is not None:
            if config.condition == "projection":
                self.embedding = maybe_spectral(nn.Embedding(config.classes, config.widths[-1]), config.spectral)
            else:
                self.embedding = LabelVectors(config.classes)
                seen += LabelVectors.length(config.classes)
        inputs = [seen, *config.widths[:-1]]
        for number, (entering, width) in enumerate(zip(inputs, config.widths, strict=True), start=1):
            convolution = maybe_spectral(nn.Conv2d(entering, width, 4, 2, 1), config.spectral)
            parts = [convolution, *norm_layers(config.norm, width), nn.LeakyReLU(LEAK, inplace=True)]
            self.add_module(f"layer{number}", nn.Sequential(*parts))
        self.output = nn.Sequential(
            maybe_spectral(nn.Conv2d(config.widths[-1], 1, FIRST_SIZE_PX, 1, 0), config.spectral)
        )

    def layers(self) -> list[nn.Sequential]:
        """All layers from the picture on; the last one makes the score."""
        return [*hidden_layers(self), self.output]

    def features(self, images: Tensor, label: Tensor | None = None) -> Iterator[Tensor]:
        """Yield what each hidden layer makes, (N, widths[i], h, w), and at last the scores (N,)."""
        x = images
        if label is not None and self.config.condition == "concatenate":
            maps = self.embedding(label)[:, :, None, None].expand(-1, -1, *images.shape[2:])
            x = torch.cat([images, maps], dim=1)
        for layer in self.layers()[:-1]:
            x = layer(x)
            yield x
        scores: Tensor = self.output(x).reshape(images.shape[0])
        if label is not None and self.config.condition == "projection":
            scores = scores + (self.embedding(label) * x.sum(dim=(2, 3))).sum(dim=1)
        yield scores


FAMILY = base.Family(
    network=Network,
    critic=CriticNetwork,
    generator_config=GeneratorConfig,
    critic_config=CriticConfig,
    make_generator=Generator,
    make_critic=Critic,
)
