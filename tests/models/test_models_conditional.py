"""Networks of classes: what a label changes, and what it leaves as it was without one."""

from typing import Any

import numpy as np
import pydantic
import pytest
import torch
from torch import Tensor, nn

from ganlet.device.feed import label_port, z_port
from ganlet.models.blocks import MOST_EMBEDDED, ConditionalBatchNorm2d, LabelVectors
from ganlet.models.dcgan import CriticConfig, GeneratorConfig
from ganlet.models.families import build_critic, build_generator
from ganlet.models.init import initialise
from ganlet.models.ports import seeded_feed

CLASSES = 3
PLAIN = GeneratorConfig(latent=5, widths=(8, 6), strides=(2, 2), kernels=(4, 4), channels=3)
CRITIC = CriticConfig(widths=(4, 6), channels=3, norm="instance")


def generator_config(condition: Any, **changes: Any) -> GeneratorConfig:
    values = PLAIN.model_dump() | {"classes": CLASSES, "condition": condition}
    return GeneratorConfig.model_validate(values | changes)


def critic_config(condition: Any, **changes: Any) -> CriticConfig:
    return CriticConfig.model_validate(CRITIC.model_dump() | {"classes": CLASSES, "condition": condition} | changes)


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def randomised(network: nn.Module, seed: int = 0) -> Any:
    """Every weight, and the statistics of every norm, random."""
    rng = torch.Generator().manual_seed(seed)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2, generator=rng)
        elif tensor.is_floating_point():
            tensor.normal_(0, 0.3, generator=rng)
    return network


# ---------------------------------------------------------------- the conditional batch norm


def test_equal_gains_and_biases_are_a_plain_batch_norm() -> None:
    mine, theirs = ConditionalBatchNorm2d(6, CLASSES), nn.BatchNorm2d(6)
    gain, bias = drawn(6, seed=2), drawn(6, seed=3)
    with torch.no_grad():
        mine.gain.weight.copy_(gain.expand(CLASSES, 6))
        mine.bias.weight.copy_(bias.expand(CLASSES, 6))
        theirs.weight.copy_(gain)
        theirs.bias.copy_(bias)
    label = torch.tensor([0, 1, 2, 2, 0, 1, 1])
    for step in range(3):
        x = 2 * drawn(7, 6, 5, 4, seed=step) + 1
        torch.testing.assert_close(mine(x, label), theirs(x))
        torch.testing.assert_close(mine.norm.running_mean, theirs.running_mean)
        torch.testing.assert_close(mine.norm.running_var, theirs.running_var)
    mine.eval(), theirs.eval()
    torch.testing.assert_close(mine(x, label), theirs(x))


def test_each_picture_has_the_gain_and_bias_of_its_class() -> None:
    norm = randomised(ConditionalBatchNorm2d(4, CLASSES)).eval()
    x, label = drawn(5, 4, 3, 3), torch.tensor([2, 0, 1, 2, 0])
    found = norm(x, label)
    for row, number in enumerate(label.tolist()):
        mean, var = norm.norm.running_mean, norm.norm.running_var
        normal = (x[row] - mean[:, None, None]) / torch.sqrt(var + norm.norm.eps)[:, None, None]
        expected = normal * norm.gain.weight[number][:, None, None] + norm.bias.weight[number][:, None, None]
        torch.testing.assert_close(found[row], expected, rtol=1e-4, atol=1e-5)


def test_it_begins_as_the_plain_norm() -> None:
    x = 3 * drawn(6, 4, 3, 3) - 1
    torch.testing.assert_close(ConditionalBatchNorm2d(4, CLASSES)(x, torch.tensor([0, 1, 2] * 2)), nn.BatchNorm2d(4)(x))


def test_the_networks_of_equal_classes_draw_what_a_generator_without_any_draws() -> None:
    plain = randomised(build_generator(PLAIN)).eval()
    mine = build_generator(generator_config("batch-norm")).eval()
    values = plain.state_dict()
    with torch.no_grad():
        for number in (1, 2):
            norm: Any = mine.get_submodule(f"layer{number}.1")
            norm.gain.weight.copy_(values.pop(f"layer{number}.1.weight").expand(CLASSES, -1))
            norm.bias.weight.copy_(values.pop(f"layer{number}.1.bias").expand(CLASSES, -1))
    inner = (".1.running_", ".1.num_batches")
    renamed = {n.replace(".1.", ".1.norm.") if any(part in n for part in inner) else n: v for n, v in values.items()}
    assert not mine.load_state_dict(renamed, strict=False).unexpected_keys
    z = drawn(4, 5)
    torch.testing.assert_close(mine(z, torch.tensor([0, 1, 2, 0])), plain(z))


# ---------------------------------------------------------------- generators


@pytest.mark.parametrize("condition", ["concatenate", "batch-norm"])
def test_the_label_changes_the_picture_and_nothing_else_of_the_batch(condition: Any) -> None:
    generator = randomised(build_generator(generator_config(condition, class_names=("a", "b", "c")))).eval()
    assert generator.ports == (z_port(5), label_port(CLASSES, ("a", "b", "c")))
    z = drawn(1, 5).expand(CLASSES, 5)
    with torch.no_grad():
        pictures = generator(z=z, label=torch.arange(CLASSES))
        assert pictures.shape == (CLASSES, 3, 16, 16) and pictures.abs().max() <= 1
        for one, other in ((0, 1), (0, 2), (1, 2)):
            assert (pictures[one] - pictures[other]).abs().max() > 0.05
        again = generator(z=z, label=torch.tensor([0, 2, 2]))
        torch.testing.assert_close(again[0], pictures[0])
        torch.testing.assert_close(again[1], pictures[2])
        *_, last = generator.features(z, torch.arange(CLASSES))
        assert torch.equal(last, pictures)


def test_without_classes_there_is_no_label() -> None:
    assert build_generator(PLAIN).ports == (z_port(5),) and build_critic(CRITIC).sees == ()
    assert build_critic(critic_config("projection")).sees == ("label",)


def test_a_learnt_vector_is_short() -> None:
    assert [LabelVectors.length(classes) for classes in (1, 3, 32, 33, 1000)] == [1, 3, 32, 32, MOST_EMBEDDED]
    generator = build_generator(generator_config("concatenate", classes=100))
    assert generator.layers()[0][0].in_channels == 5 + MOST_EMBEDDED
    feed = seeded_feed(generator.ports, 0, 0, 4)
    assert generator(**feed).shape == (4, 3, 16, 16)


@pytest.mark.parametrize("change", [{"norm": "instance"}, {"norm": "none"}])
def test_classes_by_batch_norm_need_a_batch_norm(change: dict[str, Any]) -> None:
    with pytest.raises(pydantic.ValidationError, match='needs norm = "batch"'):
        generator_config("batch-norm", **change)


# ---------------------------------------------------------------- critics


def test_a_projection_of_zero_gives_the_unconditional_score() -> None:
    plain = randomised(build_critic(CRITIC.model_copy(update={"spectral": False}))).eval()
    mine: Any = build_critic(critic_config("projection", spectral=False)).eval()
    left = mine.load_state_dict(plain.state_dict(), strict=False)
    assert not left.unexpected_keys and left.missing_keys == ["embedding.weight"]
    nn.init.zeros_(mine.embedding.weight)
    images = drawn(4, 3, 16, 16)
    torch.testing.assert_close(mine(images, torch.tensor([0, 1, 2, 1])), plain(images))


def test_a_projection_is_the_product_of_the_vector_with_the_summed_maps() -> None:
    critic = randomised(build_critic(critic_config("projection", spectral=False))).eval().requires_grad_(False)
    images, label = drawn(5, 3, 16, 16), torch.tensor([0, 1, 2, 2, 1])
    *hidden, scores = critic.features(images, label)
    *_, plain = critic.features(images)
    for row, number in enumerate(label.tolist()):
        vector = critic.embedding.weight[number].detach().numpy().astype(np.float64)
        maps = hidden[-1][row].detach().numpy().astype(np.float64)
        assert float(scores[row] - plain[row]) == pytest.approx(float(np.einsum("c,chw->", vector, maps)), abs=1e-3)


@pytest.mark.parametrize("condition", ["concatenate", "projection"])
def test_the_label_changes_the_score(condition: Any) -> None:
    critic = randomised(build_critic(critic_config(condition, spectral=False))).eval()
    images = drawn(1, 3, 16, 16).expand(CLASSES, 3, 16, 16)
    with torch.no_grad():
        scores = critic(images, label=torch.arange(CLASSES))
    assert scores.shape == (CLASSES,) and len({round(float(score), 3) for score in scores}) == CLASSES


# ---------------------------------------------------------------- weights before training


@pytest.mark.parametrize(
    "config",
    [
        generator_config("concatenate"),
        generator_config("concatenate", spectral=True, norm="instance", block="separable"),
        generator_config("batch-norm"),
        generator_config("batch-norm", block="resize"),
        critic_config("projection"),
        critic_config("projection", spectral=False),
        critic_config("concatenate"),
    ],
    ids=lambda config: f"{type(config).__name__}-{config.condition}-{config.spectral}",
)
def test_every_weight_is_drawn_from_the_seed(config: Any) -> None:
    def made(seed: int, of_torch: int) -> dict[str, Tensor]:
        torch.manual_seed(of_torch)
        network = build_critic(config) if isinstance(config, CriticConfig) else build_generator(config)
        initialise(network, seed)
        return network.state_dict()

    one, same, other = made(1, 10), made(1, 20), made(2, 10)
    assert all(torch.equal(one[name], same[name]) for name in one), [n for n in one if not torch.equal(one[n], same[n])]
    embedded = [name for name in one if "embedding" in name and one[name].dim() == 2]
    assert len(embedded) == (config.condition != "batch-norm")
    assert all(not torch.equal(one[name], other[name]) for name in embedded)


def test_a_conditional_norm_is_reset_whatever_it_was() -> None:
    generator = randomised(build_generator(generator_config("batch-norm")))
    initialise(generator, 0)
    for number in (1, 2):
        norm: Any = generator.get_submodule(f"layer{number}.1")
        assert (norm.gain.weight == 1).all() and not norm.bias.weight.any()
        assert not norm.norm.running_mean.any() and (norm.norm.running_var == 1).all()


class Odd(nn.Module):
    """A layer that no rule is for, unless it draws its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))


def test_a_parameter_without_a_rule_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"no rule draws the weights of 1\.scale, 2\.weight"):
        initialise(nn.Sequential(nn.Conv2d(3, 3, 1), Odd(), nn.PReLU()), 0)


def test_a_module_may_draw_its_own_weights() -> None:
    class Drawing(Odd):
        def draw_weights(self, drawn: torch.Generator) -> None:
            self.scale.copy_(torch.randn(3, generator=drawn))

    layers = [nn.Sequential(nn.Linear(2, 2), Drawing()) for _ in range(3)]
    for layer, seed in zip(layers, (0, 0, 1), strict=True):
        initialise(layer, seed)
    first, again, other = (list(layer.parameters())[-1] for layer in layers)
    assert torch.equal(first, again) and not torch.equal(first, other)
