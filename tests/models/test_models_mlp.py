"""The fully connected family against plain torch, and through every step that a generator of any family goes."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganlet.compress.cuts import planned_config
from ganlet.compress.distill import distill_plan, student_config
from ganlet.compress.fake_quant import require_can_be_tuned
from ganlet.compress.freeze import freezable
from ganlet.compress.importance import SCORES, channel_scores
from ganlet.compress.prune import remove_channels, zero_channels
from ganlet.errors import GanletError
from ganlet.memory.forecast import forecast
from ganlet.memory.measure import measure
from ganlet.memory.ways import ways_of
from ganlet.models.adapters import Adapters
from ganlet.models.families import build_critic, build_generator, family_of_json
from ganlet.models.init import copy_strongest_channels, initialise
from ganlet.models.mlp import Critic, CriticConfig, Generator, GeneratorConfig
from ganlet.recipe import Prune, Recipe, Transfer, parse_recipe
from ganlet.training.plan import planned_stage, teacher_plan
from support import TINY

CONFIG = GeneratorConfig(latent=7, widths=(12, 10), size=16, channels=1)
CONDITIONAL = CONFIG.model_copy(update={"classes": 5})


def filled(network: nn.Module, seed: int = 5) -> Any:
    """Weights, affine parameters and running statistics all random."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=rng)
            elif tensor.is_floating_point():
                tensor.normal_(0, 0.4, generator=rng)
    return network.eval()


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3))


def recipe_of(teacher: dict[str, Any] | None = None, distill: dict[str, Any] | None = None) -> Recipe:
    tables = copy.deepcopy(TINY)
    tables["teacher"] |= {"family": "mlp"} | (teacher or {})
    tables["distill"] |= distill or {}
    return parse_recipe(tables)


# ---------------------------------------------------------------- what it computes


def test_the_generator_is_plain_torch() -> None:
    generator = filled(build_generator(CONFIG))
    parts = [nn.Linear(7, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 10), nn.BatchNorm1d(10), nn.ReLU()]
    plain = nn.Sequential(*parts, nn.Linear(10, 256), nn.Tanh()).eval()
    plain.load_state_dict(dict(zip(plain.state_dict(), generator.state_dict().values(), strict=True)))
    z = drawn(4, 7)
    torch.testing.assert_close(generator(z=z), plain(z).reshape(4, 1, 16, 16), rtol=0, atol=1e-6)
    assert [tuple(x.shape) for x in generator.features(z)] == [(4, 12), (4, 10), (4, 1, 16, 16)]


def test_the_critic_is_plain_torch() -> None:
    config = CriticConfig(widths=(9, 6), size=16, channels=3, spectral=False)
    critic = filled(build_critic(config))
    parts = [nn.Linear(768, 9), nn.LeakyReLU(0.2), nn.Linear(9, 6), nn.LeakyReLU(0.2), nn.Linear(6, 1)]
    plain = nn.Sequential(*parts)
    plain.load_state_dict(dict(zip(plain.state_dict(), critic.state_dict().values(), strict=True)))
    images = drawn(4, 3, 16, 16)
    torch.testing.assert_close(critic(images), plain(images.flatten(1))[:, 0], rtol=0, atol=1e-5)


def test_a_label_enters_beside_the_latent_and_by_a_product() -> None:
    generator, label = filled(build_generator(CONDITIONAL)), torch.tensor([0, 3])
    assert [port.name for port in generator.ports] == ["z", "label"]
    z = drawn(1, 7).expand(2, 7)
    pictures = generator(z=z, label=label)
    assert not torch.equal(pictures[0], pictures[1])
    critic = filled(build_critic(CriticConfig(widths=(9, 6), size=16, channels=1, spectral=False, classes=5)))
    *_, hidden, scores = critic.features(pictures, label)
    with torch.no_grad():
        critic.embedding.weight.zero_()
    product = scores - critic(pictures, label)  # without its vectors it is the unconditional score
    vectors = filled(build_critic(critic.config)).embedding(label)
    torch.testing.assert_close(product, (vectors * hidden).sum(dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [CONDITIONAL, CONDITIONAL.model_copy(update={"spectral": True})])
def test_weights_depend_on_the_seed_alone(config: GeneratorConfig) -> None:
    made = []
    for of_torch in (1, 2):
        torch.manual_seed(of_torch)
        generator = build_generator(config)
        initialise(generator, 11)
        made.append(generator.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(made[0].values(), made[1].values(), strict=True))


# ---------------------------------------------------------------- compression


@pytest.mark.parametrize("importance", SCORES)
@pytest.mark.parametrize("config", [CONFIG, CONDITIONAL])
def test_cut_channels_leave_what_silent_ones_draw(config: GeneratorConfig, importance: Any) -> None:
    generator = filled(build_generator(config))
    scores = channel_scores(generator, importance, seed=1)
    kept = [s.topk(len(s) // 2).indices.sort().values for s in scores]
    cut = remove_channels(generator, kept)
    assert cut.config.widths == (6, 5) and cut.config.size == 16
    feed = {"z": drawn(4, 7)} | ({"label": torch.tensor([0, 1, 2, 4])} if config.classes else {})
    torch.testing.assert_close(cut(**feed), zero_channels(generator, kept)(**feed), rtol=0, atol=1e-6)


def test_a_start_from_a_teacher_of_the_same_widths_is_the_teacher() -> None:
    teacher, student = filled(build_generator(CONDITIONAL)), build_generator(CONDITIONAL)
    copy_strongest_channels(student, teacher)
    feed = {"z": drawn(4, 7), "label": torch.tensor([0, 1, 2, 4])}
    assert torch.equal(student.eval()(**feed), teacher(**feed))


def test_adapters_begin_by_repeating_numbers() -> None:
    adapters = Adapters(CONFIG.with_widths((3, 10)), CONFIG)
    first, second = adapters([drawn(2, 3), drawn(2, 10)])
    assert torch.equal(first, drawn(2, 3).repeat(1, 4)) and torch.equal(second, drawn(2, 10))


def test_planned_cuts_and_students_are_narrower() -> None:
    prune = Prune(method="prune", ratio=0.5, round_to=2)
    assert planned_config(prune, CONFIG, 1).widths == (6, 6)  # 5 is no multiple of 2
    assert CONFIG.narrowed(0.5).widths == (6, 5)


def test_tuning_for_int8_is_refused_in_a_sentence() -> None:
    with pytest.raises(GanletError, match='made for family = "dcgan", got "mlp"; remove'):
        require_can_be_tuned(CONFIG)


# ---------------------------------------------------------------- students of another family


def test_students_learn_across_families() -> None:
    fully_connected = planned_stage(teacher_plan(recipe_of()))
    convolutional = recipe_of(distill={"family": "dcgan", "init": "random"})
    assert distill_plan(convolutional, fully_connected).generator.family == "dcgan"
    tables = copy.deepcopy(TINY)
    tables["distill"] |= {"family": "mlp", "init": "random"}
    recipe = parse_recipe(tables)
    plan = distill_plan(recipe, planned_stage(teacher_plan(recipe)))
    assert (plan.generator.family, plan.critic.family, plan.generator.size_px) == ("mlp", "dcgan", 16)
    assert forecast(plan, "cpu").notes == ()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"family": "dcgan"}, "the student's family dcgan differs from the teacher's mlp"),
        ({"family": "dcgan", "init": "random", "adapters": 1.0}, "distill.adapters: no hidden layer"),
        ({"family": "dcgan", "init": "random", "widths": [], "width": 0.5}, "give distill.widths"),
    ],
)
def test_what_needs_one_family_says_so(changes: dict[str, Any], words: str) -> None:
    recipe = recipe_of(distill=changes)
    with pytest.raises(GanletError, match=words):
        distill_plan(recipe, planned_stage(teacher_plan(recipe)))


def test_a_fraction_of_the_teacher_is_of_its_family() -> None:
    recipe = recipe_of(distill={"widths": [], "width": 0.5})
    plan = teacher_plan(recipe)
    assert recipe.distill is not None
    assert student_config(recipe.distill, plan.generator) == plan.generator.with_widths((6, 3))


# ---------------------------------------------------------------- freezing and memory


def test_all_layers_but_the_last_can_be_frozen(tmp_path: Path) -> None:
    transfer = Transfer.model_validate({"from": "run", "freeze_generator": "auto", "freeze_critic": "auto"})
    assert freezable(transfer, planned_stage(teacher_plan(recipe_of()))) == ([0, 1, 2], [0, 1, 2])


def test_the_forecast_is_what_the_allocator_takes() -> None:
    teacher = {"widths": [64, 128], "critic": {"widths": [128, 64]}, "train": {"images": 400, "batch": 64}}
    plan = teacher_plan(recipe_of(teacher, {"init": "random"}))
    assert measure(plan, "cpu").peak_mib == pytest.approx(forecast(plan, "cpu").peak_mib, rel=0.02)


def test_there_are_ways_that_save_memory() -> None:
    tables = copy.deepcopy(TINY)
    tables["teacher"]["family"] = "mlp"
    del tables["distill"]
    recipe = parse_recipe(tables)
    names = {way.name: way for way in ways_of(recipe, teacher_plan(recipe))}
    assert names["distilled, half the widths"].plan.generator.widths == (6, 3)
    assert 'distill.family="mlp"' in names["distilled, half the widths"].choice


def test_it_is_built_by_its_configs() -> None:
    critic = CriticConfig(widths=(3,), size=16, channels=1)
    assert isinstance(build_generator(CONFIG), Generator) and isinstance(build_critic(critic), Critic)
    assert family_of_json(CONFIG.model_dump(mode="json"), "config.json").generator_config is GeneratorConfig


@pytest.mark.parametrize("family", ["stylegan", 3, ["mlp"], None])
def test_a_config_of_an_unknown_family_names_the_known_ones(family: Any) -> None:
    with pytest.raises(GanletError, match=r"run/config.json holds a network of the family .* expected dcgan or mlp"):
        family_of_json({"family": family}, "run/config.json")
