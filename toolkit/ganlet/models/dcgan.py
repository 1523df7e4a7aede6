"""DCGAN (Radford et al. 2016) by widths; the base work's teacher, student and critic are configs of it.

State-dict keys are the base work's: `layer1.0.weight` (convolution), `layer1.1.*` (norm), `final.0.*`, `output.0.*`.
The other blocks have a number more: `layer2.0.0.weight`, `layer2.0.1.weight` (depthwise and 1 x 1, or resize alone).
"""

from collections.abc import Callable, Iterator
from typing import cast

import torch
from torch import Tensor, nn

from ganlet.device.feed import Ports, label_port, z_port
from ganlet.models.blocks import LabelVectors, maybe_spectral, norm_layers, through
from ganlet.models.config import FIRST_SIZE_PX, Block, CriticConfig, GeneratorConfig

LEAK = 0.2


def _hidden_layers(network: nn.Module, depth: int) -> list[nn.Sequential]:
    return [cast(nn.Sequential, network.get_submodule(f"layer{number}")) for number in range(1, depth + 1)]


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


class Generator(nn.Module):
    """Pictures from latents.

    forward: z (N, latent) float, and with classes label (N,) int64 -> images (N, channels, size, size) in [-1, 1].
    A label enters as a learnt vector beside the latent (Mirza and Osindero 2014), or by conditional batch norms.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        entering = config.latent
        norm_classes = config.classes if config.condition == "batch-norm" else None
        if config.classes is not None and config.condition == "concatenate":
            self.embedding = LabelVectors(config.classes)
            entering += LabelVectors.length(config.classes)
        inputs, outputs = [entering, *config.widths], [*config.widths, config.channels]
        kernels, strides = [FIRST_SIZE_PX, *config.kernels], [1, *config.strides]
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

    @property
    def ports(self) -> Ports:
        """What it takes."""
        z = z_port(self.config.latent)
        return (z, label_port(self.config.classes, self.config.class_names)) if self.config.classes else (z,)

    def blank(self) -> "Generator":
        """One of the same kind, with the weights torch gives it."""
        return Generator(self.config)

    def layers(self) -> list[nn.Sequential]:
        """All layers from the latent on; the last one makes the colours."""
        return [*_hidden_layers(self, len(self.config.widths)), self.final]

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


class Critic(nn.Module):
    """A raw score per picture (logit of "real" for the losses with a sigmoid, which live in `ganlet.losses`).

    forward: images (N, channels, size, size) float, and label (N,) int64 with classes -> scores (N,) float. A label
    adds the product of its vector with the last hidden maps, summed over their places (Miyato and Koyama 2018, equation
    3), or enters as constant maps beside the colours.
    """

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
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
        return [*_hidden_layers(self, len(self.config.widths)), self.output]

    @property
    def sees(self) -> tuple[str, ...]:
        """The ports of the generator that it is shown beside the pictures."""
        return ("label",) if self.config.classes is not None else ()

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

    def forward(self, images: Tensor, label: Tensor | None = None) -> Tensor:
        *_, scores = self.features(images, label)
        return scores
