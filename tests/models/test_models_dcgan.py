"""The base work's networks are configs: same parameters, same state-dict names, same pictures as plain torch."""

from typing import Any

import pydantic
import pytest
import torch
from torch import Tensor, nn

from ganlet.models.dcgan import Critic, CriticConfig, Generator, GeneratorConfig
from ganlet.models.families import build_critic, build_generator

TEACHER = GeneratorConfig(
    latent=100, widths=(2048, 1024, 512, 256, 128), strides=(2,) * 5, kernels=(4,) * 5, channels=3
)
STUDENT = GeneratorConfig(
    latent=100, widths=(512, 256, 128, 64), strides=(4, 2, 2, 2), kernels=(8, 4, 4, 4), channels=3
)
CRITIC = CriticConfig(widths=(64, 128, 256, 512, 1024), channels=3, norm="instance", spectral=False)


def plain_generator(config: GeneratorConfig) -> nn.Sequential:
    """The base work's printed modules by hand: ConvTranspose2d + BatchNorm2d + ReLU ..., ConvTranspose2d, Tanh."""
    geometry = [(4, 1, 0)] + [{4: (8, 4, 2), 2: (4, 2, 1)}[stride] for stride in config.strides]
    channels = [config.latent, *config.widths, config.channels]
    parts: list[nn.Module] = []
    for number, (kernel, stride, padding) in enumerate(geometry):
        parts.append(nn.ConvTranspose2d(channels[number], channels[number + 1], kernel, stride, padding))
        if number < len(config.widths):
            parts += [nn.BatchNorm2d(channels[number + 1]), nn.ReLU()]
    return nn.Sequential(*parts, nn.Tanh())


def plain_critic(widths: tuple[int, ...], channels: int) -> nn.Sequential:
    parts: list[nn.Module] = []
    for before, after in zip([channels, *widths[:-1]], widths, strict=True):
        parts += [nn.Conv2d(before, after, 4, 2, 1), nn.InstanceNorm2d(after, affine=True), nn.LeakyReLU(0.2)]
    return nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, 4, 1, 0))


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """Everything random, batch statistics and affine parameters too, at a scale that keeps tanh away from its ends."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.dim() == 4:
                tensor.normal_(0, tensor[0].numel() ** -0.5, generator=rng)
            elif name.endswith("running_var") or (tensor.dim() == 1 and name.endswith("weight")):
                tensor.uniform_(0.5, 2, generator=rng)
            elif tensor.is_floating_point():
                tensor.normal_(0, 0.2, generator=rng)
    return network


def drawn(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


# ---------------------------------------------------------------- the base work


@pytest.mark.parametrize(
    ("config", "count"), [(TEACHER, 47_859_331), (STUDENT, 9_869_123), (CRITIC, 11_166_529)], ids=["T", "S", "C"]
)
def test_parameters_of_the_base_work(config: Any, count: int) -> None:
    with torch.device("meta"):
        network = build_critic(config) if isinstance(config, CriticConfig) else build_generator(config)
    assert parameters(network) == count


@pytest.mark.parametrize(("config", "depth"), [(TEACHER, 5), (STUDENT, 4)], ids=["teacher", "student"])
def test_names_and_shapes_of_the_base_works_generators(config: GeneratorConfig, depth: int) -> None:
    expected = []
    for layer in range(1, depth + 1):
        expected += [f"layer{layer}.0.weight", f"layer{layer}.0.bias", f"layer{layer}.1.weight", f"layer{layer}.1.bias"]
        expected += [f"layer{layer}.1.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")]
    expected += ["final.0.weight", "final.0.bias"]
    with torch.device("meta"):
        mine = build_generator(config).state_dict()
        theirs = plain_generator(config).state_dict()
    assert list(mine) == expected
    assert [v.shape for v in mine.values()] == [v.shape for v in theirs.values()]


def test_names_and_shapes_of_the_base_works_critic() -> None:
    expected = [f"layer{n}.{part}.{kind}" for n in range(1, 6) for part in (0, 1) for kind in ("weight", "bias")] + [
        "output.0.weight",
        "output.0.bias",
    ]
    with torch.device("meta"):
        mine = build_critic(CRITIC).state_dict()
        theirs = plain_critic(CRITIC.widths, 3).state_dict()
    assert list(mine) == expected
    assert [v.shape for v in mine.values()] == [v.shape for v in theirs.values()]


NARROW_TEACHER = TEACHER.model_copy(update={"latent": 10, "widths": (20, 16, 12, 8, 6)})
NARROW_STUDENT = STUDENT.model_copy(update={"latent": 10, "widths": (16, 12, 8, 6)})


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("config", [NARROW_TEACHER, NARROW_STUDENT], ids=["teacher", "student"])
def test_same_pictures_as_plain_torch(config: GeneratorConfig, train: bool) -> None:
    mine, theirs = randomised(build_generator(config)).train(train), plain_generator(config).train(train)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), mine.state_dict().values(), strict=True)), strict=True)
    z = drawn(3, 10)
    with torch.no_grad():
        pictures, expected = mine(z), theirs(z.reshape(3, 10, 1, 1))
    assert pictures.shape == (3, 3, 128, 128) and 0.2 < expected.std() < 0.95
    torch.testing.assert_close(pictures, expected, rtol=0, atol=1e-6)
    for (name, one), other in zip(mine.state_dict().items(), theirs.state_dict().values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6, msg=name)  # running statistics moved alike


def test_a_full_size_student_draws_what_plain_torch_draws() -> None:
    mine, theirs = randomised(build_generator(STUDENT)).eval(), plain_generator(STUDENT).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), mine.state_dict().values(), strict=True)), strict=True)
    with torch.no_grad():
        torch.testing.assert_close(mine(drawn(1, 100)), theirs(drawn(1, 100, 1, 1)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("train", [True, False], ids=["train", "eval"])
def test_the_critic_scores_as_plain_torch(train: bool) -> None:
    config = CRITIC.model_copy(update={"widths": (6, 8, 10, 12, 14)})
    mine, theirs = randomised(build_critic(config)).train(train), plain_critic(config.widths, 3).train(train)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), mine.state_dict().values(), strict=True)), strict=True)
    images = drawn(4, 3, 128, 128)
    before = images.clone()
    scores = mine(images)
    assert scores.shape == (4,) and scores.std() > 0.01
    torch.testing.assert_close(scores, theirs(images)[:, 0, 0, 0], rtol=0, atol=1e-5)
    assert torch.equal(images, before)  # LeakyReLU in place touches only its own


def test_features_are_what_each_hidden_layer_makes() -> None:
    critic = randomised(Critic(CriticConfig(widths=(4, 6), channels=3, norm="none", spectral=False)))
    images = drawn(2, 3, 16, 16)
    *hidden, scores = critic.features(images)
    x = images
    for found, layer in zip(hidden, (critic.layer1, critic.layer2), strict=True):
        x = nn.functional.leaky_relu(nn.functional.conv2d(x, layer[0].weight, layer[0].bias, 2, 1), 0.2)
        torch.testing.assert_close(found, x)
    assert [tuple(h.shape) for h in hidden] == [(2, 4, 8, 8), (2, 6, 4, 4)]
    assert torch.equal(scores, critic(images))


# ---------------------------------------------------------------- sizes, channels, norms


@pytest.mark.parametrize(
    ("strides", "kernels", "size"),
    [
        ((2, 2), (4, 4), 16),
        ((4,), (8,), 16),
        ((2, 2, 2), (4, 4, 4), 32),
        ((1, 2, 4), (3, 2, 4), 32),
        ((2,) * 4, (6, 4, 2, 4), 64),
        ((4, 2, 2, 2), (8, 4, 4, 4), 128),
        ((3, 2), (5, 4), 24),
        ((8, 8), (8, 16), 256),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_picture_sizes(strides: tuple[int, ...], kernels: tuple[int, ...], size: int, channels: Any) -> None:
    config = GeneratorConfig(latent=5, widths=(3,) * len(strides), strides=strides, kernels=kernels, channels=channels)
    assert config.size_px == size
    with torch.device("meta"):
        assert build_generator(config)(torch.empty(2, 5)).shape == (2, channels, size, size)


@pytest.mark.parametrize("depth", range(2, 7))
@pytest.mark.parametrize("channels", [1, 3])
def test_critics_read_16_to_256_px(depth: int, channels: Any) -> None:
    with torch.device("meta"):
        critic = build_critic(CriticConfig(widths=(3,) * depth, channels=channels, spectral=False))
        assert critic(torch.empty(2, channels, 4 * 2**depth, 4 * 2**depth)).shape == (2,)


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("instance", nn.InstanceNorm2d), ("none", None)])
def test_norms(norm: Any, kind: type[nn.Module] | None) -> None:
    generator = Generator(
        GeneratorConfig(latent=5, widths=(4, 3), strides=(2, 2), kernels=(4, 4), channels=1, norm=norm)
    )
    critic = Critic(CriticConfig(widths=(4, 3), channels=1, norm=norm, spectral=False))
    for network in (generator, critic):
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d | nn.InstanceNorm2d)]
        assert [type(m) for m in norms] == ([] if kind is None else [kind, kind])
        assert all(m.affine and m.weight.shape in ((4,), (3,)) for m in norms)
        assert not any(isinstance(m, nn.BatchNorm2d | nn.InstanceNorm2d) for m in network.layers()[-1])
    assert generator(drawn(2, 5)).abs().max() <= 1


def test_layers_run_from_input_to_output() -> None:
    generator, critic = build_generator(NARROW_STUDENT), build_critic(CriticConfig(widths=(4, 3), channels=1))
    assert [layer[0].out_channels for layer in generator.layers()] == [16, 12, 8, 6, 3]
    assert [layer[0].in_channels for layer in critic.layers()] == [1, 4, 3]
    assert generator.layers()[-1] is generator.final and critic.layers()[-1] is critic.output


@pytest.mark.parametrize("of", ["critic", "generator"])
def test_spectral_norm_brings_the_largest_singular_value_to_one(of: str) -> None:
    torch.manual_seed(0)
    if of == "critic":
        network: Any = Critic(CriticConfig(widths=(8, 12), channels=3, spectral=True))
        image = drawn(2, 3, 16, 16)
    else:
        network = Generator(
            GeneratorConfig(latent=6, widths=(8, 6), strides=(2, 2), kernels=(4, 4), channels=3, spectral=True)
        )
        image = drawn(2, 6)
    raw = [layer[0].parametrizations.weight.original for layer in network.layers()]
    with torch.no_grad():
        for weight in raw:
            weight.mul_(7)
        for _ in range(15):
            network(image)
    for layer, weight in zip(network.eval().layers(), raw, strict=True):
        axis = 0 if of == "critic" else 1  # the output channels are the rows (Miyato et al. 2018, section 2.1)
        largest = torch.linalg.matrix_norm(layer[0].weight.detach().movedim(axis, 0).flatten(1), 2)
        assert 0.97 < largest < 1.03
        assert torch.linalg.matrix_norm(weight.detach().movedim(axis, 0).flatten(1), 2) > 1.5


# ---------------------------------------------------------------- configs


@pytest.mark.parametrize(
    "change",
    [
        {"widths": ()},
        {"widths": (), "strides": (), "kernels": ()},
        {"strides": (2,)},
        {"kernels": (4, 4, 4)},
        {"kernels": (3, 4)},
        {"kernels": (4, 1)},
        {"kernels": (0, 4)},
        {"strides": (0, 2)},
        {"widths": (4, -1)},
        {"widths": (4, 2**16 + 1)},
        {"latent": 0},
        {"channels": 2},
        {"norm": "layer"},
        {"family": "biggan"},
        {"depth": 2},
    ],
)
def test_a_generator_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    values: dict[str, Any] = {"latent": 5, "widths": (4, 3), "strides": (2, 2), "kernels": (4, 4), "channels": 3}
    GeneratorConfig(**values)
    with pytest.raises(pydantic.ValidationError):
        GeneratorConfig(**values | change)


@pytest.mark.parametrize(
    "change", [{"widths": ()}, {"widths": (0,)}, {"channels": 4}, {"norm": "x"}, {"kernels": (4, 4)}, {"family": "x"}]
)
def test_a_critic_that_cannot_be_is_refused(change: dict[str, Any]) -> None:
    values: dict[str, Any] = {"widths": (4, 3), "channels": 3}
    CriticConfig(**values)
    with pytest.raises(pydantic.ValidationError):
        CriticConfig(**values | change)


def test_configs_survive_json_and_are_frozen() -> None:
    for config in (TEACHER, STUDENT, CRITIC):
        assert type(config).model_validate_json(config.model_dump_json()) == config
        with pytest.raises(pydantic.ValidationError):
            config.channels = 1


# ---------------------------------------------------------------- other blocks


def plain_block(block: str, entering: int, width: int, kernel: int, stride: int) -> nn.Sequential:
    if block == "separable":
        depthwise = nn.ConvTranspose2d(entering, entering, kernel, stride, (kernel - stride) // 2, groups=entering)
        return nn.Sequential(depthwise, nn.Conv2d(entering, width, 1))
    return nn.Sequential(nn.Upsample(scale_factor=stride, mode="nearest"), nn.Conv2d(entering, width, 3, padding=1))


@pytest.mark.parametrize(("block", "hidden"), [("separable", (8 * 16 + 8) + (8 * 6 + 6)), ("resize", 8 * 6 * 9 + 6)])
def test_hidden_layers_of_another_block(block: Any, hidden: int) -> None:
    """latent -> 8 x 4 x 4 and -> colours stay transposed convolutions; what lies between is counted by hand."""
    config = GeneratorConfig(latent=5, widths=(8, 6), strides=(2, 2), kernels=(4, 4), channels=3, block=block)
    mine = randomised(build_generator(config)).eval()
    assert parameters(mine) == (5 * 8 * 16 + 8) + 2 * 8 + hidden + 2 * 6 + (6 * 3 * 16 + 3)
    parts = [nn.ConvTranspose2d(5, 8, 4, 1, 0), nn.BatchNorm2d(8), nn.ReLU(), *plain_block(block, 8, 6, 4, 2)]
    theirs = nn.Sequential(*parts, nn.BatchNorm2d(6), nn.ReLU(), nn.ConvTranspose2d(6, 3, 4, 2, 1), nn.Tanh()).eval()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), mine.state_dict().values(), strict=True)), strict=True)
    z = drawn(3, 5)
    with torch.no_grad():
        torch.testing.assert_close(mine(z), theirs(z.reshape(3, 5, 1, 1)), rtol=0, atol=1e-6)


@pytest.mark.parametrize("block", ["separable", "resize"])
def test_names_of_another_block_are_those_of_the_base_work_but_for_its_convolutions(block: Any) -> None:
    config = GeneratorConfig(latent=5, widths=(8, 6), strides=(4, 2), kernels=(8, 4), channels=3)
    other = config.model_copy(update={"block": block})
    names, known = set(build_generator(other).state_dict()), set(build_generator(config).state_dict())
    assert known - names == {"layer2.0.weight", "layer2.0.bias"}
    inner = {"separable": (0, 1), "resize": (1,)}[block]
    assert names - known == {f"layer2.0.{n}.{kind}" for n in inner for kind in ("weight", "bias")}
    assert build_generator(other)(torch.zeros(2, 5)).shape == (2, 3, 32, 32)


@pytest.mark.parametrize(("kernel", "odd"), [(4, 3), (6, 5), (2, 1)])
def test_a_resize_convolution_has_the_odd_kernel_below(kernel: int, odd: int) -> None:
    config = GeneratorConfig(latent=5, widths=(8, 6), strides=(2, 2), kernels=(kernel, 4), channels=3, block="resize")
    assert build_generator(config).state_dict()["layer2.0.1.weight"].shape == (6, 8, odd, odd)
