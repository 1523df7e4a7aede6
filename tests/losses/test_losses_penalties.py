"""The gradient penalty against what can be worked out by hand, and against finite differences."""

import pytest
import torch
from torch import Tensor, nn

from ganlet.losses import gradient_penalty


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Small(nn.Module):
    """A small smooth critic in float64 without anything that mixes samples."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.one, self.two = nn.Conv2d(2, 4, 3, 1, 1).double(), nn.Linear(4 * 4 * 4, 1).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.two(torch.tanh(self.one(x)).flatten(1))[:, 0]


def penalties_by_hand(critic: nn.Module, x: Tensor) -> list[float]:
    """(||dD/dx|| - 1)^2 of each sample, the gradient by central differences pixel by pixel."""
    found = []
    for sample in x:
        steps = 1e-5 * torch.eye(sample.numel(), dtype=torch.float64).reshape(-1, *sample.shape)  # a pixel each
        with torch.no_grad():
            gradient = (critic(sample + steps) - critic(sample - steps)) / 2e-5
        found.append((gradient.square().sum().sqrt().item() - 1) ** 2)
    return found


@pytest.mark.parametrize("scale", [0.01, 0.1, 1.0])
def test_a_linear_critic_has_one_slope_over_all_of_c_h_w(scale: float) -> None:
    w = scale * drawn(3, 5, 4)
    found = gradient_penalty(lambda x: (x * w).sum(dim=(1, 2, 3)), drawn(6, 3, 5, 4), drawn(6, 3, 5, 4), torch.rand(6))
    assert found.shape == () and found.item() == pytest.approx((w.square().sum().sqrt().item() - 1) ** 2, rel=1e-9)


def test_a_critic_of_slope_one_pays_nothing() -> None:
    w = drawn(3, 4, 4)
    w = w / w.norm()
    found = gradient_penalty(lambda x: (x * w).sum(dim=(1, 2, 3)), drawn(2, 3, 4, 4), drawn(2, 3, 4, 4), torch.rand(2))
    assert found.item() < 1e-20


def test_it_stands_between_real_and_fake_by_epsilon() -> None:
    real, fake, epsilon = drawn(3, 2, 4, 4, seed=1), drawn(3, 2, 4, 4, seed=2), torch.tensor([0.0, 0.25, 1.0])
    # D(x) = |x|^2 / 2 has the gradient x, so each sample's norm shows where it was asked.
    places = [fake[0], 0.25 * real[1] + 0.75 * fake[1], real[2]]
    expected = sum((place.norm().item() - 1) ** 2 for place in places) / 3
    found = gradient_penalty(lambda x: x.square().sum(dim=(1, 2, 3)) / 2, real, fake, epsilon.double())
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_against_finite_differences() -> None:
    critic, real, fake = Small(), drawn(3, 2, 4, 4, seed=1), drawn(3, 2, 4, 4, seed=2)
    epsilon = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    mixed = torch.stack([e * r + (1 - e) * f for e, r, f in zip(epsilon, real, fake, strict=True)])
    expected = penalties_by_hand(critic, mixed)
    assert gradient_penalty(critic, real, fake, epsilon).item() == pytest.approx(sum(expected) / 3, rel=1e-7)


def test_samples_do_not_see_each_other() -> None:
    critic, real, fake = Small(), drawn(4, 2, 4, 4, seed=1), drawn(4, 2, 4, 4, seed=2)
    epsilon = torch.rand(4, dtype=torch.float64)
    alone = [gradient_penalty(critic, real[i : i + 1], fake[i : i + 1], epsilon[i : i + 1]).item() for i in range(4)]
    assert max(alone) - min(alone) > 1e-3
    assert gradient_penalty(critic, real, fake, epsilon).item() == pytest.approx(sum(alone) / 4, rel=1e-12)


def test_the_second_derivative_reaches_every_weight_and_is_right() -> None:
    critic, real, fake = Small(), drawn(3, 2, 4, 4, seed=1), drawn(3, 2, 4, 4, seed=2)
    epsilon = torch.full((3,), 0.5, dtype=torch.float64)
    gradient_penalty(critic, real, fake, epsilon).backward()
    for weight in (critic.one.weight, critic.one.bias, critic.two.weight):
        assert weight.grad is not None and weight.grad.abs().max() > 0
        at = int(weight.grad.abs().argmax())
        values = []
        with torch.no_grad():
            for step in (1e-5, -2e-5):
                weight.view(-1)[at] += step
                with torch.enable_grad():
                    values.append(gradient_penalty(critic, real, fake, epsilon).item())
            weight.view(-1)[at] += 1e-5
        assert weight.grad.view(-1)[at].item() == pytest.approx((values[0] - values[1]) / 2e-5, rel=1e-5)


def test_neither_pictures_nor_their_gradients_are_touched() -> None:
    critic, real, fake = Small(), drawn(2, 2, 4, 4, seed=1), drawn(2, 2, 4, 4, seed=2)
    before = real.clone(), fake.clone()
    gradient_penalty(critic, real, fake, torch.rand(2, dtype=torch.float64)).backward()
    assert torch.equal(real, before[0]) and torch.equal(fake, before[1])
    assert not real.requires_grad and real.grad is None and not fake.requires_grad


def test_a_flat_critic_pays_one_and_its_gradient_is_finite() -> None:
    critic = Small()
    with torch.no_grad():
        critic.two.weight.zero_()
    found = gradient_penalty(critic, drawn(2, 2, 4, 4), drawn(2, 2, 4, 4, seed=1), torch.rand(2, dtype=torch.float64))
    found.backward()
    assert found.item() == 1
    assert all(torch.isfinite(p.grad).all() for p in critic.parameters() if p.grad is not None)
