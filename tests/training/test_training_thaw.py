"""Frozen layers that thaw: as they were until then, fresh moments, bit-equal across a stop, the last phase's memory."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganlet.artifact import Stage
from ganlet.data import Batch
from ganlet.errors import Interrupted
from ganlet.memory.forecast import forecast
from ganlet.memory.measure import measure
from ganlet.recipe import Recipe
from ganlet.training.plan import Plan, build_state, random_weights, teacher_plan, train_stage
from ganlet.training.state import State

THAW = (0.3, 0.6)  # of 30 steps: before step 9 and before step 18, counted from 0


def reals(position: int) -> Batch:
    return Batch(np.random.default_rng(position).uniform(-1, 1, (8, 1, 16, 16)).astype(np.float32))


def thawing(recipe: Recipe, generator: int = 2, critic: int = 1) -> Plan:
    return replace(teacher_plan(recipe), freeze_generator=generator, freeze_critic=critic, unfreeze=THAW)


def train(recipe: Recipe, folder: Path, look: Callable[[State], None], plan: Plan | None = None) -> Stage:
    """Train with `look` called before each step."""
    plan = plan or thawing(recipe)

    def step(state: State, *rest: Any) -> Any:
        look(state)
        return plan.step(state, *rest)

    fill = random_weights(recipe.run.seed, "x")
    return train_stage(replace(plan, step=step), fill, reals, folder, run=recipe.run, provenance={"key": "k"})


def weights(state: State) -> dict[str, torch.Tensor]:
    """Of every layer by its name; the vectors of the power iteration, which move in frozen layers too, left out."""
    networks = {"generator": state.generator, "critic": state.critic, "average": state.average}
    found = {f"{role}.{key}": t for role, n in networks.items() if n is not None for key, t in n.state_dict().items()}
    return {name: tensor.clone() for name, tensor in found.items() if not name.endswith(("_u", "_v", "tracked"))}


def test_each_layer_is_bit_equal_until_its_thaw_and_learns_from_then_on(tiny: Recipe, tmp_path: Path) -> None:
    seen: dict[int, dict[str, torch.Tensor]] = {}
    train(tiny, tmp_path, lambda state: seen.update({state.step: weights(state)}))
    first_change = {
        name: min((s for s in seen if not torch.equal(seen[s][name], seen[0][name])), default=None) for name in seen[0]
    }
    of = {"generator.layer1": 19, "generator.layer2": 10, "generator.final": 1, "critic.layer1": 10, "critic.layer2": 1}
    of |= {"average.layer1": 19, "average.layer2": 10, "average.final": 1, "critic.output": 1}
    for name, step in first_change.items():
        assert step == next(expected for layer, expected in of.items() if name.startswith(layer)), name


def test_a_thawed_weight_has_fresh_moments(tiny: Recipe, tmp_path: Path) -> None:
    counts: dict[int, list[list[int]]] = {}

    def look(state: State) -> None:
        adams = (state.generator_adam, state.critic_adam)
        counts[state.step] = [sorted({int(m["step"]) for m in adam.state.values()}) for adam in adams]

    train(tiny, tmp_path, look)
    assert counts[9] == [[9], [9]]  # thawed, but not yet updated
    assert counts[10] == [[1, 10], [1, 10]] and counts[29] == [[11, 20, 29], [20, 29]]


@pytest.mark.parametrize("stop", [8, 9, 20])
def test_stopped_around_a_thaw_and_resumed_is_bit_equal(tiny: Recipe, tmp_path: Path, stop: int) -> None:
    whole = train(tiny, tmp_path / "whole", lambda state: None)

    def kill(state: State) -> None:
        if state.step == stop:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=f"step {stop + 1} of 30"):
        train(tiny, tmp_path / "cut", kill)
    resumed = train(tiny, tmp_path / "cut", lambda state: None)
    assert resumed.config["files"] == whole.config["files"]
    assert whole.training["frozen"] == {"generator": 2, "critic": 1}


def test_the_forecast_is_that_of_the_phase_in_which_the_most_learns(make_recipe: Callable[..., Recipe]) -> None:
    recipe = make_recipe(teacher__widths=[96, 48], teacher__train__batch=16)
    plan = thawing(recipe)
    last = replace(plan, freeze_generator=0, freeze_critic=0, unfreeze=())
    still = replace(plan, unfreeze=())
    assert forecast(plan, "cpu") == forecast(last, "cpu")
    assert forecast(plan, "cpu").peak_mib > 1.1 * forecast(still, "cpu").peak_mib
    partly = replace(plan, unfreeze=(0.5,)).thawed()
    assert (partly.freeze_generator, partly.freeze_critic, partly.unfreeze) == (1, 0, ())


def test_two_real_steps_are_measured_in_that_phase_too(tiny: Recipe) -> None:
    plan = thawing(tiny)
    last = replace(plan, freeze_generator=0, freeze_critic=0, unfreeze=())
    assert measure(plan, "cpu").peak_mib == measure(last, "cpu").peak_mib


def test_what_was_recorded_while_training_is_the_peak_of_the_last_phase(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    recipe = make_recipe(teacher__widths=[96, 48])
    plan = thawing(recipe)
    peaks = {
        name: train(recipe, tmp_path / name, lambda state: None, p).training["peak_memory_mib"]
        for name, p in (("thawing", plan), ("still", replace(plan, unfreeze=())), ("last", plan.thawed()))
    }
    assert peaks["still"] < 0.95 * peaks["thawing"]
    assert peaks["thawing"] == pytest.approx(peaks["last"], rel=0.01)


def test_more_moments_than_frozen_layers_do_nothing(tiny: Recipe) -> None:
    state = build_state(thawing(tiny, generator=1, critic=0), random_weights(1, "x"), "cpu")
    assert state.frozen.thaw(9) and not state.frozen.thaw(9) and not state.frozen.thaw(29)
    assert all(p.requires_grad for p in [*state.generator.parameters(), *state.critic.parameters()])
    assert len(state.generator_adam.param_groups) == 2 and len(state.critic_adam.param_groups) == 1
