"""One step of each kind against the same update written out by hand with plain autograd."""

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from ganlet.data import Batch
from ganlet.losses.perceptual import PerceptualNet
from ganlet.models.adapters import Adapters
from ganlet.models.dcgan import Critic, CriticConfig, CriticNetwork, Generator, GeneratorConfig
from ganlet.models.init import initialise
from ganlet.recipe import Distill, Recipe, Train
from ganlet.training.state import State, make_state
from ganlet.training.steps import Real, _parts, adversarial_step, critic_step, distillation_step
from ganlet.training.telemetry import require_finite

BATCH, LATENT, SIDE = 4, 5, 16


def reals(position: int) -> Batch:
    return Batch(np.random.default_rng(position).uniform(-1, 1, (BATCH, 1, SIDE, SIDE)).astype(np.float32))


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
    real = torch.from_numpy(reals(0).pictures)
    z = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(9))
    draws = rng()
    torch.rand(BATCH, generator=draws)  # the label targets come first
    eps = torch.rand(BATCH, generator=draws).reshape(-1, 1, 1, 1)

    logs = critic_step(state, Real(real, {}), {"z": z}, distill_section(loss=kind, train=train), rng())
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

    def spying(position: int) -> Batch:
        asked.append(position)
        return reals(position)

    adversarial_step(state, spying, rng(), section)
    assert asked == [15, 16, 17]


def distill_section(**changes: Any) -> Distill:
    values: dict[str, Any] = {"widths": (4, 4), "alpha": 0.3, "critic": CriticNetwork(widths=(4, 6)), "features": 2.0}
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


def distilled(train: Train, distill: Distill, teacher: Generator) -> tuple[State, Generator]:
    """A state with the distillation's own helpers, and a copy of its student."""
    generator, critic = networks(0)
    adapters = Adapters(generator.config, teacher.config) if distill.adapters else None
    perceptual = PerceptualNet() if distill.perceptual else None
    state = make_state(generator, critic, teacher, train, "cpu", adapters, perceptual)
    return state, copy.deepcopy(generator)


def test_every_term_has_its_weight() -> None:
    """The whole joint loss, its hidden layers compared by hand, against the step's own."""
    teacher, _ = networks(7, widths=(8, 6))
    distill = distill_section(pixel="none", features=0.0, adapters=0.5, relation=2.0, perceptual=3.0, alpha=0.4)
    state, student = distilled(distill.train, distill, teacher)
    assert state.adapters is not None and state.perceptual is not None
    adapters, critic = copy.deepcopy(state.adapters), copy.deepcopy(state.critic)
    state.critic_adam.param_groups[0]["lr"] = 0.0
    logs = distillation_step(state, reals, rng(), distill)

    draws = rng()
    torch.rand(BATCH, generator=draws)
    torch.randn(BATCH, LATENT, generator=draws)
    z = torch.randn(BATCH, LATENT, generator=draws)
    mine, theirs = list(student.features(z)), [m.detach() for m in teacher.features(z)]
    drawn = mine[-1]
    adapted = 0.0
    for layer in (0, 1):
        convolution = adapters.convolutions[layer]
        got = torch.einsum("oi,nihw->nohw", convolution.weight[:, :, 0, 0], mine[layer])
        got = got + convolution.bias[:, None, None]
        adapted = adapted + ((got - theirs[layer]) ** 2).mean() / (theirs[layer] ** 2).mean() / 2
    alike = 0.0
    for layer in (0, 1):
        one, other = (F.normalize(m[layer].flatten(1) @ m[layer].flatten(1).T) for m in (mine, theirs))
        alike = alike + ((one - other) ** 2).sum() / BATCH / 2
    perceived = state.perceptual(drawn, theirs[-1])
    distance = 0.5 * adapted + 2.0 * alike + 3.0 * perceived
    joint = 0.4 * F.softplus(-critic(drawn)).mean() + 0.6 * distance
    joint.backward()
    assert logs.keys() >= {"adapters", "relation", "perceptual", "adversarial", "distance"} and "pixel" not in logs
    torch.testing.assert_close(logs["generator_loss"], joint.detach(), rtol=1e-4, atol=1e-6)
    for got, expected in zip(gradients(state.generator), gradients(student), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-5)
    for got, expected in zip(gradients(state.adapters), gradients(adapters), strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-6)


def test_adapters_train_with_the_student_and_the_perceptual_net_never() -> None:
    teacher, _ = networks(7, widths=(8, 6))
    distill = distill_section(adapters=1.0, perceptual=1.0)
    state, _ = distilled(distill.train, distill, teacher)
    assert state.adapters is not None and state.perceptual is not None
    before = copy.deepcopy((state.adapters.state_dict(), state.perceptual.state_dict()))
    distillation_step(state, reals, rng(), distill)
    assert all(not torch.equal(before[0][name], v) for name, v in state.adapters.state_dict().items())
    assert all(torch.equal(before[1][name], v) for name, v in state.perceptual.state_dict().items())
    assert {"adapters", "perceptual"} & state.networks().keys() == {"adapters"}  # what a checkpoint holds


def test_alpha_goes_in_a_straight_line() -> None:
    teacher, _ = networks(7, widths=(8, 6))
    distill = distill_section(alpha=0.2, alpha_end=0.6, train=Train(batch=BATCH, images=40 * BATCH, ema=0.0))
    for step, alpha in ((0, 0.2), (10, 0.3), (40, 0.6)):
        state, _ = distilled(distill.train, distill, teacher)
        state.step = step
        logs = distillation_step(state, reals, rng(), distill)
        expected = alpha * logs["adversarial"] + (1 - alpha) * logs["distance"]
        torch.testing.assert_close(logs["generator_loss"], expected, rtol=1e-5, atol=1e-6)


def critic_after(gate: float | None, bias: float) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], Any]:
    """A critic before and after one update; `bias` brightens the real pictures."""
    train = Train(batch=BATCH, ema=0.0, lr=1e-2)
    state = state_of(train)
    before = copy.deepcopy(state.critic.state_dict())
    z = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(9))
    real = state.generator(z).detach() if bias == 0 else torch.from_numpy(reals(0).pictures) + bias
    logs = critic_step(state, Real(real, {}), {"z": z}, distill_section(gate=gate, train=train), rng())
    return before, copy.deepcopy(state.critic.state_dict()), logs


def test_a_gate_shortens_the_critics_update_as_far_as_it_wins() -> None:
    before, free, logs = critic_after(None, -3.0)
    balance = float(logs["balance"])
    assert "gate" not in logs and 0.6 < balance < 1
    for gate in (0.5, 0.6):
        _, gated, told = critic_after(gate, -3.0)
        factor = min(1.0, (1 - balance) / (1 - gate))
        assert float(told["gate"]) == pytest.approx(factor, abs=1e-6)
        for name, was in before.items():
            torch.testing.assert_close(gated[name] - was, factor * (free[name] - was), rtol=1e-4, atol=1e-7)


def test_an_open_gate_changes_no_bit() -> None:
    _, free, logs = critic_after(None, 0.0)
    assert float(logs["balance"]) == 0.5  # the same pictures on both sides
    _, gated, told = critic_after(0.6, 0.0)
    assert told["gate"] == 1 and all(torch.equal(free[name], gated[name]) for name in free)


def test_part_of_the_real_pictures_may_be_the_teachers() -> None:
    teacher, _ = networks(7, widths=(8, 6))
    seen: list[torch.Tensor] = []
    for share in (1.0, 0.5):
        distill = distill_section(real_share=share)
        state, _ = distilled(distill.train, distill, teacher)
        state.critic.register_forward_pre_hook(lambda module, args: seen.append(args[0].detach().clone()))
        distillation_step(state, reals, rng(), distill)
    whole, mixed = seen[0], next(s for s in seen[1:] if torch.equal(s[:2], seen[0][:2]) and not torch.equal(s, seen[0]))
    assert torch.equal(whole, torch.from_numpy(reals(0).pictures))
    z = torch.randn(2, LATENT, generator=rng())
    torch.testing.assert_close(mixed[2:], teacher(z).detach())


def test_label_smoothing_is_one_sided() -> None:
    smooth = Train(batch=BATCH, ema=0.0, real_label_low=0.8)
    state = state_of(smooth)
    real = torch.from_numpy(reals(0).pictures)
    z = torch.randn(BATCH, LATENT, generator=torch.Generator().manual_seed(9))
    frozen_critic = copy.deepcopy(state.critic)
    target = 1 - 0.2 * torch.rand(BATCH, generator=rng())
    logs = critic_step(state, Real(real, {}), {"z": z}, distill_section(train=smooth), rng())
    p_real, fake = torch.sigmoid(frozen_critic(real)), frozen_critic(state.generator(z).detach())
    by_hand = -(target * p_real.log() + (1 - target) * (1 - p_real).log()).mean() + F.softplus(fake).mean()
    torch.testing.assert_close(logs["critic_loss"], by_hand.detach(), rtol=1e-5, atol=1e-6)
    assert 0.8 <= float(target.min()) <= float(target.max()) <= 1.0


@pytest.mark.parametrize(("batch", "count"), [(10, 4), (9, 6), (32, 4), (7, 7)])
def test_there_are_as_many_parts_as_were_asked_for_and_none_is_much_smaller(batch: int, count: int) -> None:
    whole = {"z": torch.arange(batch), "label": -torch.arange(batch)}
    shares, feeds = zip(*_parts(count, whole), strict=True)
    assert all(list(feed) == ["z", "label"] and torch.equal(feed["label"], -feed["z"]) for feed in feeds)
    parts = [feed["z"] for feed in feeds]
    assert len(parts) == count and torch.equal(torch.cat(parts), whole["z"])
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1 and [share * batch for share in shares] == pytest.approx(sizes)


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
