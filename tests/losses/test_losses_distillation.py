"""Distances between student and teacher: written out in numpy, and what has to hold of any of them."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor
from torch.nn.functional import mse_loss

from ganlet.losses import (
    adapted_features,
    balance,
    feature_l1,
    gate_factor,
    joint_loss,
    ramp,
    relation,
    weighted,
)
from ganlet.losses.distillation import mse, perceptual, similarity

Distance = Callable[[list[Tensor], list[Tensor]], Tensor]


def maps(seed: int, channels: int = 5) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    return [torch.randn(4, channels, side, side, generator=rng) for side in (2, 3)]


def heads() -> list[Tensor]:
    return [torch.linspace(0.1, 1, 5), torch.linspace(1, 0.2, 5)]


DISTANCES: dict[str, Distance] = {
    "feature_l1": feature_l1,
    "adapted_features": adapted_features,
    "relation": relation,
    "perceptual": lambda s, t: perceptual(s, t, heads()),
}


@pytest.mark.parametrize("name", DISTANCES)
def test_a_distance_is_zero_for_equals_alone_and_falls_along_its_gradient(name: str) -> None:
    distance = DISTANCES[name]
    student, teacher = [m.requires_grad_() for m in maps(1)], maps(2)
    assert distance(teacher, [t.clone() for t in teacher]).item() == pytest.approx(0, abs=1e-7)
    before = distance(student, teacher)
    assert before.shape == () and before.item() > 0.01
    before.backward()
    moved = [m.detach() - 1e-2 * m.grad / m.grad.norm() for m in student if m.grad is not None]
    assert len(moved) == len(student) and distance(moved, teacher) < before


def test_adapted_features_by_hand() -> None:
    student, teacher = maps(1), maps(2)
    expected = np.mean([((s - t).numpy() ** 2).mean() / (t.numpy() ** 2).mean() for s, t in zip(student, teacher)])  # noqa: B905
    assert adapted_features(student, teacher).item() == pytest.approx(float(expected), rel=1e-5)
    larger = adapted_features(
        [7 * s for s in student], [7 * t for t in teacher]
    )  # relative: no scale of a layer counts
    assert larger.item() == pytest.approx(float(expected), rel=1e-5)


def test_relation_by_hand_for_networks_of_different_width() -> None:
    student, teacher = maps(1, channels=3), maps(2, channels=9)

    def similar(m: Tensor) -> np.ndarray:
        flat = m.flatten(1).numpy().astype(np.float64)
        products = flat @ flat.T
        return products / np.linalg.norm(products, axis=1, keepdims=True)

    gaps = [np.linalg.norm(similar(s) - similar(t)) ** 2 / 4 for s, t in zip(student, teacher, strict=True)]
    assert relation(student, teacher).item() == pytest.approx(np.mean(gaps), rel=1e-4)


def test_relations_know_no_scale_and_no_order_of_channels() -> None:
    (features, _) = maps(3)
    for same in (3 * features, features.flip(1), -features):
        torch.testing.assert_close(similarity(same), similarity(features))
    torch.testing.assert_close(similarity(features).norm(dim=1), torch.ones(4))


def test_perceptual_by_hand() -> None:
    student, teacher = maps(1), maps(2)
    total = 0.0
    for s, t, head in zip(student, teacher, heads(), strict=True):
        for n, y, x in np.ndindex(4, *s.shape[2:]):
            a, b = s[n, :, y, x].numpy().astype(np.float64), t[n, :, y, x].numpy().astype(np.float64)
            gap = a / np.linalg.norm(a) - b / np.linalg.norm(b)
            total += (head.numpy() * gap**2).sum() / (4 * s.shape[2] * s.shape[3])
    assert perceptual(student, teacher, heads()).item() == pytest.approx(total, rel=1e-4)


def test_the_joint_loss_is_a_weighted_sum() -> None:
    terms = {"a": torch.tensor(2.0), "b": torch.tensor(5.0)}
    assert weighted(terms, {"a": 3.0, "b": 0.5}).item() == 8.5
    assert joint_loss(0.25, torch.tensor(4.0), torch.tensor(8.0)).item() == 7.0
    assert (ramp(0.2, 0.8, 0), ramp(0.2, 0.8, 1), ramp(0.3, 0.3, 0.7)) == (0.2, 0.8, 0.3)
    assert ramp(1, 0, 0.25) == 0.75


def test_balance_is_the_rank_statistic_of_mann_and_whitney() -> None:
    rng = torch.Generator().manual_seed(0)
    for shift in (-1.0, 0.0, 0.4, 3.0):
        real = (torch.randn(31, generator=rng) + shift).round(decimals=1)  # rounded, so that there are ties
        fake = torch.randn(17, generator=rng).round(decimals=1)
        expected = mannwhitneyu(real.numpy(), fake.numpy()).statistic / (31 * 17)
        assert balance(real, fake).item() == pytest.approx(expected, abs=1e-6)
    assert balance(torch.ones(3), torch.zeros(4)) == 1 and balance(torch.ones(3), torch.ones(2)) == 0.5


def test_the_gate_is_open_below_its_threshold_and_shut_at_one() -> None:
    found = [gate_factor(torch.tensor(b), 0.8).item() for b in (0.0, 0.5, 0.8, 0.9, 1.0)]
    assert found == pytest.approx([1, 1, 1, 0.5, 0], abs=1e-6)
    assert gate_factor(torch.tensor(0.7), 0.8) == 1  # to the bit: an open gate changes nothing


def test_mse_has_the_bits_of_torch_and_its_scalar_no_memory_of_the_pictures() -> None:
    student, teacher = torch.randn(8, 3, 4, 4, requires_grad=True), torch.randn(8, 3, 4, 4)
    ours, theirs = mse(student, teacher), mse_loss(student, teacher)
    assert torch.equal(ours, theirs) and ours.untyped_storage().nbytes() == 4
    gradients = [torch.autograd.grad(value, student)[0] for value in (ours, theirs)]
    assert torch.equal(*gradients)
