"""Step time and peak memory of a training step, against the base work's step written as it was published.

    python benchmarks/training_step.py            # base-work widths at 128 x 128: time at batch 8, memory at 8, 32
    python benchmarks/training_step.py --quarter  # all widths divided by four: the same ratios in a minute

Both steps run on the same machine, in the same process, in turns; what is printed are medians and their ratios. The
base work's step keeps what it does not need: fakes are not detached (the critic's backward runs through the generator),
the graph of the penalty is kept, the teacher of a distillation requires gradients and its first forward is unused.
Peak memory is a forecast: live tensor bytes over two steps under fake tensors, the same tracker for both.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch._subclasses.fake_tensor import FakeTensorMode

from ganlet.data import Batch
from ganlet.files import MIB
from ganlet.memory.trace import LiveStorages
from ganlet.models.dcgan import CriticConfig, CriticNetwork, GeneratorConfig
from ganlet.recipe import Distill, Teacher, Train
from ganlet.training.peak import tensors_of
from ganlet.training.plan import Plan, build_state, random_weights
from ganlet.training.state import State, random_at
from ganlet.training.steps import Logs, RealBatch, adversarial_step, distillation_step

TEACHER_WIDTHS, STUDENT_WIDTHS = (2048, 1024, 512, 256, 128), (512, 256, 128, 64)
CRITIC_WIDTHS = (64, 128, 256, 512, 1024)
N_CRITIC, SIZE_PX, LATENT = 5, 128, 100
Work = Callable[[], Logs | None]


def teacher_plan(batch: int, divide: int) -> Plan:
    critic = CriticNetwork(widths=_divided(CRITIC_WIDTHS, divide), norm="instance", spectral=False)
    train = Train(batch=batch, n_critic=N_CRITIC, lr=1e-4, betas=(0.0, 0.9), ema=0.0)
    teacher = Teacher(widths=_divided(TEACHER_WIDTHS, divide), loss="wgan-gp", critic=critic, train=train)
    return Plan("teacher", _generator(TEACHER_WIDTHS, divide), _critic(divide), teacher, adversarial_step)


def distill_plan(batch: int, divide: int) -> Plan:
    critic = CriticNetwork(widths=_divided(CRITIC_WIDTHS, divide), norm="instance", spectral=False)
    train = Train(batch=batch, lr=5e-4, betas=(0.0, 0.999), ema=0.0)
    distill = Distill(widths=_divided(STUDENT_WIDTHS, divide), alpha=0.05, critic=critic, train=train)
    student, teacher = _generator(STUDENT_WIDTHS, divide, (4, 2, 2, 2)), _generator(TEACHER_WIDTHS, divide)
    return Plan("student", student, _critic(divide), distill, distillation_step, teacher=teacher)


def published_wgan_step(state: State, reals: RealBatch, rng: torch.Generator) -> None:
    """The base work's teacher step: n_critic critic updates and one of the generator."""
    for number in range(N_CRITIC):
        real = torch.as_tensor(reals(number).pictures)
        fake = state.generator(torch.randn(len(real), LATENT, generator=rng))  # not detached
        real_scores, fake_scores = state.critic(real), state.critic(fake)
        epsilon = torch.rand(len(real), 1, 1, 1, generator=rng)
        mixed = (epsilon * real + (1 - epsilon) * fake).requires_grad_(True)
        scores = state.critic(mixed)
        (gradient,) = torch.autograd.grad(scores, mixed, torch.ones_like(scores), create_graph=True, retain_graph=True)
        penalty = (gradient.flatten(1).norm(2, dim=1) - 1).square().mean()
        state.critic_adam.zero_grad()
        (fake_scores.mean() - real_scores.mean() + 10 * penalty).backward(retain_graph=True)
        state.critic_adam.step()
    fake = state.generator(torch.randn(len(real), LATENT, generator=rng))
    state.generator_adam.zero_grad()
    (-state.critic(fake).mean()).backward()
    state.generator_adam.step()


def published_distillation_step(state: State, reals: RealBatch, rng: torch.Generator) -> None:
    """The base work's distillation step, its unused first pass of the teacher included."""
    assert state.teacher is not None
    real = torch.as_tensor(reals(0).pictures)
    ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
    z = torch.randn(len(real), LATENT, generator=rng)
    student, teacher = state.generator(z), state.teacher(z)
    unused = F.mse_loss(student, teacher)
    critic_loss = F.binary_cross_entropy_with_logits(state.critic(real), ones)
    critic_loss = critic_loss + F.binary_cross_entropy_with_logits(state.critic(student), zeros)  # not detached
    state.critic_adam.zero_grad()
    critic_loss.backward()
    state.critic_adam.step()
    del unused
    state.critic.requires_grad_(False)
    z = torch.randn(len(real), LATENT, generator=rng)
    student, teacher = state.generator(z), state.teacher(z)
    adversarial = F.binary_cross_entropy_with_logits(state.critic(student), ones)
    state.generator_adam.zero_grad()
    (0.05 * adversarial + 0.95 * F.mse_loss(student, teacher)).backward()
    state.generator_adam.step()
    state.critic.requires_grad_(True)


PUBLISHED = {"teacher": published_wgan_step, "student": published_distillation_step}


def published_state(plan: Plan, fake: bool) -> State:
    """The state that the published code trains: its teacher's parameters require gradients and it trains on."""
    state = build_state(plan, (lambda *_: None) if fake else random_weights(0, plan.stage), "cpu")
    if state.teacher is not None:
        state.teacher.requires_grad_(True).train()
    return state


def reals_of(batch: int) -> RealBatch:
    pictures = np.random.default_rng(0).uniform(-1, 1, (batch, 3, SIZE_PX, SIZE_PX)).astype(np.float32)
    return lambda position: Batch(pictures)


def step_seconds(plan: Plan, rounds: int) -> tuple[float, float]:
    """Median seconds of the published step and of ours, run in turns after one warm-up each."""
    reals = reals_of(plan.train.batch)
    theirs, ours = published_state(plan, fake=False), build_state(plan, random_weights(0, plan.stage), "cpu")
    published: Work = lambda: PUBLISHED[plan.stage](theirs, reals, random_at(0, "p", 0))  # type: ignore[func-returns-value]  # noqa: E731
    own: Work = lambda: plan.step(ours, reals, random_at(0, "o", 0), plan.section)  # noqa: E731
    times: tuple[list[float], list[float]] = ([], [])
    for round_number in range(rounds + 1):
        for work, taken in zip((published, own), times, strict=True):
            started = time.perf_counter()
            work()
            if round_number:
                taken.append(time.perf_counter() - started)
    return statistics.median(times[0]), statistics.median(times[1])


def peak_mib(plan: Plan, published: bool) -> float:
    """Forecast peak of live tensors over two steps, in MiB."""
    reals = reals_of(plan.train.batch)
    with FakeTensorMode(allow_non_fake_inputs=True):
        state = published_state(plan, fake=True) if published else build_state(plan, lambda *_: None, "cpu")
        tracker = LiveStorages()
        for tensor in tensors_of(state):
            tracker.watch(tensor)
        with tracker:
            for _ in range(2):
                rng = random_at(0, "m", 0)
                if published:
                    PUBLISHED[plan.stage](state, reals, rng)
                else:
                    plan.step(state, reals, rng, plan.section)
    return tracker.peak_bytes / MIB


def _divided(widths: tuple[int, ...], divide: int) -> tuple[int, ...]:
    return tuple(width // divide for width in widths)


def _generator(widths: tuple[int, ...], divide: int, strides: tuple[int, ...] | None = None) -> GeneratorConfig:
    steps = strides or (2,) * len(widths)
    kernels = tuple(2 * stride for stride in steps)
    return GeneratorConfig(latent=LATENT, widths=_divided(widths, divide), strides=steps, kernels=kernels, channels=3)


def _critic(divide: int) -> CriticConfig:
    return CriticConfig(widths=_divided(CRITIC_WIDTHS, divide), channels=3, norm="instance", spectral=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8, help="batch of the timing")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quarter", action="store_true", help="widths divided by four")
    options = parser.parse_args()
    divide = 4 if options.quarter else 1
    result = {"torch": torch.__version__, "threads": torch.get_num_threads(), "widths_divided_by": divide}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, widths / {divide}, {SIZE_PX} x {SIZE_PX} px")
    for name, make in (("WGAN-GP teacher", teacher_plan), ("distillation", distill_plan)):
        for batch in (8, 32):
            theirs, ours = peak_mib(make(batch, divide), True), peak_mib(make(batch, divide), False)
            print(
                f"{name:16} batch {batch:2}: peak {theirs:7.0f} -> {ours:7.0f} MiB, {ours / theirs:.2f}x of published"
            )
            result[f"{name} memory ratio, batch {batch}"] = round(ours / theirs, 3)
        published_s, own_s = step_seconds(make(options.batch, divide), options.rounds)
        print(
            f"{name:16} batch {options.batch:2}: step {published_s:6.2f} -> {own_s:6.2f} s, "
            f"{published_s / own_s:.2f}x faster"
        )
        result[f"{name} speed ratio, batch {options.batch}"] = round(published_s / own_s, 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
