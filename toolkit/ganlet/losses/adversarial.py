"""Adversarial losses of raw critic scores, (N,) float. A critic's loss is a part for real and a part for fake pictures.

The two parts are apart so that the training step may run them one after the other and hold one graph at a time.
`target` is what real pictures should score, 1 or, with one-sided label smoothing, (N,) numbers in [0.8, 1].
"""

from collections.abc import Callable

import torch.nn.functional as F  # noqa: N812
from torch import Tensor

RealPart = Callable[[Tensor, Tensor], Tensor]
Part = Callable[[Tensor], Tensor]


def _log_real(scores: Tensor, target: Tensor) -> Tensor:
    # -[t log D(x) + (1 - t) log(1 - D(x))], D = sigmoid(score); t = 1 is Goodfellow et al. 2014, eq. 1
    return F.binary_cross_entropy_with_logits(scores, target)


def _log_fake(scores: Tensor) -> Tensor:
    return F.softplus(scores).mean()  # -log(1 - D(G(z)))


CRITIC_LOSSES: dict[str, tuple[RealPart, Part]] = {
    "minimax": (_log_real, _log_fake),
    "non-saturating": (_log_real, _log_fake),
    # Mao et al. 2017, eq. 9 with a = 0, b = c = 1
    "least-squares": (lambda s, t: 0.5 * (s - t).square().mean(), lambda s: 0.5 * s.square().mean()),
    # Lim and Ye 2017; Miyato et al. 2018, eq. 16
    "hinge": (lambda s, t: F.relu(t - s).mean(), lambda s: F.relu(1 + s).mean()),
    # Gulrajani et al. 2017, Algorithm 1 line 7 (the penalty is in `penalties`); the target has no meaning here
    "wgan-gp": (lambda s, t: -s.mean(), lambda s: s.mean()),
}

GENERATOR_LOSSES: dict[str, Part] = {
    "minimax": lambda s: -F.softplus(s).mean(),  # log(1 - D(G(z))), Goodfellow et al. 2014, eq. 1
    "non-saturating": lambda s: F.softplus(-s).mean(),  # -log D(G(z)), section 3 there
    "least-squares": lambda s: 0.5 * (s - 1).square().mean(),
    "hinge": lambda s: -s.mean(),
    "wgan-gp": lambda s: -s.mean(),
}


def critic_loss(kind: str, real: Tensor, fake: Tensor, target: Tensor | None = None) -> Tensor:
    """Scalar loss of the critic for scores of real and fake pictures, each (N,); without a gradient penalty."""
    on_real, on_fake = CRITIC_LOSSES[kind]
    return on_real(real, real.new_ones(real.shape) if target is None else target) + on_fake(fake)


def generator_loss(kind: str, fake: Tensor) -> Tensor:
    """Scalar adversarial loss of the generator for the scores (N,) of its pictures."""
    return GENERATOR_LOSSES[kind](fake)
