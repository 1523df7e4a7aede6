"""One step of each kind against the same update written out by hand with plain autograd."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from ganlet.models import Critic, CriticConfig, Generator, GeneratorConfig, initialise
from ganlet.recipe import Critic as CriticSection
from ganlet.recipe import Distill, Recipe, Train
from ganlet.training.state import State, make_state
from ganlet.training.steps import adversarial_step, critic_step, distillation_step
from ganlet.training.telemetry import require_finite

BATCH, LATENT, SIDE = 4, 5, 16


def reals(position: int) -> np.ndarray:
    return np.random.default_rng(position).uniform(-1, 1, (BATCH, 1, SIDE, SIDE)).astype(np.float32)


def networks(seed: int, widths: tuple[int, ...] = (6, 4)) -> tuple[Generator, Critic]:
    strides = (2,) * len(widths)
    config = GeneratorConfig(
        latent=LATENT, widths=widths, strides=strides, kernels=(4,) * len(widths), channels=1, norm="instance"
    )
    generator, critic = (
        Generator(config),
        Critic(CriticConfig(widths=(4, 6), channels=1, norm="instance", spectral=False)),
    )
    initialise(generator, seed)
    initialise(critic, seed + 1)
    with torch.no_grad():
        for network in (generator, critic):
            for parameter in network.parameters():
                parameter.mul_(5)  # so that nothing is near zero
    return generator, critic


def state_of(train: Train, teacher: Generator | None = None) -> State:
    generator, critic = networks(0)
    return make_state(generator, critic, teacher, train, "cpu")


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def gradients(network: torch.nn.Module) -> list[torch.Tensor]:
    return [p.grad.clone() for p in network.parameters() if p.grad is not None]


def by_hand_critic_loss(kind: str, critic: Critic, real: torch.Tensor, fake: torch.Tensor, eps: Any) -> torch.Tensor:
    scores_real, scores_fake = critic(real), critic(fake)
    if kind == "wgan-gp":
        mixed = (eps * real + (1 - eps) * fake).requires_grad_(True)
        (slope,) = torch.autograd.grad(critic(mixed).sum(), mixed, create_graph=True)
        norm = torch.sqrt((slope**2).sum(dim=(1, 2, 3)))
        return scores_fake.mean() - scores_real.mean() + 10 * ((norm - 1) ** 2).mean()
    p_real, p_fake = torch.sigmoid(scores_real), torch.sigmoid(scores_fake)
    return -torch.log(p_real).mean() - torch.log(1 - p_fake).mean()


@pytest.mark.parametrize("kind", ["non-saturating", "wgan-gp"])
def test_critic_step_is_one_adam_step_on_the_papers_loss(kind: str) -> None:
    train = Train(batch=BATCH, lr=1e-3, lr_critic=2e-3, betas=(0.0, 0.9), ema=0.0)
    state = state_of(train)
    mine = copy.deepcopy(state.critic)
    adam = torch.optim.Adam(mine.parameters(), lr=2e-3, betas=(0.0, 0.9))
    real = torch.from_numpy(reals(0))
    z = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(9))
    draws = rng()
    torch.rand(BATCH, generator=draws)  # the label targets come first
    eps = torch.rand(BATCH, generator=draws).reshape(-1, 1, 1, 1)

    logs = critic_step(state, real, z, kind, train, rng())
    loss = by_hand_critic_loss(kind, mine, real, state.generator(z).detach(), eps)
    loss.backward()
    torch.testing.assert_close(logs["critic_loss"], loss.detach(), rtol=1e-5, atol=1e-6)
    largest = max(float(g.abs().max()) for g in gradients(mine))
    for got, expected in zip(gradients(state.critic), gradients(mine), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5 * largest)
    adam.step()
    for (name, got), expected in zip(state.critic.named_parameters(), mine.parameters(), strict=True):
        if not (name.startswith("layer") and name.endswith("0.bias")):  # no slope before a normalisation, only noise
            torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)
    assert all(p.grad is None for p in state.generator.parameters())  # nothing runs back into the generator


def test_generator_update_leaves_the_critic_alone(make_recipe: Callable[..., Recipe]) -> None:
    section = make_recipe(teacher__train__batch=BATCH, teacher__train__ema=0.0).teacher
    assert section is not None
    state = state_of(section.train)
    seen: list[list[torch.Tensor]] = []
    step = state.critic_adam.step
    state.critic_adam.step = lambda *a, **k: (
        step(*a, **k),
        seen.append([p.clone() for p in state.critic.parameters()]),
    )  # type: ignore[method-assign,assignment]
    before = [p.clone() for p in state.generator.parameters()]
    adversarial_step(state, reals, rng(), section)
    assert len(seen) == 1
    assert all(torch.equal(a, b) for a, b in zip(seen[0], state.critic.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(before, state.generator.parameters(), strict=True))
    assert all(p.requires_grad for p in state.critic.parameters())


def test_n_critic_updates_on_new_pictures_each(make_recipe: Callable[..., Recipe]) -> None:
    section = make_recipe(teacher__train__batch=BATCH, teacher__train__n_critic=3).teacher
    assert section is not None
    state = state_of(section.train)
    state.step = 5
    asked: list[int] = []

    def spying(position: int) -> np.ndarray:
        asked.append(position)
        return reals(position)

    adversarial_step(state, spying, rng(), section)
    assert asked == [15, 16, 17]


def distill_section(**changes: Any) -> Distill:
    values: dict[str, Any] = {"widths": (4, 4), "alpha": 0.3, "critic": CriticSection(widths=(4, 6)), "features": 2.0}
    return Distill(**(values | {"train": Train(batch=BATCH, ema=0.0)} | changes))


@pytest.mark.parametrize(("pixel", "features"), [("mse", 0.0), ("l1", 2.0)])
def test_distillation_minimises_the_joint_loss(pixel: str, features: float) -> None:
    teacher, _ = networks(7, widths=(8, 6))
    distill = distill_section(pixel=pixel, features=features)
    state = state_of(distill.train, teacher)
    student = copy.deepcopy(state.generator)
    updated: list[Critic] = []
    step = state.critic_adam.step
    state.critic_adam.step = lambda *a, **k: (step(*a, **k), updated.append(copy.deepcopy(state.critic)))  # type: ignore[method-assign,assignment]
    logs = distillation_step(state, reals, rng(), distill)

    draws = rng()
    torch.randn(BATCH, LATENT, generator=draws)  # of the critic's update
    torch.rand(BATCH, generator=draws)
    z = torch.randn(BATCH, LATENT, generator=draws)
    drawn, taught = student(z), teacher(z).detach()
    critic = updated[0].requires_grad_(False)
    adversarial = -torch.log(torch.sigmoid(critic(drawn))).mean()
    distance = ((drawn - taught) ** 2).mean() if pixel == "mse" else (drawn - taught).abs().mean()
    layers = list(zip(critic.features(drawn), critic.features(taught), strict=True))[:-1]
    distance = distance + features * sum((a - b).abs().mean() for a, b in layers) / len(layers)
    joint = 0.3 * adversarial + 0.7 * distance
    joint.backward()
    torch.testing.assert_close(logs["generator_loss"], joint.detach(), rtol=1e-5, atol=1e-6)
    for got, expected in zip(gradients(state.generator), gradients(student), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-6)


def test_the_teacher_of_a_distillation_never_changes() -> None:
    teacher, _ = networks(7, widths=(8, 6))
    before = copy.deepcopy(teacher.state_dict())
    distill = distill_section()
    state = state_of(distill.train, teacher)
    for _ in range(3):
        distillation_step(state, reals, rng(), distill)
        state.step += 1
    assert not teacher.training and all(p.grad is None and not p.requires_grad for p in teacher.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in teacher.state_dict().items())
    with pytest.raises(ValueError, match="teacher"):
        distillation_step(state_of(distill.train), reals, rng(), distill)


def test_an_augmented_distillation_still_compares_plain_pictures() -> None:
    teacher, _ = networks(7, widths=(6, 4))
    augmented = Train(batch=BATCH, ema=0.0, augment=("translation", "cutout"))
    state = state_of(augmented, teacher)
    state.generator.load_state_dict(teacher.state_dict())
    state.generator_adam.param_groups[0]["lr"] = 0.0
    logs = distillation_step(state, reals, rng(), distill_section(pixel="l1", train=augmented))
    assert float(logs["pixel"]) == pytest.approx(0, abs=1e-6) == float(logs["distance"])
    require_finite(1, {name: float(value) for name, value in logs.items()}, "student")


def test_label_smoothing_is_one_sided() -> None:
    smooth = Train(batch=BATCH, ema=0.0, real_label_low=0.8)
    state = state_of(smooth)
    real = torch.from_numpy(reals(0))
    z = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(9))
    frozen_critic = copy.deepcopy(state.critic)
    target = 1 - 0.2 * torch.rand(BATCH, generator=rng())
    logs = critic_step(state, real, z, "non-saturating", smooth, rng())
    p_real, fake = torch.sigmoid(frozen_critic(real)), frozen_critic(state.generator(z).detach())
    by_hand = -(target * p_real.log() + (1 - target) * (1 - p_real).log()).mean() + F.softplus(fake).mean()
    torch.testing.assert_close(logs["critic_loss"], by_hand.detach(), rtol=1e-5, atol=1e-6)
    assert 0.8 <= float(target.min()) <= float(target.max()) <= 1.0


@pytest.mark.parametrize("kind", ["adversarial", "distillation"])
def test_accumulating_over_parts_gives_the_gradients_of_the_whole_batch(
    make_recipe: Callable[..., Recipe], kind: str
) -> None:
    """Instance norm sees one picture at a time, so that parts of a batch are the batch."""
    results = []
    for parts in (1, 2, 3):
        train = Train(batch=BATCH, ema=0.0, accumulate=parts)
        teacher, _ = networks(7, widths=(8, 6))
        state = state_of(train, teacher if kind == "distillation" else None)
        if kind == "distillation":
            logs = distillation_step(state, reals, rng(), distill_section(train=train))
        else:
            section = make_recipe(teacher__train__batch=BATCH).teacher
            assert section is not None
            logs = adversarial_step(state, reals, rng(), section.model_copy(update={"train": train}))
        results.append((logs, gradients(state.generator)))
    whole, whole_gradients = results[0]
    largest = max(float(g.abs().max()) for g in whole_gradients)
    for logs, found in results[1:]:
        assert logs.keys() == whole.keys()
        for name, value in logs.items():
            if name == "balance":  # of the pairs within each part
                continue
            torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-6)
        for got, expected in zip(found, whole_gradients, strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4 * largest)
