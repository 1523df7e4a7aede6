"""Losses: pure functions of tensors, one line where the paper has one line."""

from ganlet.losses.adversarial import CRITIC_LOSSES, GENERATOR_LOSSES, critic_loss, generator_loss
from ganlet.losses.distillation import (
    PIXEL_TERMS,
    adapted_features,
    balance,
    feature_l1,
    gate_factor,
    joint_loss,
    ramp,
    relation,
    weighted,
)
from ganlet.losses.penalties import gradient_penalty

__all__ = [
    "CRITIC_LOSSES",
    "GENERATOR_LOSSES",
    "PIXEL_TERMS",
    "adapted_features",
    "balance",
    "critic_loss",
    "feature_l1",
    "gate_factor",
    "generator_loss",
    "gradient_penalty",
    "joint_loss",
    "ramp",
    "relation",
    "weighted",
]
