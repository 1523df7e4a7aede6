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

from ganlet.losses import (
    CRITIC_LOSSES,
    balance,
    gate_factor,
    generator_loss,
    gradient_penalty,
    joint_loss,
    ramp,
    weighted,
)
from ganlet.recipe import Distill, Teacher, Train, Transfer
from ganlet.training.augment import augment
from ganlet.training.phases import phase
from ganlet.training.state import State
from ganlet.training.terms import compare, weights_of

RealBatch = Callable[[int], np.ndarray | Tensor]
"""Real pictures (N, C, H, W) float32 in [-1, 1] at an endless position; a forecast gives them as fake tensors."""
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
    dtype = torch.float16 if train.amp == "fp16" else torch.bfloat16
    return torch.autocast(state.device.type, dtype=dtype, enabled=state.autocast)


def critic_step(
    state: State, real: Tensor, z: Tensor, loss: str, train: Train, rng: torch.Generator, gate: float | None = None
) -> Logs:
    """One update of the critic on real (N, C, H, W) and on pictures of z (N, latent), in `train.accumulate` parts.

    With a `gate` the update shrinks where the critic's balance is above it; Adam's moments take note of it as ever.
    """
    target = 1 - (1 - train.real_label_low) * torch.rand(len(real), generator=rng).to(state.device)
    state.critic_adam.zero_grad(set_to_none=True)
    logs: Logs = {}
    for share, some_real, some_z, some_target in _parts(train.accumulate, real, z, target):
        _add(logs, share, _critic_gradients(state, some_real, some_z, some_target, share, loss, train, rng))
    with phase("critic optimiser"):
        trained = [p for p in state.critic.parameters() if p.requires_grad] if gate is not None else []
        before = [p.detach().clone() for p in trained]
        state.scaler.step(state.critic_adam)
        state.scaler.update()
        if gate is not None:  # Adam would undo a smaller gradient, so the step itself is shortened
            logs["gate"] = gate_factor(logs["balance"], gate)
            with torch.no_grad():
                for parameter, old in zip(trained, before, strict=True):
                    parameter.lerp_(old, 1 - logs["gate"])
    return logs


def _critic_gradients(
    state: State, real: Tensor, z: Tensor, target: Tensor, share: float, loss: str, train: Train, rng: torch.Generator
) -> Logs:
    """Add the gradients of one part of a batch, weighed by its share of the whole."""
    on_real, on_fake = CRITIC_LOSSES[loss]
    with phase("critic forward"), _mixed(state, train):
        with torch.no_grad():
            fake = state.generator(z)
        real, fake = augment(real, train.augment, rng), augment(fake, train.augment, rng)
        real_scores = state.critic(real)
        real_part = on_real(real_scores, target)
    with phase("critic backward"):
        state.scaler.scale(real_part * share).backward()
    with phase("critic forward"), _mixed(state, train):
        fake_scores = state.critic(fake)
        fake_part = on_fake(fake_scores)
    with phase("critic backward"):
        state.scaler.scale(fake_part * share).backward()
    logs = {
        "critic_loss": (real_part + fake_part).detach(),
        "score_real": real_scores.detach().mean(),
        "score_fake": fake_scores.detach().mean(),
        "balance": balance(real_scores.detach(), fake_scores.detach()),
    }
    del real_part, fake_part, real_scores, fake_scores
    if loss == "wgan-gp" and train.gradient_penalty:
        epsilon = torch.rand(len(real), generator=rng).to(state.device)
        with phase("gradient penalty"):
            penalty = gradient_penalty(state.critic, real, fake, epsilon)
            (train.gradient_penalty * share * penalty).backward()
        logs["gradient_penalty"] = penalty.detach()
        logs["critic_loss"] = logs["critic_loss"] + train.gradient_penalty * penalty.detach()
    return logs


def _critic_updates(state: State, reals: RealBatch, section: Section, rng: torch.Generator) -> Logs:
    logs: Logs = {}
    train, distill = section.train, section if isinstance(section, Distill) else None
    for number in range(train.n_critic):
        real = torch.as_tensor(reals(state.step * train.n_critic + number)).to(state.device)
        if distill is not None and distill.real_share < 1:
            real = _mixed_with_teacher(state, real, distill.real_share, rng)
        z = draw_latents(state, len(real), rng)
        logs = critic_step(state, real, z, section.loss, train, rng, distill.gate if distill is not None else None)
    return logs


def _mixed_with_teacher(state: State, real: Tensor, share: float, rng: torch.Generator) -> Tensor:
    """Real pictures (N, C, H, W) of which only `share` stay: the rest are drawn by the teacher.

    With a share of 1 the student's critic knows the data alone, and the teacher's own errors do not add up with the
    student's, which is what mixing real data into every level of a cascade is for.
    """
    count = round(len(real) * (1 - share))
    if count == 0 or state.teacher is None:
        return real
    with torch.no_grad():
        taught = state.teacher(draw_latents(state, count, rng))
    return torch.cat([real[: len(real) - count], taught])


def _generator_update(state: State, train: Train, z: Tensor, objective: Callable[[Tensor], Logs]) -> Logs:
    """One update of the generator, critic frozen. `objective` gives the logs of a part of z, "generator_loss" last."""
    state.generator_adam.zero_grad(set_to_none=True)
    logs: Logs = {}
    with frozen(state.critic):
        for share, part in _parts(train.accumulate, z):
            with phase("generator forward"), _mixed(state, train):
                values = objective(part)
            with phase("generator backward"):
                state.scaler.scale(values["generator_loss"] * share).backward()
            _add(logs, share, {name: value.detach() for name, value in values.items()})
            del values
    with phase("generator optimiser"):
        state.scaler.step(state.generator_adam)
        state.scaler.update()
    return logs


def adversarial_step(state: State, reals: RealBatch, rng: torch.Generator, section: Teacher | Transfer) -> Logs:
    """n_critic updates of the critic, then one of the generator: teacher training and frozen-layer transfer."""
    loss, train = section.loss, section.train

    def objective(z: Tensor) -> Logs:
        scores = state.critic(augment(state.generator(z), train.augment, rng))
        return {"generator_loss": generator_loss(loss, scores)}

    logs = _critic_updates(state, reals, section, rng)
    return logs | _generator_update(state, train, draw_latents(state, train.batch, rng), objective)


def distillation_step(state: State, reals: RealBatch, rng: torch.Generator, distill: Distill) -> Logs:
    """n_critic updates of the critic on the student's pictures, then one of the student by the joint loss.

    J = alpha L_adv(S(z)) + (1 - alpha) (sum of weight x distance of S(z) from T(z)), the same z for both. Where no part
    of it asks the critic, that is neither run nor trained.
    """
    train = distill.train
    alpha = ramp(distill.alpha, distill.end_alpha, state.step / train.steps)

    def objective(z: Tensor) -> Logs:
        drawn, scores, terms = compare(state, distill, z)
        if not distill.needs_critic:
            distance = weighted(terms, weights_of(distill))
            return {**terms, "distance": distance, "generator_loss": distance}
        if scores is None or train.augment:
            scores = state.critic(augment(drawn, train.augment, rng))
        adversarial = generator_loss(distill.loss, scores)
        distance = weighted(terms, weights_of(distill)) if terms else torch.zeros_like(adversarial)
        joint = joint_loss(alpha, adversarial, distance)
        return {"adversarial": adversarial, **terms, "distance": distance, "generator_loss": joint}

    logs = _critic_updates(state, reals, distill, rng) if distill.needs_critic else {}
    return logs | _generator_update(state, train, draw_latents(state, train.batch, rng), objective)


def _parts(count: int, *tensors: Tensor) -> Iterator[tuple[Any, ...]]:
    """Cut tensors (N, ...) into `count` parts along N: (share of N, part of each), for gradient accumulation.

    Parts differ by one picture at most: `chunk` might leave a part of one, or make fewer.
    """
    for parts in zip(*(tensor.tensor_split(count) for tensor in tensors), strict=True):
        yield len(parts[0]) / len(tensors[0]), *parts


def _add(logs: Logs, share: float, part: Logs) -> None:
    for name, value in part.items():
        logs[name] = share * value + logs[name] if name in logs else share * value
