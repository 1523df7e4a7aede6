"""The averaged generator, which is the one that is exported."""

import torch
from torch import nn


def decay_at(step: int, decay: float) -> float:
    """Decay at a step: ramped up as (1 + step) / (10 + step), since a long average lags behind at the start."""
    return min(decay, (1 + step) / (10 + step))


@torch.no_grad()
def update_average(average: nn.Module, current: nn.Module, decay: float) -> None:
    """average <- decay x average + (1 - decay) x current, for weights and for running statistics alike.

    Written as a step towards `current`, so that what is equal stays bit-equal (frozen layers). The singular vectors of
    spectral normalisation are taken as they are: the mean of directions is none, it is shorter than one.
    """
    for (name, mine), theirs in zip(average.state_dict().items(), current.state_dict().values(), strict=True):
        if mine.is_floating_point() and not name.endswith(("._u", "._v")):
            mine.lerp_(theirs, 1 - decay)
        else:
            mine.copy_(theirs)
