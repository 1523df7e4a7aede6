"""Each loss against its paper's formula, written with log and sigmoid in float64."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlet.losses import (
    CRITIC_LOSSES,
    GENERATOR_LOSSES,
    PIXEL_TERMS,
    critic_loss,
    feature_l1,
    generator_loss,
    joint_loss,
)

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(0.5, 2, 9), RNG.normal(-0.5, 2, 9)
KINDS = sorted(CRITIC_LOSSES)


def log_d(s: np.ndarray) -> np.ndarray:
    return np.log(1 / (1 + np.exp(-s)))


def log_not_d(s: np.ndarray) -> np.ndarray:
    return np.log(1 - 1 / (1 + np.exp(-s)))


Formula = Callable[[np.ndarray, np.ndarray], float]
CRITIC: dict[str, Formula] = {  # what the critic minimises, by real and fake scores
    "minimax": lambda r, f: -(log_d(r).mean() + log_not_d(f).mean()),  # Goodfellow et al. 2014, eq. 1
    "non-saturating": lambda r, f: -(log_d(r).mean() + log_not_d(f).mean()),
    "least-squares": lambda r, f: ((r - 1) ** 2).mean() / 2 + (f**2).mean() / 2,  # Mao et al. 2017, eq. 9
    "hinge": lambda r, f: np.maximum(0, 1 - r).mean() + np.maximum(0, 1 + f).mean(),
    "wgan-gp": lambda r, f: f.mean() - r.mean(),
}
GENERATOR: dict[str, Callable[[np.ndarray], float]] = {
    "minimax": lambda f: log_not_d(f).mean(),
    "non-saturating": lambda f: -log_d(f).mean(),
    "least-squares": lambda f: ((f - 1) ** 2).mean() / 2,
    "hinge": lambda f: -f.mean(),
    "wgan-gp": lambda f: -f.mean(),
}


def test_every_loss_is_tested() -> None:
    assert CRITIC.keys() == GENERATOR.keys() == CRITIC_LOSSES.keys() == GENERATOR_LOSSES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_critic_loss_is_the_papers(kind: str) -> None:
    found = critic_loss(kind, torch.from_numpy(REAL), torch.from_numpy(FAKE))
    assert found.shape == () and found.item() == pytest.approx(CRITIC[kind](REAL, FAKE), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_generator_loss_is_the_papers(kind: str) -> None:
    found = generator_loss(kind, torch.from_numpy(FAKE))
    assert found.shape == () and found.item() == pytest.approx(GENERATOR[kind](FAKE), rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_one_sided_label_smoothing(kind: str) -> None:
    target = RNG.uniform(0.8, 1, 9)
    found = critic_loss(kind, torch.from_numpy(REAL), torch.from_numpy(FAKE), torch.from_numpy(target)).item()
    smooth: dict[str, Formula] = {
        "minimax": lambda r, f: -(target * log_d(r) + (1 - target) * log_not_d(r)).mean() - log_not_d(f).mean(),
        "least-squares": lambda r, f: ((r - target) ** 2).mean() / 2 + (f**2).mean() / 2,
        "hinge": lambda r, f: np.maximum(0, target - r).mean() + np.maximum(0, 1 + f).mean(),
        "wgan-gp": CRITIC["wgan-gp"],
    }
    smooth["non-saturating"] = smooth["minimax"]
    assert found == pytest.approx(smooth[kind](REAL, FAKE), rel=1e-12)  # the part of the fakes stays as it is
    if kind != "wgan-gp":
        assert abs(found - CRITIC[kind](REAL, FAKE)) > 1e-3


def test_a_smoothed_critic_is_best_at_the_targets_logit() -> None:
    target = torch.full((1,), 0.9, dtype=torch.float64)
    score = torch.log(target / (1 - target)).requires_grad_(True)
    CRITIC_LOSSES["minimax"][0](score, target).backward()
    assert score.grad is not None and abs(score.grad.item()) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1000.0, -1000.0])
def test_huge_scores_give_finite_losses_and_gradients(kind: str, size: float) -> None:
    real, fake = (torch.full((3,), size, requires_grad=True) for _ in range(2))
    for loss in (critic_loss(kind, real, fake, torch.full((3,), 0.9)), generator_loss(kind, fake)):
        loss.backward()
        assert torch.isfinite(loss)
    assert torch.isfinite(real.grad).all() and torch.isfinite(fake.grad).all()  # type: ignore[arg-type]


def test_saturated_values_are_exact() -> None:
    far = torch.tensor([-1000.0])
    assert generator_loss("non-saturating", far).item() == 1000  # -log sigmoid(-1000)
    assert generator_loss("minimax", far).item() == 0 and generator_loss("minimax", -far).item() == -1000
    assert critic_loss("minimax", far, -far).item() == 2000
    assert critic_loss("hinge", -far, far).item() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_the_critic_raises_real_and_lowers_fake_and_the_generator_raises_fake(kind: str) -> None:
    undecided = torch.zeros(4, dtype=torch.float64)
    real, fake = undecided.clone().requires_grad_(True), (undecided + 0.1).requires_grad_(True)
    critic_loss(kind, real, fake).backward()
    assert (real.grad < 0).all() and (fake.grad > 0).all()  # type: ignore[operator]
    judged = undecided.clone().requires_grad_(True)
    generator_loss(kind, judged).backward()
    assert (judged.grad < 0).all()  # type: ignore[operator]


def test_the_non_saturating_loss_still_teaches_when_the_critic_is_sure() -> None:
    def slope(kind: str) -> float:
        sure = torch.full((1,), -20.0, dtype=torch.float64, requires_grad=True)
        (gradient,) = torch.autograd.grad(generator_loss(kind, sure), sure)
        return gradient.item()

    assert slope("minimax") == pytest.approx(-1 / (1 + np.exp(20)), rel=1e-9)
    assert slope("non-saturating") == pytest.approx(-1 / (1 + np.exp(-20)), rel=1e-9)


# ---------------------------------------------------------------- distillation


def test_joint_loss_ends_and_middle() -> None:
    adversarial, distance = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (3.0, 0.25))
    assert joint_loss(1, adversarial, distance).item() == 3
    assert joint_loss(0, adversarial, distance).item() == 0.25
    joint = joint_loss(0.05, adversarial, distance)
    joint.backward()
    assert joint.item() == pytest.approx(0.05 * 3 + 0.95 * 0.25, rel=1e-15)
    assert (adversarial.grad.item(), distance.grad.item()) == pytest.approx((0.05, 0.95))  # type: ignore[union-attr]


def test_pixel_terms_are_means_over_everything() -> None:
    one, other = (RNG.normal(size=(2, 3, 4, 4)) for _ in range(2))
    a, b = torch.from_numpy(one), torch.from_numpy(other)
    assert PIXEL_TERMS["mse"](a, b).item() == pytest.approx(((one - other) ** 2).mean(), rel=1e-12)
    assert PIXEL_TERMS["l1"](a, b).item() == pytest.approx(np.abs(one - other).mean(), rel=1e-12)


def test_feature_l1_weighs_layers_alike_whatever_their_size() -> None:
    shapes = [(2, 8, 8, 8), (2, 3, 1, 1)]
    ours, theirs = ([RNG.normal(size=shape) for shape in shapes] for _ in range(2))
    found = feature_l1([torch.from_numpy(v) for v in ours], iter([torch.from_numpy(v) for v in theirs]))
    assert found.item() == pytest.approx(sum(np.abs(a - b).mean() for a, b in zip(ours, theirs, strict=True)) / 2)


def test_feature_l1_of_different_depths_is_refused() -> None:
    def layers(count: int) -> list[Tensor]:
        return [torch.zeros(1)] * count

    with pytest.raises(ValueError, match="argument 2 is shorter"):
        feature_l1(layers(2), layers(1))
