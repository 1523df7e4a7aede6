"""Linear maps between the hidden layers of two generators. They train along and are thrown away afterwards."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ganlet.models.config import GeneratorConfig, hidden_pairs


class Adapters(nn.Module):
    """Takes the student's maps (N, s, h, w) to the teacher's width (N, t, h, w), a layer of `pairs` each.

    Maps go through a 1 x 1 convolution, vectors (N, s) through a fully connected layer. Both begin by repeating the
    student's channels, so that nothing has to be drawn.
    """

    def __init__(self, student: GeneratorConfig, teacher: GeneratorConfig) -> None:
        super().__init__()
        self.pairs = hidden_pairs(student, teacher)
        self.convolutions = nn.ModuleList()
        for mine, theirs in self.pairs:
            entering, width = student.widths[mine], teacher.widths[theirs]
            adapter = nn.Conv2d(entering, width, 1) if student.map_sizes[mine] else nn.Linear(entering, width)
            nn.init.zeros_(adapter.bias) if adapter.bias is not None else None
            repeated = torch.eye(entering)[torch.arange(width) % entering]  # (t, s)
            adapter.weight.data.copy_(repeated.reshape(adapter.weight.shape))
            self.convolutions.append(adapter)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """The student's hidden maps by layer -> those of `pairs`, adapted."""
        return [adapt(maps[mine]) for adapt, (mine, _) in zip(self.convolutions, self.pairs, strict=True)]
