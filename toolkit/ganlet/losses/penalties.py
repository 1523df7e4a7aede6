"""Penalties on the critic."""

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, epsilon: Tensor) -> Tensor:
    """Mean of (||grad D(x)||_2 - 1)^2 at x = eps real + (1 - eps) fake; Gulrajani et al. 2017, Algorithm 1 lines 6-7.

    real, fake (N, C, H, W); epsilon (N,) in [0, 1], one per sample. The norm is over all of C, H, W of a sample.
    The caller weighs it with lambda (10 in the paper).
    """
    eps = epsilon.reshape(-1, 1, 1, 1)
    mixed = (eps * real + (1 - eps) * fake).requires_grad_(True)
    (gradient,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
    norms: Tensor = gradient.flatten(1).norm(dim=1)  # (N,)
    return (norms - 1).square().mean()
