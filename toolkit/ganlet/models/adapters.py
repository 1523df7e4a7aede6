"""1 x 1 convolutions between the hidden layers of two generators. They train along and are thrown away afterwards."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganlet.models.config import GeneratorConfig, partners


def hidden_pairs(student: GeneratorConfig, teacher: GeneratorConfig) -> list[tuple[int, int]]:
    """(layer of the student, layer of the teacher) of hidden layers with maps of the same size, counted from 0."""
    found = enumerate(partners(student, teacher)[:-1])
    return [(mine, theirs) for mine, theirs in found if theirs is not None and theirs < len(teacher.widths)]


class Adapters(nn.Module):
    """Takes the student's maps (N, s, h, w) to the teacher's width (N, t, h, w), a layer of `pairs` each.

    They begin by repeating the student's channels, so that nothing has to be drawn.
    """

    def __init__(self, student: GeneratorConfig, teacher: GeneratorConfig) -> None:
        super().__init__()
        self.pairs = hidden_pairs(student, teacher)
        self.convolutions = nn.ModuleList()
        for mine, theirs in self.pairs:
            entering, width = student.widths[mine], teacher.widths[theirs]
            convolution = nn.Conv2d(entering, width, 1)
            nn.init.zeros_(convolution.bias) if convolution.bias is not None else None
            repeated = torch.eye(entering)[torch.arange(width) % entering]  # (t, s)
            convolution.weight.data.copy_(repeated[:, :, None, None])
            self.convolutions.append(convolution)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The student's hidden maps by layer -> those of `pairs`, adapted."""
        return [adapt(maps[mine]) for adapt, (mine, _) in zip(self.convolutions, self.pairs, strict=True)]
