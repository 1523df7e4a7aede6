"""One training step of each kind, as pure functions of the state and one step's random draws.

No work that the maths does not need: fakes for the critic under no_grad, the critic frozen in the generator's step, the
teacher under no_grad, and each part of the critic's loss differentiated on its own so that one graph is held at a time.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ganlet.data import Batch
from ganlet.errors import GanletError
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
from ganlet.models.ports import TensorFeed, draw_feed
from ganlet.recipe import Lessons, Teacher, Train, Transfer
from ganlet.training.augment import augment
from ganlet.training.phases import phase
from ganlet.training.state import State
from ganlet.training.terms import compare, weights_of

RealBatch = Callable[[int], Batch]
"""The batch of real pictures at an endless position; a forecast gives fake tensors."""
Logs = dict[str, Tensor]
Section = Teacher | Transfer | Lessons
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


@dataclass(frozen=True)
class Real:
    """Real pictures (N, C, H, W) on the device, and what else the critic is shown of each, by the names of ports."""

    pictures: Tensor
    seen: TensorFeed


@dataclass(frozen=True)
class Pair:
    """What one update of the critic compares: real pictures, and those of a feed of as many rows.

    `target` (N,): what the real ones should score.
    """

    real: Real
    feed: TensorFeed
    target: Tensor

    def parts(self, count: int) -> Iterator[tuple[float, "Pair"]]:
        """The pair in `count` parts: (share of N, part)."""
        whole = {"pictures": self.real.pictures, "target": self.target}
        cut = zip(_parts(count, whole), _cut(count, self.real.seen), _cut(count, self.feed), strict=True)
        for (share, part), seen, feed in cut:
            yield share, Pair(Real(part["pictures"], seen), feed, part["target"])


def real_batch(state: State, batch: Batch) -> Real:
    """A batch of the data on the device of training. Raises GanletError where it lacks what the critic is shown."""
    seen = {}
    for name in state.critic.sees:
        values = getattr(batch, name)
        if values is None:
            raise GanletError(
                f"The critic is shown the {name} of each picture, but the pictures have none; put them into a "
                "sub-folder a class, or set classes = 0."
            )
        seen[name] = torch.as_tensor(values).to(state.device)
    return Real(torch.as_tensor(batch.pictures).to(state.device), seen)


def draw(state: State, count: int, rng: torch.Generator, **given: Tensor) -> TensorFeed:
    """What the generator is fed with for `count` pictures: drawn, but for the rows in `given` of ports that it has."""
    feed = draw_feed(state.generator.ports, count, rng, state.device)
    return feed | {name: rows for name, rows in given.items() if name in feed}


def seen_of(state: State, feed: TensorFeed) -> TensorFeed:
    """What the critic is shown beside the pictures of a feed."""
    return {name: feed[name] for name in state.critic.sees}


def _mixed(state: State, train: Train) -> torch.autocast:
    dtype = torch.float16 if train.amp == "fp16" else torch.bfloat16
    return torch.autocast(state.device.type, dtype=dtype, enabled=state.autocast)


def critic_step(state: State, real: Real, feed: TensorFeed, section: Section, rng: torch.Generator) -> Logs:
    """One update of the critic on N real pictures and on those of a feed of N rows, in `train.accumulate` parts.

    With a `gate` the update shrinks where the critic's balance is above it; Adam's moments take note of it as ever.
    """
    train, gate = section.train, section.gate if isinstance(section, Lessons) else None
    target = 1 - (1 - train.real_label_low) * torch.rand(len(real.pictures), generator=rng).to(state.device)
    state.critic_adam.zero_grad(set_to_none=True)
    logs: Logs = {}
    for share, part in Pair(real, feed, target).parts(train.accumulate):
        _add(logs, share, _critic_gradients(state, part, share, section, rng))
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


def _critic_gradients(state: State, pair: Pair, share: float, section: Section, rng: torch.Generator) -> Logs:
    """Add the gradients of one part of a batch, weighed by its share of the whole."""
    real, loss, train = pair.real, section.loss, section.train
    on_real, on_fake = CRITIC_LOSSES[loss]
    with phase("critic forward"), _mixed(state, train):
        with torch.no_grad():
            fake = state.generator(**pair.feed)
        pictures, fake = augment(real.pictures, train.augment, rng), augment(fake, train.augment, rng)
        real_scores = state.critic(pictures, **real.seen)
        real_part = on_real(real_scores, pair.target)
    with phase("critic backward"):
        state.scaler.scale(real_part * share).backward()
    with phase("critic forward"), _mixed(state, train):
        fake_scores = state.critic(fake, **seen_of(state, pair.feed))
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
        epsilon = torch.rand(len(pictures), generator=rng).to(state.device)
        with phase("gradient penalty"):
            penalty = gradient_penalty(partial(state.critic, **real.seen), pictures, fake, epsilon)
            (train.gradient_penalty * share * penalty).backward()
        logs["gradient_penalty"] = penalty.detach()
        logs["critic_loss"] = logs["critic_loss"] + train.gradient_penalty * penalty.detach()
    return logs


def _critic_updates(state: State, reals: RealBatch, section: Section, rng: torch.Generator) -> Logs:
    logs: Logs = {}
    train, distill = section.train, section if isinstance(section, Lessons) else None
    for number in range(train.n_critic):
        real = real_batch(state, reals(state.step * train.n_critic + number))
        if distill is not None and distill.real_share < 1:
            real = _mixed_with_teacher(state, real, distill.real_share, rng)
        # The fakes are of the same classes as the real pictures, so that a mixture of both is of one class.
        feed = draw(state, len(real.pictures), rng, **real.seen)
        logs = critic_step(state, real, feed, section, rng)
    return logs


def _mixed_with_teacher(state: State, real: Real, share: float, rng: torch.Generator) -> Real:
    """Real pictures of which only `share` stay: the rest are drawn by the teacher.

    With a share of 1 the student's critic knows the data alone, and the teacher's own errors do not add up with the
    student's, which is what mixing real data into every level of a cascade is for.
    """
    kept = len(real.pictures) - round(len(real.pictures) * (1 - share))
    if kept == len(real.pictures) or state.teacher is None:
        return real
    feed = draw(state, len(real.pictures) - kept, rng)
    with torch.no_grad():
        taught = state.teacher(**feed)
    seen = {name: torch.cat([rows[:kept], feed[name]]) for name, rows in real.seen.items()}
    return Real(torch.cat([real.pictures[:kept], taught]), seen)


def _generator_update(state: State, train: Train, feed: TensorFeed, objective: Callable[[TensorFeed], Logs]) -> Logs:
    """One update of the generator, critic frozen. `objective`: part of the feed -> its logs, "generator_loss" last."""
    state.generator_adam.zero_grad(set_to_none=True)
    logs: Logs = {}
    with frozen(state.critic):
        for share, part in _parts(train.accumulate, feed):
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

    def objective(feed: TensorFeed) -> Logs:
        scores = state.critic(augment(state.generator(**feed), train.augment, rng), **seen_of(state, feed))
        return {"generator_loss": generator_loss(loss, scores)}

    logs = _critic_updates(state, reals, section, rng)
    return logs | _generator_update(state, train, draw(state, train.batch, rng), objective)


def distillation_step(state: State, reals: RealBatch, rng: torch.Generator, distill: Lessons) -> Logs:
    """n_critic updates of the critic on the student's pictures, then one of the student by the joint loss.

    J = alpha L_adv(S(z)) + (1 - alpha) (sum of weight x distance of S(z) from T(z)), the same feed for both. Where no
    part of it asks the critic, that is neither run nor trained.
    """
    train = distill.train
    alpha = ramp(distill.alpha, distill.end_alpha, state.step / train.steps)

    def objective(feed: TensorFeed) -> Logs:
        seen = seen_of(state, feed) if distill.needs_critic else {}
        drawn, scores, terms = compare(state, distill, feed, seen)
        if not distill.needs_critic:
            distance = weighted(terms, weights_of(distill))
            return {**terms, "distance": distance, "generator_loss": distance}
        if scores is None or train.augment:
            scores = state.critic(augment(drawn, train.augment, rng), **seen)
        adversarial = generator_loss(distill.loss, scores)
        distance = weighted(terms, weights_of(distill)) if terms else torch.zeros_like(adversarial)
        joint = joint_loss(alpha, adversarial, distance)
        return {"adversarial": adversarial, **terms, "distance": distance, "generator_loss": joint}

    logs = _critic_updates(state, reals, distill, rng) if distill.needs_critic else {}
    return logs | _generator_update(state, train, draw(state, train.batch, rng), objective)


def _parts(count: int, tensors: TensorFeed) -> Iterator[tuple[float, TensorFeed]]:
    """Cut tensors (N, ...) into `count` parts along N: (share of N, part of each), for gradient accumulation."""
    whole = len(next(iter(tensors.values())))
    for part in _cut(count, tensors):
        yield len(next(iter(part.values()))) / whole, part


def _cut(count: int, tensors: TensorFeed) -> list[TensorFeed]:
    """Parts that differ by one picture at most: `chunk` might leave a part of one, or make fewer."""
    cut = {name: tensor.tensor_split(count) for name, tensor in tensors.items()}
    return [{name: parts[number] for name, parts in cut.items()} for number in range(count)]


def _add(logs: Logs, share: float, part: Logs) -> None:
    for name, value in part.items():
        logs[name] = share * value + logs[name] if name in logs else share * value
