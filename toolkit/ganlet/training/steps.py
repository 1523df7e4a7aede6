"""One training step of each kind, as pure functions of the state and one step's random draws.

No work that the maths does not need: fakes for the critic under no_grad, the critic frozen in the generator's step, the
teacher under no_grad, and each part of the critic's loss differentiated on its own so that one graph is held at a time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ganlet.losses import CRITIC_LOSSES, PIXEL_TERMS, feature_l1, generator_loss, gradient_penalty, joint_loss
from ganlet.recipe import Distill, Teacher, Train, Transfer
from ganlet.training.augment import augment
from ganlet.training.state import State

RealBatch = Callable[[int], np.ndarray]
"""Real pictures (N, C, H, W) float32 in [-1, 1] at an endless position."""
Logs = dict[str, Tensor]
Section = Teacher | Transfer | Distill
"""The recipe's section of a stage: its loss and its training."""
Step = Callable[[State, RealBatch, torch.Generator, Any], Logs]


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """No gradients for the parameters of `network` inside; what was frozen before stays frozen after."""
    trained = [p for p in network.parameters() if p.requires_grad]
    for parameter in trained:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)


def draw_latents(state: State, count: int, rng: torch.Generator) -> Tensor:
    """z (count, latent) float32, standard normal."""
    return torch.randn(count, state.generator.config.latent, generator=rng).to(state.device)


def _mixed(state: State, train: Train) -> torch.autocast:
    kind = state.device.type
    dtype = torch.float16 if train.amp == "fp16" else torch.bfloat16
    return torch.autocast(kind, dtype=dtype, enabled=train.amp != "off" and kind == "cuda")


def critic_step(state: State, real: Tensor, z: Tensor, loss: str, train: Train, rng: torch.Generator) -> Logs:
    """One update of the critic on real (N, C, H, W) and on pictures of z (N, latent)."""
    on_real, on_fake = CRITIC_LOSSES[loss]
    target = 1 - (1 - train.real_label_low) * torch.rand(len(real), generator=rng).to(state.device)
    state.critic_adam.zero_grad(set_to_none=True)
    with _mixed(state, train):
        with torch.no_grad():
            fake = state.generator(z)
        real, fake = augment(real, train.augment, rng), augment(fake, train.augment, rng)
        real_scores = state.critic(real)
        real_part = on_real(real_scores, target)
    state.scaler.scale(real_part).backward()
    with _mixed(state, train):
        fake_scores = state.critic(fake)
        fake_part = on_fake(fake_scores)
    state.scaler.scale(fake_part).backward()
    logs = {
        "critic_loss": (real_part + fake_part).detach(),
        "score_real": real_scores.detach().mean(),
        "score_fake": fake_scores.detach().mean(),
    }
    del real_part, fake_part, real_scores, fake_scores
    if loss == "wgan-gp" and train.gradient_penalty:
        epsilon = torch.rand(len(real), generator=rng).to(state.device)
        penalty = gradient_penalty(state.critic, real, fake, epsilon)
        (train.gradient_penalty * penalty).backward()
        logs["gradient_penalty"] = penalty.detach()
        logs["critic_loss"] = logs["critic_loss"] + train.gradient_penalty * penalty.detach()
    state.scaler.step(state.critic_adam)
    state.scaler.update()
    return logs


def _critic_updates(state: State, reals: RealBatch, loss: str, train: Train, rng: torch.Generator) -> Logs:
    logs: Logs = {}
    for number in range(train.n_critic):
        real = torch.from_numpy(reals(state.step * train.n_critic + number)).to(state.device)
        logs = critic_step(state, real, draw_latents(state, len(real), rng), loss, train, rng)
    return logs


def _generator_update(state: State, objective: Tensor) -> None:
    state.generator_adam.zero_grad(set_to_none=True)
    state.scaler.scale(objective).backward()
    state.scaler.step(state.generator_adam)
    state.scaler.update()


def adversarial_step(state: State, reals: RealBatch, rng: torch.Generator, section: Teacher | Transfer) -> Logs:
    """n_critic updates of the critic, then one of the generator: teacher training and frozen-layer transfer."""
    loss, train = section.loss, section.train
    logs = _critic_updates(state, reals, loss, train, rng)
    z = draw_latents(state, train.batch, rng)
    with frozen(state.critic):
        with _mixed(state, train):
            objective = generator_loss(loss, state.critic(augment(state.generator(z), train.augment, rng)))
        _generator_update(state, objective)
    return logs | {"generator_loss": objective.detach()}


def distillation_step(state: State, reals: RealBatch, rng: torch.Generator, distill: Distill) -> Logs:
    """n_critic updates of the critic on the student's pictures, then one of the student by the joint loss.

    J = alpha L_adv(S(z)) + (1 - alpha) [ d(S(z), T(z)) + features x L1 of critic features ], the same z for both.
    """
    if state.teacher is None:
        raise ValueError("distillation needs state.teacher")
    train = distill.train
    logs = _critic_updates(state, reals, distill.loss, train, rng)
    z = draw_latents(state, train.batch, rng)
    with frozen(state.critic):
        with _mixed(state, train):
            with torch.no_grad():
                taught = state.teacher(z)
            drawn = state.generator(z)
            distance = pixel = PIXEL_TERMS[distill.pixel](drawn, taught)
            if distill.features:
                with torch.no_grad():
                    wanted = list(state.critic.features(taught))[:-1]
                *got, scores = state.critic.features(drawn)
                distance = pixel + distill.features * feature_l1(got, wanted)
            if train.augment or not distill.features:
                scores = state.critic(augment(drawn, train.augment, rng))
            adversarial = generator_loss(distill.loss, scores)
            objective = joint_loss(distill.alpha, adversarial, distance)
        _generator_update(state, objective)
    return logs | {
        "generator_loss": objective.detach(),
        "adversarial": adversarial.detach(),
        "pixel": pixel.detach(),
        "distance": distance.detach(),
    }
