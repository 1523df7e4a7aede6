"""Differentiable augmentation (Zhao et al. 2020, DiffAugment): the critic sees real and fake pictures alike changed.

Each function takes images (N, C, H, W) in [-1, 1] and a seeded generator on the processor; gradients pass through.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

TRANSLATION = 0.125  # of the width, each way
CUTOUT = 0.5  # side of the hole, of the width


def _uniform(images: Tensor, low: float, high: float, rng: torch.Generator) -> Tensor:
    drawn = torch.rand(images.shape[0], 1, 1, 1, generator=rng) * (high - low) + low
    return drawn.to(images.device, images.dtype)


def color(images: Tensor, rng: torch.Generator) -> Tensor:
    """Brightness +-0.5, saturation x[0, 2), contrast x[0.5, 1.5)."""
    images = images + _uniform(images, -0.5, 0.5, rng)
    grey = images.mean(dim=1, keepdim=True)
    images = (images - grey) * _uniform(images, 0, 2, rng) + grey
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return (images - mean) * _uniform(images, 0.5, 1.5, rng) + mean


def translation(images: Tensor, rng: torch.Generator) -> Tensor:
    """Shift by whole pixels, up to an eighth of the side each way; what comes in is mid-grey (0)."""
    count, _, height, width = images.shape
    reach = max(1, round(height * TRANSLATION))
    shift = torch.randint(-reach, reach + 1, (2, count, 1), generator=rng)
    rows = (torch.arange(height) + shift[0] + 1).clamp(0, height + 1)  # (N, H) into the padded picture
    columns = (torch.arange(width) + shift[1] + 1).clamp(0, width + 1)
    padded = F.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)  # (N, H + 2, W + 2, C)
    sample = torch.arange(count)[:, None, None]
    return padded[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(images: Tensor, rng: torch.Generator) -> Tensor:
    """A square hole of mid-grey, half the side wide, its centre anywhere in the picture."""
    count, _, height, width = images.shape
    half = max(1, round(height * CUTOUT)) / 2
    centre = torch.rand(2, count, 1, generator=rng) * torch.tensor([height, width]).reshape(2, 1, 1)
    in_rows = (torch.arange(height) + 0.5 - centre[0]).abs() < half  # (N, H)
    in_columns = (torch.arange(width) + 0.5 - centre[1]).abs() < half
    hole = in_rows[:, None, :, None] & in_columns[:, None, None, :]
    return images.masked_fill(hole.to(images.device), 0.0)


AUGMENTATIONS = {"color": color, "translation": translation, "cutout": cutout}


def augment(images: Tensor, policy: Sequence[str], rng: torch.Generator) -> Tensor:
    """Apply the named augmentations in order; an empty policy returns `images` itself."""
    for name in policy:
        images = AUGMENTATIONS[name](images, rng)
    return images
