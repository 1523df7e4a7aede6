"""DCGAN (Radford et al. 2016) by widths; the base work's teacher, student and critic are configs of it.

State-dict keys are the base work's: `layer1.0.weight` (convolution), `layer1.1.*` (norm), `final.0.*`, `output.0.*`.
The other blocks have a number more: `layer2.0.0.weight`, `layer2.0.1.weight` (depthwise and 1 x 1, or resize alone).
"""

from collections.abc import Callable, Iterator
from typing import cast

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ganlet.models.config import FIRST_SIZE_PX, Block, CriticConfig, GeneratorConfig, Norm

LEAK = 0.2


def _norm(kind: Norm, channels: int) -> list[nn.Module]:
    if kind == "batch":
        return [nn.BatchNorm2d(channels)]
    if kind == "instance":
        return [nn.InstanceNorm2d(channels, affine=True)]
    return []


def _maybe_spectral(layer: nn.Module, spectral: bool) -> nn.Module:
    return spectral_norm(layer) if spectral else layer


def _hidden_layers(network: nn.Module, depth: int) -> list[nn.Sequential]:
    return [cast(nn.Sequential, network.get_submodule(f"layer{number}")) for number in range(1, depth + 1)]


def _transposed(entering: int, width: int, kernel: int, stride: int, spectral: bool) -> nn.Module:
    return _maybe_spectral(nn.ConvTranspose2d(entering, width, kernel, stride, (kernel - stride) // 2), spectral)


def _separable(entering: int, width: int, kernel: int, stride: int, spectral: bool) -> nn.Module:
    """A kernel for each channel, then 1 x 1 over the channels (Howard et al. 2017, MobileNets, section 3.1)."""
    depthwise = nn.ConvTranspose2d(entering, entering, kernel, stride, (kernel - stride) // 2, groups=entering)
    return nn.Sequential(_maybe_spectral(depthwise, spectral), _maybe_spectral(nn.Conv2d(entering, width, 1), spectral))


def _resize(entering: int, width: int, kernel: int, stride: int, spectral: bool) -> nn.Module:
    """Nearest neighbours, then a convolution of an odd kernel (Odena et al. 2016, Deconvolution and Checkerboard)."""
    odd = kernel - 1 + kernel % 2
    convolution = nn.Conv2d(entering, width, odd, 1, odd // 2)
    return nn.Sequential(nn.Upsample(scale_factor=stride), _maybe_spectral(convolution, spectral))


BLOCKS: dict[Block, Callable[[int, int, int, int, bool], nn.Module]] = {
    "transposed": _transposed,
    "separable": _separable,
    "resize": _resize,
}


class Generator(nn.Module):
    """Pictures from latents.

    forward: z (N, latent) float -> images (N, channels, size, size) float in [-1, 1].
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        inputs, outputs = [config.latent, *config.widths], [*config.widths, config.channels]
        kernels, strides = [FIRST_SIZE_PX, *config.kernels], [1, *config.strides]
        last = len(config.widths)
        for number, (entering, width, kernel, stride) in enumerate(
            zip(inputs, outputs, kernels, strides, strict=True), start=1
        ):
            if number in (1, last + 1):  # from the latent, and to the colours
                padding = 0 if number == 1 else (kernel - stride) // 2
                made = _maybe_spectral(nn.ConvTranspose2d(entering, width, kernel, stride, padding), config.spectral)
            else:
                made = BLOCKS[config.block](entering, width, kernel, stride, config.spectral)
            if number > last:
                self.final = nn.Sequential(made)
            else:
                norm = _norm(config.norm, width)
                self.add_module(f"layer{number}", nn.Sequential(made, *norm, nn.ReLU(inplace=True)))
        self.output = nn.Tanh()

    def blank(self) -> "Generator":
        """One of the same kind, with the weights torch gives it."""
        return Generator(self.config)

    def layers(self) -> list[nn.Sequential]:
        """All layers from the latent on; the last one makes the colours."""
        return [*_hidden_layers(self, len(self.config.widths)), self.final]

    def features(self, z: Tensor) -> Iterator[Tensor]:
        """Yield what each hidden layer makes of z, (N, widths[i], h, w), and at last the images."""
        x = z.reshape(z.shape[0], self.config.latent, 1, 1)
        for layer in self.layers()[:-1]:
            x = layer(x)
            yield x
        yield self.output(self.final(x))  # (N, channels, size, size) in [-1, 1]

    def forward(self, z: Tensor) -> Tensor:
        x = z.reshape(z.shape[0], self.config.latent, 1, 1)
        for layer in self.layers():  # not by way of `features`, whose last maps would outlive the picture
            x = layer(x)
        images: Tensor = self.output(x)  # (N, channels, size, size) in [-1, 1]
        return images


class Critic(nn.Module):
    """A raw score per picture (logit of "real" for the losses with a sigmoid, which live in `ganlet.losses`).

    forward: images (N, channels, size, size) float -> scores (N,) float.
    """

    def __init__(self, config: CriticConfig) -> None:
        super().__init__()
        self.config = config
        inputs = [config.channels, *config.widths[:-1]]
        for number, (entering, width) in enumerate(zip(inputs, config.widths, strict=True), start=1):
            convolution = _maybe_spectral(nn.Conv2d(entering, width, 4, 2, 1), config.spectral)
            parts = [convolution, *_norm(config.norm, width), nn.LeakyReLU(LEAK, inplace=True)]
            self.add_module(f"layer{number}", nn.Sequential(*parts))
        self.output = nn.Sequential(
            _maybe_spectral(nn.Conv2d(config.widths[-1], 1, FIRST_SIZE_PX, 1, 0), config.spectral)
        )

    def layers(self) -> list[nn.Sequential]:
        """All layers from the picture on; the last one makes the score."""
        return [*_hidden_layers(self, len(self.config.widths)), self.output]

    def features(self, images: Tensor) -> Iterator[Tensor]:
        """Yield what each hidden layer makes, (N, widths[i], h, w), and at last the scores (N,)."""
        x = images
        for layer in self.layers()[:-1]:
            x = layer(x)
            yield x
        yield self.output(x).reshape(images.shape[0])

    def forward(self, images: Tensor) -> Tensor:
        *_, scores = self.features(images)
        return scores
