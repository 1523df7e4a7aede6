"""Terms of the joint loss J = alpha L_adversarial + (1 - alpha) (sum of weight x distance to the teacher).

Every distance is a pure function of what the student and its teacher make of the same latents, and 0 where both are
the same. `taught` carries no gradient.
"""

from collections.abc import Callable, Iterable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor


def mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference, a scalar.

    The bits of torch's `mse_loss`, whose scalar holds memory for as long as it lives: as much as the pictures take.
    """
    return (student - teacher).square().mean()


PIXEL_TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse, "l1": F.l1_loss}


def feature_l1(student: Iterable[Tensor], teacher: Iterable[Tensor]) -> Tensor:
    """Mean over layers of the mean absolute difference of features of the student's and the teacher's pictures."""
    return torch.stack([F.l1_loss(s, t) for s, t in zip(student, teacher, strict=True)]).mean()


def adapted_features(student: Iterable[Tensor], teacher: Iterable[Tensor]) -> Tensor:
    """Mean over layers of the mean squared difference of a generator's features, relative to the teacher's mean square.

    student, teacher: maps (N, C, h, w) by layer, the student's after its adapter (Romero et al. 2015, FitNets, eq. 3;
    Li et al. 2020, GAN Compression, eq. 2). Relative, so that one weight serves layers of any scale.
    """
    pairs = zip(student, teacher, strict=True)
    return torch.stack([mse(s, t) / t.square().mean().clamp_min(1e-8) for s, t in pairs]).mean()


def similarity(features: Tensor) -> Tensor:
    """(N, N) how alike the pictures of a batch are: products of features (N, ...), each row scaled to length one.

    Tung and Mori 2019, "Similarity-Preserving Knowledge Distillation", eq. 1.
    """
    flat = features.flatten(1)
    return F.normalize(flat @ flat.T, dim=1)


def relation(student: Iterable[Tensor], teacher: Iterable[Tensor]) -> Tensor:
    """Mean over layers of ||similarity(student) - similarity(teacher)||^2 / N; eq. 4 there divides by N^2.

    Rows have length one, so that dividing by N keeps the scale whatever the batch. Channels need not agree in number.
    """
    pairs = zip(student, teacher, strict=True)
    return torch.stack([(similarity(s) - similarity(t)).square().sum(dim=1).mean() for s, t in pairs]).mean()


def perceptual(student: Iterable[Tensor], teacher: Iterable[Tensor], heads: Iterable[Tensor]) -> Tensor:
    """LPIPS (Zhang et al. 2018, eq. 1) averaged over the batch: sum over layers of mean_hw ||w (s^ - t^)||^2.

    student, teacher: maps (N, C, h, w) of a feature net by layer, here scaled to length one over channels; heads: (C,)
    the weights w^2 of each layer's channels.
    """
    total = torch.stack(
        [
            ((_unit(s) - _unit(t)).square() * head.reshape(1, -1, 1, 1)).sum(dim=1).mean()
            for s, t, head in zip(student, teacher, heads, strict=True)
        ]
    )
    return total.sum()


def _unit(maps: Tensor) -> Tensor:
    return maps / (maps.square().sum(dim=1, keepdim=True) + 1e-10).sqrt()


def weighted(terms: Mapping[str, Tensor], weights: Mapping[str, float]) -> Tensor:
    """Sum of weight x term, scalars."""
    return torch.stack([weights[name] * term for name, term in terms.items()]).sum()


def joint_loss(alpha: float, adversarial: Tensor, distance: Tensor) -> Tensor:
    """J = alpha x adversarial + (1 - alpha) x distance, scalars."""
    return alpha * adversarial + (1 - alpha) * distance


def ramp(start: float, end: float, part: float) -> float:
    """A straight line from `start` at part 0 to `end` at part 1."""
    return start + (end - start) * part


def balance(real: Tensor, fake: Tensor) -> Tensor:
    """How often a real picture scores above a fake one, over all pairs of scores (N,) and (M,); a tie counts half.

    0.5 where the critic cannot tell, 1 where it wins every time (Mann-Whitney U / NM, whatever the loss).
    """
    gap = real[:, None] - fake[None, :]
    return (gap.sign() + 1).mean() / 2


def gate_factor(balance: Tensor, gate: float) -> Tensor:
    """Share of a critic's update that is taken: 1 up to a balance of `gate`, then in a straight line to 0 at 1."""
    return ((1 - balance) / (1 - gate)).clamp(0, 1)
