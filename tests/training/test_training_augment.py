"""Differentiable augmentation: seeded, per sample, and what it does checked with numpy."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ganlet.training.augment import AUGMENTATIONS, augment, color, cutout, translation

NAMES = sorted(AUGMENTATIONS)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 6, channels: int = 3, side: int = 16) -> Tensor:
    return torch.rand(count, channels, side, side, generator=rng(9)) * 0.8 + 0.1  # nowhere 0, which marks what was cut


def test_an_empty_policy_returns_the_same_tensor() -> None:
    images, drawn = pictures(), rng()
    before = drawn.get_state()
    assert augment(images, (), drawn) is images
    assert torch.equal(drawn.get_state(), before)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_seeded_and_drawn_for_each_sample(name: str, channels: int) -> None:
    images = pictures(1, channels).expand(6, -1, -1, -1)
    changed = augment(images, [name], rng(1))
    assert changed.shape == images.shape and changed.dtype == images.dtype
    assert torch.equal(changed, augment(images, [name], rng(1)))
    assert not torch.equal(changed, augment(images, [name], rng(2)))
    different = sum(not torch.equal(a, b) for i, a in enumerate(changed) for b in changed[:i])
    assert different >= 12  # of 15 pairs
    assert torch.equal(images, pictures(1, channels).expand(6, -1, -1, -1))  # the input is left alone


def test_one_generator_changes_real_and_fake_differently() -> None:
    drawn = rng()
    images = pictures()
    for name in NAMES:
        assert not torch.equal(augment(images, [name], drawn), augment(images, [name], drawn))


@pytest.mark.parametrize("name", NAMES)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    images = pictures(2, 3, 8).double().requires_grad_(True)
    weights = torch.randn(images.shape, generator=rng(3), dtype=torch.float64)
    (gradient,) = torch.autograd.grad((augment(images, [name], rng(1)) * weights).sum(), images)
    assert gradient.abs().max() > 0.1
    for at in ((0, 0, 4, 4), (1, 2, 3, 5), (1, 1, 0, 7)):
        values = []
        for step in (1e-6, -1e-6):
            moved = images.detach().clone()
            moved[at] += step
            values.append((augment(moved, [name], rng(1)) * weights).sum().item())
        assert gradient[at].item() == pytest.approx((values[0] - values[1]) / 2e-6, abs=1e-6)


def test_a_policy_is_applied_in_order_with_one_stream_of_draws() -> None:
    images, drawn = pictures(), rng(4)
    expected = cutout(color(images, drawn), drawn)
    assert torch.equal(augment(images, ["color", "cutout"], rng(4)), expected)


def test_translation_is_a_shift_with_grey_coming_in() -> None:
    images = pictures(64)
    shifted = translation(images, rng(2)).numpy()
    seen = set()
    for before, after in zip(images.numpy(), shifted, strict=True):
        fits = []
        for down in range(-3, 4):
            for right in range(-3, 4):
                moved = np.zeros_like(before)
                rows = slice(max(0, down), 16 + min(0, down)), slice(max(0, -down), 16 + min(0, -down))
                columns = slice(max(0, right), 16 + min(0, right)), slice(max(0, -right), 16 + min(0, -right))
                moved[:, rows[0], columns[0]] = before[:, rows[1], columns[1]]
                if np.array_equal(moved, after):
                    fits.append((down, right))
        assert len(fits) == 1
        seen.add(fits[0])
    assert {d for d, _ in seen} == {r for _, r in seen} == {-2, -1, 0, 1, 2}  # an eighth of 16 each way
    assert len(seen) > 12  # both directions are drawn apart


def test_cutout_is_a_square_hole_of_half_the_side() -> None:
    images = pictures(300)
    holes = (cutout(images, rng(2)) == 0).numpy()
    assert (holes == holes[:, :1]).all()  # through all channels
    kept = ~holes
    np.testing.assert_array_equal(cutout(images, rng(2)).numpy()[kept], images.numpy()[kept])
    heights, widths = [], []
    for hole in holes[:, 0]:
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert hole.sum() == len(rows) * len(columns)  # a filled rectangle
        assert np.ptp(rows) + 1 == len(rows) and np.ptp(columns) + 1 == len(columns)
        for found, lengths in ((rows, heights), (columns, widths)):
            lengths.append(len(found))
            assert len(found) == 8 or found[0] == 0 or found[-1] == 15  # smaller only where the border cuts it
    # Centre c uniform in [0, 16]: the hole has min(c, 4) + min(16 - c, 4) rows, on average 8 - 2 x 4^2 / (2 x 16) = 7.
    assert min(heights) >= 4 and max(heights) == 8
    assert np.mean(heights) == pytest.approx(7, abs=0.25) and np.mean(widths) == pytest.approx(7, abs=0.25)
    assert holes[:, 0].sum(axis=(1, 2)).mean() == pytest.approx(49, abs=3)


def test_color_keeps_what_each_part_must_keep() -> None:
    """Pixel differences of grey values scale by one contrast; colours around grey scale by saturation x contrast."""
    images = pictures(200).double()
    changed = color(images, rng(5))
    grey, new_grey = images.mean(1), changed.mean(1)
    flat, new_flat = grey.flatten(1), new_grey.flatten(1)
    contrast = (new_flat - new_flat.mean(1, keepdim=True)).norm(dim=1) / (flat - flat.mean(1, keepdim=True)).norm(dim=1)
    torch.testing.assert_close(
        new_flat - new_flat.mean(1, keepdim=True), contrast[:, None] * (flat - flat.mean(1, keepdim=True))
    )
    tint, new_tint = images - grey[:, None], changed - new_grey[:, None]
    saturation = new_tint.flatten(1).norm(dim=1) / tint.flatten(1).norm(dim=1) / contrast
    torch.testing.assert_close(new_tint, (saturation * contrast)[:, None, None, None] * tint)
    brightness = new_flat.mean(1) - flat.mean(1)
    for values, low, high in ((brightness, -0.5, 0.5), (saturation, 0, 2), (contrast, 0.5, 1.5)):
        assert low <= values.min() < low + 0.1 * (high - low) and high - 0.1 * (high - low) < values.max() <= high
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.1 * (high - low))
    together = torch.corrcoef(torch.stack([brightness, saturation, contrast]))
    assert (together - torch.eye(3, dtype=torch.float64)).abs().max() < 0.3  # three draws, not one
