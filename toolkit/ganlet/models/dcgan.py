"""DCGAN (Radford et al. 2016) by widths; the base work's teacher, student and critic are configs of it.

State-dict keys are the base work's: `layer1.0.weight` (convolution), `layer1.1.*` (norm), `final.0.*`, `output.0.*`.
"""

from collections.abc import Iterator
from typing import cast

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from ganlet.models.config import FIRST_SIZE_PX, CriticConfig, GeneratorConfig, Norm

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


class Generator(nn.Module):
    """Pictures from latents.

    forward: z (N, latent) float -> images (N, channels, size, size) float in [-1, 1].
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        outputs = [*config.widths, config.channels]
        first = nn.ConvTranspose2d(config.latent, outputs[0], FIRST_SIZE_PX, 1, 0)
        convolutions = [first] + [
            nn.ConvTranspose2d(inputs, out, kernel, stride, (kernel - stride) // 2)
            for inputs, out, kernel, stride in zip(
                config.widths, outputs[1:], config.kernels, config.strides, strict=True
            )
        ]
        for number, (convolution, width) in enumerate(zip(convolutions[:-1], config.widths, strict=True), start=1):
            parts = [_maybe_spectral(convolution, config.spectral), *_norm(config.norm, width), nn.ReLU(inplace=True)]
            self.add_module(f"layer{number}", nn.Sequential(*parts))
        self.final = nn.Sequential(_maybe_spectral(convolutions[-1], config.spectral))
        self.output = nn.Tanh()

    def layers(self) -> list[nn.Sequential]:
        """All layers from the latent on; the last one makes the colours."""
        return [*_hidden_layers(self, len(self.config.widths)), self.final]

    def forward(self, z: Tensor) -> Tensor:
        x = z.reshape(z.shape[0], self.config.latent, 1, 1)
        for layer in self.layers():
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
