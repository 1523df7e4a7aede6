"""Pruning: which channels go, that the rest draws what it drew with them silent, and the importances' formulas."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from ganlet.compress.importance import SCORES, channel_scores, diversity
from ganlet.compress.prune import Rule, best_channels, narrowed, remove_channels, size_mb, zero_channels
from ganlet.errors import GanletError
from ganlet.models.dcgan import Generator, GeneratorConfig
from ganlet.models.families import build_generator
from ganlet.models.init import copy_strongest_channels, initialise
from ganlet.recipe import Importance

CONFIG = GeneratorConfig(latent=7, widths=(12, 10, 6), strides=(2, 2, 2), kernels=(4, 4, 2), channels=3)


def generator(config: GeneratorConfig = CONFIG, seed: int = 5) -> Generator:
    """One whose channels differ, as after training: norms, statistics and biases far from 1 and 0."""
    torch.manual_seed(seed)
    made = build_generator(config)
    for name, tensor in made.state_dict().items():
        if tensor.is_floating_point() and tensor.dim() == 1 and "parametrizations" not in name:
            tensor.uniform_(0.4, 1.6)
            if name.endswith(("bias", "mean")):
                tensor.sub_(1.0)
    for _ in range(20 if config.spectral else 0):  # the power iteration settles
        made.train()(torch.randn(4, config.latent))
    return made.eval()


def z(count: int = 16) -> Tensor:
    return torch.randn(count, CONFIG.latent, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("importance", SCORES)
@pytest.mark.parametrize(("scope", "share"), [("global", 0.5), ("uniform", 0.7)])
@torch.no_grad()
def test_removing_channels_draws_what_silencing_them_draws(importance: Importance, scope: str, share: float) -> None:
    whole = generator()
    before = {name: tensor.clone() for name, tensor in whole.state_dict().items()}
    kept = Rule(CONFIG.widths, scope, 2).keep(channel_scores(whole, importance, seed=3), share)  # type: ignore[arg-type]
    cut = remove_channels(whole, kept)
    assert cut.config.widths == tuple(map(len, kept)) != CONFIG.widths
    assert (cut.config.latent, cut.config.channels, cut.config.strides) == (7, 3, CONFIG.strides)
    torch.testing.assert_close(cut(z()), zero_channels(whole, kept)(z()), rtol=0, atol=1e-6)
    assert (cut(z()) - whole(z())).abs().max() > 1e-2  # it did remove something
    assert all(torch.equal(before[name], tensor) for name, tensor in whole.state_dict().items())


@pytest.mark.parametrize(
    "changes", [{"norm": "none"}, {"norm": "instance"}, {"spectral": True}, {"block": "separable"}, {"block": "resize"}]
)
@torch.no_grad()
def test_other_kinds_of_generators_are_cut_as_exactly(changes: dict[str, object]) -> None:
    whole = generator(GeneratorConfig.model_validate(CONFIG.model_dump() | changes))
    kept = Rule(CONFIG.widths, "global", 1).keep(channel_scores(whole, "diversity", seed=3), 0.5)
    cut = remove_channels(whole, kept)
    torch.testing.assert_close(cut(z()), zero_channels(whole, kept)(z()), rtol=0, atol=1e-6)
    assert not cut.config.spectral and cut.config.norm == whole.config.norm
    uncut = remove_channels(whole, [torch.arange(width) for width in CONFIG.widths])
    torch.testing.assert_close(uncut(z()), whole(z()), rtol=0, atol=1e-6)


CONDITIONAL = [{"classes": 5}, {"classes": 5, "condition": "batch-norm"}]


@pytest.mark.parametrize("changes", CONDITIONAL)
@pytest.mark.parametrize("importance", ["strength", "magnitude", "group-norm", "diversity"])
@torch.no_grad()
def test_conditional_generators_are_cut_and_copied_as_exactly(changes: dict[str, object], importance: Any) -> None:
    whole = generator(GeneratorConfig.model_validate(CONFIG.model_dump() | changes))
    feed = {"z": z(), "label": torch.arange(len(z())) % 5}
    scores = channel_scores(whole, importance, seed=3)
    kept = best_channels(scores, (5, 4, 3))
    cut = remove_channels(whole, kept)
    torch.testing.assert_close(cut(**feed), zero_channels(whole, kept)(**feed), rtol=0, atol=1e-6)
    student = build_generator(narrowed(whole.config, kept)).eval()
    copy_strongest_channels(student, whole, scores)
    assert torch.equal(student(**feed), cut(**feed))


def test_gains_of_classes_are_no_scales_of_channels() -> None:
    whole = generator(GeneratorConfig.model_validate(CONFIG.model_dump() | CONDITIONAL[1]))
    with pytest.raises(GanletError, match='has condition = "batch-norm", whose scales differ by class'):
        channel_scores(whole, "batch-norm", seed=3)


def test_a_generator_without_cuts_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Generator, "cuts", lambda self: [])
    with pytest.raises(GanletError, match='family = "dcgan" have no width that pruning may change'):
        channel_scores(generator(), "diversity", seed=3)


@torch.no_grad()
def test_keeping_everything_changes_nothing() -> None:
    whole = generator()
    same = remove_channels(whole, [torch.arange(width) for width in CONFIG.widths])
    assert same.config == CONFIG and torch.equal(same(z()), whole(z()))


@torch.no_grad()
def test_a_start_from_scores_is_the_pruned_generator() -> None:
    whole = generator()
    scores = channel_scores(whole, "group-norm", seed=0)
    student = build_generator(narrowed(CONFIG, best_channels(scores, (5, 4, 3)))).eval()
    copy_strongest_channels(student, whole, scores)
    assert torch.equal(student(z()), remove_channels(whole, best_channels(scores, (5, 4, 3)))(z()))


# ---------------------------------------------------------------- how many


def scores_of(*layers: list[float]) -> list[Tensor]:
    return [torch.tensor(layer) for layer in layers]


def test_global_keeps_the_best_of_all_layers_and_uniform_the_best_of_each() -> None:
    scores = scores_of([9.0, 1.0, 8.0, 7.0], [3.0, 2.0, 6.0, 0.5])
    kept = Rule((4, 4), "global", 1).keep(scores, 0.5)  # 9 8 7 6
    assert [k.tolist() for k in kept] == [[0, 2, 3], [2]]
    kept = Rule((4, 4), "uniform", 1).keep(scores, 0.5)
    assert [k.tolist() for k in kept] == [[0, 2], [0, 2]]


def test_widths_are_multiples_and_no_layer_is_cut_through() -> None:
    scores = scores_of([0.0] * 32, [1.0] * 20, [2.0] * 6)
    widths = lambda share, scope: tuple(map(len, Rule((32, 20, 6), scope, 8).keep(scores, share)))  # noqa: E731
    assert widths(0.5, "global") == (8, 20, 6)  # 29 of 58: the third layer's 6, the second's 20, 3 of the first
    assert widths(0.2, "global") == (8, 8, 6)
    assert widths(0.5, "uniform") == (16, 8, 6)
    assert widths(0.01, "uniform") == (8, 8, 6)
    assert widths(1.0, "uniform") == (32, 20, 6)


@pytest.mark.parametrize("scope", ["global", "uniform"])
@pytest.mark.parametrize("target_mb", [0.004, 0.008, 0.0141])
def test_the_least_pruning_that_comes_below_a_size(scope: str, target_mb: float) -> None:
    rule, scores = Rule(CONFIG.widths, scope, 1), channel_scores(generator(), "magnitude", seed=0)  # type: ignore[arg-type]
    found = size_mb(narrowed(CONFIG, rule.keep_below_mb(scores, CONFIG, target_mb)))
    every = {size_mb(narrowed(CONFIG, rule.keep(scores, count / 28))) for count in range(29)}
    assert found == max(size for size in every if size <= target_mb)


def test_a_size_that_cannot_be_reached_is_refused() -> None:
    scores = channel_scores(generator(), "magnitude", seed=0)
    with pytest.raises(GanletError, match=r"0\.001 MB, but 4 channels a layer are the fewest .* lower round_to"):
        Rule(CONFIG.widths, "global", 4).keep_below_mb(scores, CONFIG, 0.001)


# ---------------------------------------------------------------- importances


def test_scores_are_one_a_channel_and_repeat_to_the_bit() -> None:
    whole = generator()
    for importance in SCORES:
        scores = channel_scores(whole, importance, seed=3)
        assert [tuple(s.shape) for s in scores] == [(12,), (10,), (6,)] and all((s >= 0).all() for s in scores)
        again = channel_scores(whole, importance, seed=3)
        assert all(torch.equal(a, b) for a, b in zip(scores, again, strict=True))
    other = channel_scores(whole, "diversity", seed=4)
    assert not torch.equal(other[0], channel_scores(whole, "diversity", seed=3)[0])


@torch.no_grad()
def test_scores_by_weights_follow_their_formulas() -> None:
    whole = generator()
    weight, gamma = whole.layers()[1][0].weight, whole.layers()[1][1].weight  # (12, 10, 4, 4), (10,)
    following = whole.layers()[2][0].weight  # (10, 6, 4, 4)
    squares = weight.square().sum(dim=(0, 2, 3))
    expected = {
        "strength": gamma.abs() * squares.sqrt(),
        "magnitude": squares,
        "batch-norm": gamma.abs(),
        "group-norm": squares + gamma.square() + following.square().sum(dim=(1, 2, 3)),
    }
    for importance, value in expected.items():
        found = channel_scores(whole, importance, seed=0)[1]  # type: ignore[arg-type]
        torch.testing.assert_close(found, value / value.mean(), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_diversity_is_the_share_in_the_pairs_differences() -> None:
    """Against central differences: the channel's activation scaled by 1 - t and 1 + t, pair by pair."""
    small = GeneratorConfig(latent=7, widths=(5, 6), strides=(1, 1), kernels=(3, 3), channels=1)
    whole, latents, step = generator(small).double(), z(6).double(), 1e-5
    basis = torch.eye(16).double().reshape(16, 1, 4, 4) * 4  # sqrt(16) x orthonormal: exact
    scores = diversity(whole, {"z": latents}, basis)

    def pictures(layer: int, channel: int, factor: float) -> Tensor:
        x = latents.reshape(6, 7, 1, 1)
        for number, part in enumerate(whole.layers()):
            x = part(x)
            if number == layer:
                x[:, channel] *= factor
        return whole.output(x)

    def mean_square(values: Tensor) -> Tensor:
        pairs = itertools.combinations(range(6), 2)
        return torch.stack([(values[i] - values[j]).square().sum() for i, j in pairs]).mean()

    for layer, width in enumerate(small.widths):
        for channel in range(width):
            added = (pictures(layer, channel, 1 + step) - pictures(layer, channel, 1 - step)) / (2 * step)
            expected = mean_square(added) / mean_square(pictures(layer, channel, 1.0))
            torch.testing.assert_close(scores[layer][channel].double(), expected, rtol=1e-5, atol=1e-9)


@torch.no_grad()
def test_diversity_takes_latents_in_parts_and_random_signs_come_near_the_exact_value() -> None:
    small = GeneratorConfig(latent=7, widths=(5, 6), strides=(1, 1), kernels=(3, 3), channels=1)
    whole, latents = generator(small), z(70)
    exact = diversity(whole, {"z": latents}, torch.eye(16).reshape(16, 1, 4, 4) * 4)
    signs = torch.randint(0, 2, (400, 1, 4, 4), generator=torch.Generator().manual_seed(2)) * 2.0 - 1.0
    for near, value in zip(diversity(whole, {"z": latents}, signs), exact, strict=True):
        torch.testing.assert_close(near, value, rtol=0.3, atol=1e-3)


@torch.no_grad()
def test_a_silent_channel_has_no_part_in_the_differences() -> None:
    whole = zero_channels(generator(), [torch.arange(1, 12), torch.arange(10), torch.arange(6)])
    scores = channel_scores(whole, "diversity", seed=0)
    assert scores[0][0] == 0 and (scores[0][1:] > 0).sum() > 6  # some never pass their ReLU


def test_a_generator_that_draws_one_picture_is_scored_without_a_fault() -> None:
    whole = generator()
    torch.nn.init.zeros_(whole.layers()[0][0].weight)  # nothing of the latent gets through
    assert all(torch.isfinite(s).all() for s in channel_scores(whole, "diversity", seed=0))


@pytest.mark.parametrize("norm", ["none", "instance"])
def test_batch_norm_scales_need_batch_norm(norm: str) -> None:
    whole = generator(GeneratorConfig.model_validate(CONFIG.model_dump() | {"norm": norm}))
    with pytest.raises(GanletError, match=f'has norm = "{norm}"; choose importance = "diversity"'):
        channel_scores(whole, "batch-norm", seed=0)


@pytest.mark.parametrize("condition", ["concatenate", "batch-norm"])
def test_a_silent_channel_of_a_conditional_generator_is_removed_without_a_trace(condition: Any) -> None:
    config = GeneratorConfig(
        latent=5, widths=(6, 4), strides=(2, 2), kernels=(4, 4), channels=1, classes=3, condition=condition
    )
    generator = build_generator(config).eval()
    initialise(generator, 0)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.3)
        norm = generator.layer1[1]
        for weight in (norm.gain.weight, norm.bias.weight) if condition == "batch-norm" else (norm.weight, norm.bias):
            weight[..., 2] = 0
    cut = remove_channels(generator, [torch.tensor([0, 1, 3, 4, 5]), torch.arange(4)])
    z, label = torch.randn(7, 5, generator=torch.Generator().manual_seed(2)), torch.arange(7) % 3
    assert cut.config.widths == (5, 4)
    torch.testing.assert_close(cut(z, label), generator(z, label), rtol=1e-5, atol=1e-6)
