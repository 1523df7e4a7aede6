"""Terms of the KD-GAN joint loss J = alpha L_adversarial + (1 - alpha) distance to the teacher."""

from collections.abc import Iterable

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

PIXEL_TERMS = {"mse": F.mse_loss, "l1": F.l1_loss}


def feature_l1(student: Iterable[Tensor], teacher: Iterable[Tensor]) -> Tensor:
    """Mean over layers of the mean absolute difference of features of the student's and the teacher's pictures."""
    return torch.stack([F.l1_loss(s, t) for s, t in zip(student, teacher, strict=True)]).mean()


def joint_loss(alpha: float, adversarial: Tensor, distance: Tensor) -> Tensor:
    """J = alpha x adversarial + (1 - alpha) x distance, scalars."""
    return alpha * adversarial + (1 - alpha) * distance
