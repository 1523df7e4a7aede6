"""Adapters between generators, and which of their layers belong together."""

import pytest
import torch

from ganlet.models.adapters import Adapters
from ganlet.models.config import hidden_pairs, partners
from ganlet.models.dcgan import GeneratorConfig
from ganlet.models.families import build_generator


def config(widths: tuple[int, ...], strides: tuple[int, ...]) -> GeneratorConfig:
    return GeneratorConfig(latent=6, widths=widths, strides=strides, kernels=tuple(2 * s for s in strides), channels=3)


TEACHER = config((9, 8, 7), (2, 2, 2))


@pytest.mark.parametrize(
    ("student", "expected", "hidden"),
    [
        (config((4, 3, 2), (2, 2, 2)), [0, 1, 2, 3], [(0, 0), (1, 1), (2, 2)]),
        (config((4, 3), (4, 2)), [0, 2, 3], [(0, 0), (1, 2)]),  # the base work's: no map of 8 x 8
        (config((4, 3), (2, 4)), [0, 1, 3], [(0, 0), (1, 1)]),
        (config((4,), (8,)), [0, 3], [(0, 0)]),
    ],
)
def test_layers_pair_by_the_size_of_their_maps(
    student: GeneratorConfig, expected: list[int], hidden: list[tuple[int, int]]
) -> None:
    assert partners(student, TEACHER) == expected and hidden_pairs(student, TEACHER) == hidden
    sizes = [list(m.shape[2:]) for m in build_generator(student).features(torch.zeros(2, 6))]
    theirs = [list(m.shape[2:]) for m in build_generator(TEACHER).features(torch.zeros(2, 6))]
    assert [theirs[layer] for layer in expected] == sizes


def test_a_size_that_comes_twice_has_no_partner() -> None:
    repeated = GeneratorConfig(latent=6, widths=(4, 4, 3), strides=(1, 4, 2), kernels=(3, 8, 4), channels=3)
    assert partners(repeated, TEACHER) == [None, None, 2, 3]
    same = repeated.model_copy(update={"widths": (8, 8, 6)})
    assert partners(repeated, same) == [0, 1, 2, 3]


def test_features_end_in_the_picture() -> None:
    generator = build_generator(TEACHER).eval()
    z = torch.randn(2, 6, generator=torch.Generator().manual_seed(0))
    *maps, images = generator.features(z)
    assert torch.equal(images, generator(z))
    assert [m.shape[1] for m in maps] == [9, 8, 7] and all((m >= 0).all() for m in maps)


def test_adapters_begin_as_repeated_channels_and_learn() -> None:
    student = config((4, 3), (4, 2))
    torch.manual_seed(1)
    adapters = Adapters(student, TEACHER)
    torch.manual_seed(2)
    again = Adapters(student, TEACHER)
    assert all(torch.equal(a, b) for a, b in zip(adapters.parameters(), again.parameters(), strict=True))
    maps = [torch.rand(2, 4, 4, 4), torch.rand(2, 3, 16, 16)]
    first, second = adapters(maps)
    assert first.shape == (2, 9, 4, 4) and second.shape == (2, 7, 16, 16)
    for channel in range(9):
        assert torch.equal(first[:, channel], maps[0][:, channel % 4])
    (first.square().mean() + second.square().mean()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in adapters.parameters())
