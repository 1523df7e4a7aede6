"""A feature net for a training loss, which is not the net that judges: AlexNet, with the heads of LPIPS.

Weights: package stlpips-pytorch (BSD 2-Clause; Ghildyal and Liu 2022, "Shift-tolerant Perceptual Similarity Metric"),
a plain state dict that is read without importing the package.
"""

import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ganlet.errors import GanletError, words_of
from ganlet.losses.distillation import perceptual

PACKAGE, WEIGHTS = "stlpips_pytorch", "weights/vST0.0/alex_shift_tolerant.pth"
LEAST_SIZE_PX = 32  # below, its last maps would be smaller than their padding
# (channels in, channels out, kernel, padding) of each convolution, by the name that it has in the file
CONVOLUTIONS = {
    "slice1.0": (3, 64, 11, 2),
    "slice2.5": (64, 192, 5, 2),
    "slice3.9": (192, 384, 3, 1),
    "slice4.11": (384, 256, 3, 1),
    "slice5.13": (256, 256, 3, 1),
}
POOLED = {"slice2.5": True, "slice3.9": True, "slice4.11": False, "slice5.13": False}  # before the convolution


class PerceptualNet(nn.Module):
    """LPIPS of two batches of pictures. Its parameters are never trained."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, k, padding=p).requires_grad_(False) for i, o, k, p in CONVOLUTIONS.values()
        )
        self.heads = nn.ParameterList(
            nn.Parameter(torch.ones(out), requires_grad=False) for _, out, _, _ in CONVOLUTIONS.values()
        )
        # ImageNet's mean and deviation for pixels in [-1, 1] (Zhang et al. 2018, their published code)
        self.register_buffer("shift", torch.tensor([-0.030, -0.088, -0.188]).reshape(1, 3, 1, 1))
        self.register_buffer("scale", torch.tensor([0.458, 0.448, 0.450]).reshape(1, 3, 1, 1))

    def features(self, images: Tensor) -> list[Tensor]:
        """Maps of five layers of images (N, 1 or 3, H, W) in [-1, 1]; small pictures are enlarged to 32 pixels."""
        if images.shape[2] < LEAST_SIZE_PX:
            images = F.interpolate(images, size=LEAST_SIZE_PX, mode="bilinear", align_corners=False)
        x = (images.expand(-1, 3, -1, -1) - self.shift) / self.scale
        maps = []
        for name, convolution in zip(CONVOLUTIONS, self.convolutions, strict=True):
            if POOLED.get(name):
                x = _blurred_half(F.max_pool2d(x, 3, 1))
            x = convolution(x)
            x = F.relu(_blurred_half(x) if name == "slice1.0" else x)
            maps.append(x)
        return maps

    def forward(self, drawn: Tensor, taught: Tensor) -> Tensor:
        """Scalar distance of `drawn` (N, C, H, W) from `taught`, to which no gradient runs back."""
        with torch.no_grad():
            wanted = self.features(taught)
        return perceptual(self.features(drawn), wanted, self.heads)

    def load(self) -> None:
        """Read the published weights. Raises GanletError where the package is missing or holds something else."""
        path = weights_path()
        try:
            known = torch.load(path, map_location="cpu", weights_only=True)
            for number, (name, mine) in enumerate(zip(CONVOLUTIONS, self.convolutions, strict=True)):
                mine.load_state_dict({key: known[f"net.{name}.{key}"] for key in ("weight", "bias")})
                self.heads[number].data.copy_(known[f"lin{number}.model.1.weight"].flatten())
        except Exception as error:  # a file of another release can fail in any way
            raise GanletError(f"{path} does not hold the perceptual net ({words_of(error)}); {_remedy()}") from error


def _blurred_half(maps: Tensor) -> Tensor:
    """Every second pixel after a blur by 1-2-1 (Zhang 2019, "Making Convolutional Networks Shift-Invariant Again")."""
    row = maps.new_tensor([0.25, 0.5, 0.25])
    kernel = (row[:, None] * row).expand(maps.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(maps, (2, 2, 2, 2), mode="reflect"), kernel, stride=2, groups=maps.shape[1])


def weights_path() -> Path:
    """The file of weights. Raises GanletError where the package is not installed."""
    spec = importlib.util.find_spec(PACKAGE)  # located, not imported: only the file is wanted
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / WEIGHTS
        if path.is_file():
            return path
    raise GanletError(f"The perceptual distance needs the package stlpips-pytorch, not installed here; {_remedy()}")


def _remedy() -> str:
    return 'run `pip install "ganlet[perceptual]"`, or set distill.perceptual = 0.'
