"""Distillation and transfer plans: what they refuse, what they freeze, where their weights come from."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ganlet.artifact import CRITIC, GENERATOR, Stage, read_tensors, save_stage
from ganlet.compress.distill import distill_plan, distill_weights
from ganlet.compress.freeze import transfer_plan, transfer_weights
from ganlet.data import Batch
from ganlet.errors import GanletError, Interrupted
from ganlet.models.dcgan import CriticConfig, GeneratorConfig
from ganlet.models.families import build_critic, build_generator
from ganlet.recipe import Recipe, parse_recipe
from ganlet.training.plan import Plan, build_state, train_stage
from ganlet.training.state import State

G = GeneratorConfig(latent=6, widths=(8, 6), strides=(2, 2), kernels=(4, 4), channels=3)
C = CriticConfig(widths=(4, 5), channels=3, norm="instance", spectral=True)


def make(folder: Path, critic: bool = True) -> Stage:
    torch.manual_seed(7)
    generator, judge = build_generator(G), build_critic(C)
    for network in (generator, judge):
        for tensor in network.state_dict().values():
            if tensor.is_floating_point() and tensor.dim() == 1:
                tensor.uniform_(0.5, 1.5)
    networks: dict[str, Any] = {"generator": (GENERATOR, G.model_dump(mode="json"), generator.state_dict())}
    if critic:
        networks["critic"] = (CRITIC, C.model_dump(mode="json"), judge.state_dict())
    return save_stage(folder, stage="teacher", networks=networks, provenance={"key": "k"}, training={})


@pytest.fixture
def source(tmp_path: Path) -> Stage:
    return make(tmp_path / "teacher")


def transfer(size: int = 16, channels: int = 3, **section: Any) -> Recipe:
    return parse_recipe(
        {
            "run": {"name": "t"},
            "data": {"source": "kittens", "size": size, "channels": channels},
            "transfer": {"from": "there", "freeze_generator": 1, "freeze_critic": 1, **section},
        }
    )


def distill(size: int = 16, channels: int = 3, **section: Any) -> Recipe:
    return parse_recipe(
        {
            "run": {"name": "d"},
            "data": {"source": "kittens", "size": size, "channels": channels},
            "distill": {"from": "there", "widths": [4, 3], "critic": "teacher", **section},
        }
    )


def equal(one: nn.Module, other: dict[str, torch.Tensor]) -> bool:
    mine = one.state_dict()
    return mine.keys() == other.keys() and all(torch.equal(mine[name], value) for name, value in other.items())


# ---------------------------------------------------------------- distillation


@pytest.mark.parametrize("term", ["adapters", "relation"])
def test_a_distance_of_hidden_layers_needs_some_of_the_same_size(source: Stage, term: str) -> None:
    shape = {"widths": [4, 3], "strides": [1, 4]}
    distill_plan(distill(**shape, **{term: 0.0}), source)
    with pytest.raises(GanletError, match=rf"distill\.{term}: no hidden layer .* of the same size .*{term} = 0"):
        distill_plan(distill(**shape, **{term: 1.0}), source)


# ---------------------------------------------------------------- transfer


def test_transfer_takes_the_sources_networks(source: Stage) -> None:
    plan = transfer_plan(transfer(), source)
    assert (plan.stage, plan.generator, plan.critic, plan.teacher) == ("transfer", G, C, None)
    state = build_state(plan, transfer_weights(source), "cpu")
    assert equal(state.generator, source.tensors()) and equal(state.critic, source.tensors(CRITIC))
    assert state.average is not None and equal(state.average, source.tensors())


def trained(optimiser: torch.optim.Optimizer) -> set[int]:
    return {id(p) for group in optimiser.param_groups for p in group["params"]}


@pytest.mark.parametrize(("of_generator", "of_critic"), [(0, 0), (1, 0), (1, 2), (2, 1), (2, 2)])
def test_frozen_layers_have_no_gradients_and_no_optimiser_state(
    source: Stage, of_generator: int, of_critic: int
) -> None:
    plan = transfer_plan(transfer(freeze_generator=of_generator, freeze_critic=of_critic), source)
    state = build_state(plan, transfer_weights(source), "cpu")
    for network, adam, frozen in (
        (state.generator, state.generator_adam, of_generator),
        (state.critic, state.critic_adam, of_critic),
    ):
        layers = network.layers()
        assert not any(p.requires_grad for layer in layers[:frozen] for p in layer.parameters())
        assert all(p.requires_grad for layer in layers[frozen:] for p in layer.parameters())
        assert trained(adam) == {id(p) for layer in layers[frozen:] for p in layer.parameters()}
    state.critic(state.generator(torch.randn(3, 6))).sum().backward()
    before = {name: p.detach().clone() for name, p in parameters(state).items()}
    for adam in (state.generator_adam, state.critic_adam):
        adam.step()
        assert adam.state.keys() == {p for group in adam.param_groups for p in group["params"]}
    for name, parameter in parameters(state).items():
        assert (parameter.grad is not None) == parameter.requires_grad, name
        assert parameter.requires_grad or torch.equal(parameter, before[name]), name
    moved = [name for name, p in parameters(state).items() if not torch.equal(p, before[name])]
    assert any(name.startswith("generator.final") for name in moved)
    assert any(name.startswith("critic.output") for name in moved)


def parameters(state: State) -> dict[str, nn.Parameter]:
    networks = {"generator": state.generator, "critic": state.critic}
    return {f"{role}.{name}": p for role, network in networks.items() for name, p in network.named_parameters()}


@pytest.mark.parametrize(
    ("key", "count", "ok"),
    [
        ("generator", 3, False),
        ("generator", 9, False),
        ("generator", 2, True),
        ("critic", 3, False),
        ("critic", 2, True),
    ],
)
def test_freezing_everything_is_refused(source: Stage, key: str, count: int, ok: bool) -> None:
    recipe = transfer(**{f"freeze_{key}": count})
    if ok:
        plan = transfer_plan(recipe, source)
        assert getattr(plan, f"freeze_{key}") == count
        return
    with pytest.raises(GanletError, match=f"transfer.freeze_{key} = {count} freezes all 3 layers .* give at most 2"):
        transfer_plan(recipe, source)


@pytest.mark.parametrize("changes", [{"size": 32}, {"channels": 1}])
def test_pictures_of_another_shape_are_refused(source: Stage, changes: dict[str, int]) -> None:
    size, channels = changes.get("size", 16), changes.get("channels", 3)
    own = {"widths": [4] * (3 if size == 32 else 2)}
    plans = [
        lambda: transfer_plan(transfer(**changes), source),
        lambda: distill_plan(distill(**changes, **own), source),
    ]
    for plan in plans:
        with pytest.raises(GanletError, match=rf"draws 3 x 16 px .* says {channels} x {size} px; set data\.channels"):
            plan()


def test_a_batch_norm_critic_under_a_gradient_penalty_is_refused(tmp_path: Path) -> None:
    judge = C.model_copy(update={"norm": "batch"})
    networks: dict[str, Any] = {
        "generator": (GENERATOR, G.model_dump(mode="json"), build_generator(G).state_dict()),
        "critic": (CRITIC, judge.model_dump(mode="json"), build_critic(judge).state_dict()),
    }
    source = save_stage(tmp_path / "t", stage="teacher", networks=networks, provenance={"key": "k"}, training={})
    assert transfer_plan(transfer(), source).critic == judge
    with pytest.raises(GanletError, match=r"mixes samples .* choose another loss"):
        transfer_plan(transfer(loss="wgan-gp"), source)
    with pytest.raises(GanletError, match=r"mixes samples .* choose another loss"):
        distill_plan(distill(loss="wgan-gp"), source)


def test_missing_sections(source: Stage) -> None:
    with pytest.raises(GanletError, match=r"has no \[transfer\] section"):
        transfer_plan(distill(), source)
    for of in (distill_plan, distill_weights):
        with pytest.raises(GanletError, match=r"has no \[distill\] section"):
            of(transfer(), source)


def test_a_source_without_a_critic(tmp_path: Path) -> None:
    source = make(tmp_path / "imported", critic=False)
    for plan in (lambda: transfer_plan(transfer(), source), lambda: distill_plan(distill(), source)):
        with pytest.raises(GanletError, match="holds no critic"):
            plan()
    own = distill_plan(distill(critic={"widths": [3, 3]}), source)
    assert own.critic == CriticConfig(widths=(3, 3), channels=3)


# ---------------------------------------------------------------- distillation


def distilled(recipe: Recipe, source: Stage) -> tuple[Plan, State]:
    plan = distill_plan(recipe, source)
    return plan, build_state(plan, distill_weights(recipe, source), "cpu")


def test_the_teacher_is_whole_frozen_and_in_eval_mode(source: Stage) -> None:
    plan, state = distilled(distill(), source)
    assert plan.stage == "student" and plan.teacher == G
    assert plan.generator == GeneratorConfig(latent=6, widths=(4, 3), strides=(2, 2), kernels=(4, 4), channels=3)
    assert state.teacher is not None and equal(state.teacher, source.tensors())
    assert not state.teacher.training and not any(p.requires_grad for p in state.teacher.parameters())
    assert not trained(state.generator_adam) & {id(p) for p in state.teacher.parameters()}
    assert trained(state.generator_adam) == {id(p) for p in state.generator.parameters()}


def test_the_teachers_critic_is_kept_and_trained_on(source: Stage) -> None:
    plan, state = distilled(distill(), source)
    assert plan.critic == C and equal(state.critic, source.tensors(CRITIC))
    assert trained(state.critic_adam) == {id(p) for p in state.critic.parameters()}


def test_a_fresh_critic_is_the_recipes(source: Stage) -> None:
    plan, state = distilled(distill(critic={"widths": [4, 5], "norm": "instance"}), source)
    assert plan.critic == C and not equal(state.critic, source.tensors(CRITIC))


def test_a_random_student_depends_on_the_seed_alone(source: Stage) -> None:
    first = distilled(distill(), source)[1].generator.state_dict()
    torch.manual_seed(99)
    assert equal(distilled(distill(), source)[1].generator, first)
    other = distill().model_copy(update={"run": distill().run.model_copy(update={"seed": 1})})
    assert not equal(distilled(other, source)[1].generator, first)


def test_a_student_as_wide_as_its_teacher_starts_as_its_teacher(source: Stage) -> None:
    _, state = distilled(distill(widths=[8, 6], init="teacher"), source)
    assert equal(state.generator, source.tensors())
    assert all(p.requires_grad for p in state.generator.parameters())


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"widths": [9, 6]}, r"widths \(9, 6\) exceed the teacher's \(8, 6\)"),
        ({"widths": [9], "strides": [4]}, r"widths \(9,\) exceed the teacher's \(8, 6\)"),
        ({"norm": "none"}, "norm none differs"),
        ({"spectral": True}, "spectral"),
    ],
)
def test_a_student_that_cannot_start_from_its_teacher(source: Stage, section: dict[str, Any], words: str) -> None:
    with pytest.raises(
        GanletError, match=rf'init = "teacher" is not possible: .*{words}.* set distill\.init = "random"'
    ):
        distill_plan(distill(init="teacher", **section), source)
    assert distill_plan(distill(**section), source).stage == "student"  # from random weights it may


@pytest.mark.parametrize(("width", "widths"), [(0.5, (4, 3)), (0.25, (2, 2)), (0.01, (1, 1)), (1.0, (8, 6))])
def test_a_student_by_a_fraction_has_the_teachers_shape(tmp_path: Path, width: float, widths: tuple[int, ...]) -> None:
    shape = {"widths": (8, 6), "strides": (4, 1), "kernels": (6, 3)}
    config = GeneratorConfig.model_validate(G.model_dump() | shape)
    networks: dict[str, Any] = {
        "generator": (GENERATOR, config.model_dump(mode="json"), build_generator(config).state_dict()),
        "critic": (CRITIC, C.model_dump(mode="json"), build_critic(C).state_dict()),
    }
    source = save_stage(tmp_path / "t", stage="teacher", networks=networks, provenance={"key": "k"}, training={})
    assert distill_plan(distill(widths=[], width=width), source).generator == config.model_copy(
        update={"widths": widths}
    )


def test_where_the_teacher_lies_is_no_part_of_a_key() -> None:
    one, other = distill(), distill(**{"from": "elsewhere"})
    assert one.key("distill", source="s") == other.key("distill", source="s")
    assert one.key("distill", source="s") != one.key("distill", source="another")
    assert one.key("distill", source="s") != distill(relation=1.0).key("distill", source="s")


def test_a_perceptual_distance_without_its_package_is_refused_before_any_work(
    source: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ganlet.losses.perceptual.PACKAGE", "no_such_package")
    with pytest.raises(GanletError, match="needs the package stlpips-pytorch"):
        distill_plan(distill(perceptual=1.0), source)
    assert distill_plan(distill(), source).stage == "student"


def test_interrupted_and_resumed_with_adapters_is_bit_equal(source: Stage, tmp_path: Path) -> None:
    recipe = distill(adapters=0.5, relation=1.0, gate=0.6, real_share=0.5, alpha_end=0.5, train=TRAIN)
    whole = trained_stage(recipe, source, tmp_path / "whole")
    plan = distill_plan(recipe, source)

    def cut(state: State, *rest: Any) -> Any:
        if state.step == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return plan.step(state, *rest)

    with pytest.raises(Interrupted, match="step 6 of 12"):
        trained_stage(recipe, source, tmp_path / "cut", replace(plan, step=cut))
    kept = read_tensors(tmp_path / "cut" / "checkpoint" / "state.safetensors")
    assert any(name.startswith("adapters.") for name in kept)
    assert trained_stage(recipe, source, tmp_path / "cut").config["files"] == whole.config["files"]
    assert not any("adapters" in name for name in whole.tensors())  # thrown away


TRAIN = {"images": 48, "batch": 4, "checkpoint_steps": 4, "log_steps": 1}


def trained_stage(recipe: Recipe, source: Stage, folder: Path, plan: Plan | None = None) -> Stage:
    def reals(position: int) -> Batch:
        return Batch(np.random.default_rng(position).uniform(-1, 1, (4, 3, 16, 16)).astype(np.float32))

    fill = distill_weights(recipe, source)
    made = plan or distill_plan(recipe, source)
    return train_stage(made, fill, reals, folder, run=recipe.run, provenance={"key": "k"})


def test_a_plan_builds_no_network(make_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch) -> None:
    """Of widths of 20,000 it would take gigabytes, before a forecast could say so."""
    from ganlet.commands.preflight import plans_of

    def build(config: Any) -> Any:
        raise AssertionError("a network was built")

    recipe = make_recipe(teacher__widths=[20_000, 20_000], distill__widths=[20_000, 20_000])
    monkeypatch.setattr("ganlet.models.families.build_generator", build)
    monkeypatch.setattr("ganlet.compress.distill.build_generator", build, raising=False)
    assert [plan.stage for plan in plans_of(recipe)] == ["teacher", "student"]
