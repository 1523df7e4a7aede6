"""The loop: same seed, same bytes, also across interruptions; what is frozen stays; a broken loss stops it."""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganlet.artifact import Stage, load_stage
from ganlet.data import Batch
from ganlet.device.feed import z_port
from ganlet.errors import GanletError, Interrupted
from ganlet.recipe import Recipe
from ganlet.training import interrupt
from ganlet.training.loop import Job, run_training
from ganlet.training.plan import Plan, build_state, random_weights, teacher_plan, train_stage
from ganlet.training.state import load_checkpoint, random_at, save_checkpoint, seed_of
from ganlet.training.steps import Logs, frozen
from ganlet.training.telemetry import Telemetry, require_finite

SIDE = 16


def reals(position: int) -> Batch:
    """Real pictures as a function of the position, (8, 1, 16, 16) float32."""
    return Batch(np.random.default_rng(position).uniform(-1, 1, (8, 1, SIDE, SIDE)).astype(np.float32))


def train(recipe: Recipe, folder: Path, **changes: Any) -> Stage:
    plan = replace(teacher_plan(recipe), **changes)
    fill = random_weights(recipe.run.seed, "teacher")
    return train_stage(plan, fill, reals, folder, run=recipe.run, provenance={"key": "k"})


def interrupt_at(plan: Plan, step: int) -> Plan:
    """The plan, with SIGTERM sent to this process in the middle of a step."""

    def wrapped(state: Any, *rest: Any) -> Logs:
        if state.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return plan.step(state, *rest)

    return replace(plan, step=wrapped)


def test_same_seed_same_bytes_and_another_seed_other_bytes(tiny: Recipe, tmp_path: Path) -> None:
    first, second = train(tiny, tmp_path / "a"), train(tiny, tmp_path / "b")
    assert first.weights_sha256 == second.weights_sha256
    other = tiny.model_copy(update={"run": tiny.run.model_copy(update={"seed": 4})})
    assert train(other, tmp_path / "c").weights_sha256 != first.weights_sha256


@pytest.mark.parametrize("family", ["non-saturating", "wgan-gp"])
def test_interrupted_and_resumed_is_bit_equal(make_recipe: Callable[..., Recipe], tmp_path: Path, family: str) -> None:
    critic = {"widths": [6, 8], "norm": "instance", "spectral": False} if family == "wgan-gp" else {"widths": [6, 8]}
    recipe = make_recipe(teacher__loss=family, teacher__critic=critic, teacher__train__augment=["color", "cutout"])
    whole = train(recipe, tmp_path / "whole")
    plan = interrupt_at(teacher_plan(recipe), 11)
    fill = random_weights(recipe.run.seed, "teacher")
    with pytest.raises(Interrupted, match=r"Stopped teacher at step 12 of 30.*same command"):
        train_stage(plan, fill, reals, tmp_path / "cut", run=recipe.run, provenance={"key": "k"})
    resumed = train(recipe, tmp_path / "cut")
    assert resumed.weights_sha256 == whole.weights_sha256
    assert resumed.config["files"] == whole.config["files"]
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == 30


def test_a_signal_in_the_last_step_is_not_lost(tiny: Recipe, tmp_path: Path) -> None:
    with pytest.raises(Interrupted, match="at step 30 of 30"):
        train(tiny, tmp_path / "cut", step=interrupt_at(teacher_plan(tiny), 29).step)
    assert not (tmp_path / "cut" / "config.json").exists()
    assert train(tiny, tmp_path / "cut").weights_sha256 == train(tiny, tmp_path / "whole").weights_sha256


def test_a_signal_that_a_library_swallowed_stops_training_at_its_first_step(tiny: Recipe, tmp_path: Path) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        interrupt.install()
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted, match="at step 1 of 30"):
            train(tiny, tmp_path)
        interrupt.install()  # the next command starts afresh
        assert train(tiny, tmp_path).training["steps"] == 30
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_signal_waits_until_an_import_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_module.py").write_text(
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nfor _ in range(1000): pass\nwhole = True\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        interrupt.install()
        with pytest.raises(KeyboardInterrupt):
            import slow_module  # type: ignore[import-not-found]

            assert slow_module.whole
            time.sleep(5)
    finally:
        interrupt.install()
        for number, handler in before.items():
            signal.signal(number, handler)
    assert sys.modules["slow_module"].whole


def test_a_checkpoint_of_another_job_is_not_continued(tiny: Recipe, tmp_path: Path) -> None:
    state = build_state(teacher_plan(tiny), random_weights(1, "x"), "cpu")
    state.step = 5
    save_checkpoint(state, tmp_path, "mine")
    fresh = build_state(teacher_plan(tiny), random_weights(2, "x"), "cpu")
    assert not load_checkpoint(fresh, tmp_path, "another")
    assert fresh.step == 0
    assert load_checkpoint(fresh, tmp_path, "mine")
    assert fresh.step == 5
    for mine, theirs in zip(fresh.generator.parameters(), state.generator.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_truncated_checkpoint_is_one_sentence(tiny: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    state = build_state(teacher_plan(tiny), random_weights(1, "x"), "cpu")
    save_checkpoint(state, tmp_path, "mine")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(GanletError, match=r"is damaged \(it is cut short\).*delete .* to begin this stage again"):
        load_checkpoint(state, tmp_path, "mine")


def test_a_checkpoint_of_other_networks_is_refused(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    path = tmp_path
    save_checkpoint(build_state(teacher_plan(make_recipe()), random_weights(1, "x"), "cpu"), path, "k")
    wider = teacher_plan(make_recipe(teacher__widths=[14, 6]))
    with pytest.raises(GanletError, match="does not fit"):
        load_checkpoint(build_state(wider, random_weights(1, "x"), "cpu"), path, "k")


def test_nan_stops_at_its_step_and_keeps_the_last_good_checkpoint(tiny: Recipe, tmp_path: Path) -> None:
    plan = teacher_plan(tiny)

    def poisoned(state: Any, *rest: Any) -> Logs:
        logs = plan.step(state, *rest)
        return logs | {"critic_loss": torch.tensor(float("nan"))} if state.step == 16 else logs

    with pytest.raises(GanletError, match=r"step 17: critic_loss = nan.*teacher\.train\.lr"):
        train(tiny, tmp_path, step=poisoned)
    good = build_state(plan, random_weights(9, "x"), "cpu")
    assert load_checkpoint(good, tmp_path / "checkpoint", "k")
    assert good.step == 14  # checkpoints are every 7 steps, and the one at 21 would have held the NaN
    assert train(tiny, tmp_path).training["steps"] == 30


def test_broken_weights_never_replace_a_good_checkpoint(tiny: Recipe, tmp_path: Path) -> None:
    """The loss of step 14 is finite, but its update leaves NaN behind."""
    plan = teacher_plan(tiny)

    def breaking(state: Any, *rest: Any) -> Logs:
        logs = plan.step(state, *rest)
        if state.step == 13:
            state.generator.final[0].weight.data[0] = float("nan")
        return logs

    with pytest.raises(GanletError, match="step 14: weights of generator = nan"):
        train(tiny, tmp_path, step=breaking)
    good = build_state(plan, random_weights(9, "x"), "cpu")
    assert load_checkpoint(good, tmp_path / "checkpoint", "k") and good.step == 7


def test_infinity_is_named() -> None:
    with pytest.raises(GanletError, match="generator_loss = inf"):
        require_finite(3, {"generator_loss": float("inf")}, "student")
    require_finite(3, {"generator_loss": 1.0}, "student")


def test_learning_rate_falls_to_zero_over_the_last_part(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    recipe = make_recipe(teacher__train__decay=0.5, teacher__train__lr=0.01, teacher__train__lr_critic=0.02)
    plan = teacher_plan(recipe)
    seen: list[tuple[float, float]] = []

    def spying(state: Any, *rest: Any) -> Logs:
        seen.append((state.generator_adam.param_groups[0]["lr"], state.critic_adam.param_groups[0]["lr"]))
        return plan.step(state, *rest)

    train(recipe, tmp_path, step=spying)
    expected = [0.01 * min(1.0, (30 - step) / 30 / 0.5) for step in range(30)]
    np.testing.assert_allclose([g for g, _ in seen], expected)
    np.testing.assert_allclose([c for _, c in seen], 2 * np.array(expected))


def test_frozen_layers_are_bit_equal_after_training_and_cost_no_state(tiny: Recipe, tmp_path: Path) -> None:
    plan = replace(teacher_plan(tiny), freeze_generator=2, freeze_critic=1)
    state = build_state(plan, random_weights(5, "x"), "cpu")
    with torch.no_grad():
        state.generator.layers()[0][1].running_mean.uniform_(-1, 1)
    assert state.average is not None
    state.average.load_state_dict(state.generator.state_dict())
    before = {name: tensor.clone() for name, tensor in state.generator.state_dict().items()}
    critic_before = {name: tensor.clone() for name, tensor in state.critic.state_dict().items()}
    run_training(Job("teacher", "k", 0, tmp_path, plan.section, plan.step, reals), state)
    for name, tensor in state.generator.state_dict().items():
        same = torch.equal(tensor, before[name])
        assert same == name.startswith(("layer1.", "layer2.")), name
    for name, tensor in state.average.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith(("layer1.", "layer2.")), name
    for name, tensor in state.critic.state_dict().items():
        if name.startswith("layer1.") and not name.endswith(("_u", "_v")):
            assert torch.equal(tensor, critic_before[name]), name
    trained = sum(p.requires_grad for p in state.generator.parameters())
    assert trained == len(state.generator_adam.state) == 2
    assert all(p.grad is None for p in state.generator.parameters() if not p.requires_grad)


def test_a_frozen_generator_prefix_stores_no_activations(tiny: Recipe) -> None:
    state = build_state(replace(teacher_plan(tiny), freeze_generator=2), random_weights(5, "x"), "cpu")
    z = torch.randn(4, 8)
    prefix = z.reshape(4, 8, 1, 1)
    for layer in state.generator.layers()[:2]:
        prefix = layer(prefix)
    assert prefix.grad_fn is None and not prefix.requires_grad
    assert state.generator(z).grad_fn is not None


def test_frozen_restores_only_what_it_froze() -> None:
    network = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    network[0].requires_grad_(False)
    with frozen(network):
        assert not any(p.requires_grad for p in network.parameters())
    assert [p.requires_grad for p in network.parameters()] == [False, False, True, True]


def test_draws_depend_on_seed_stage_and_step_only() -> None:
    drawn = torch.randn(4, generator=random_at(1, "teacher", 7))
    torch.manual_seed(99)
    assert torch.equal(drawn, torch.randn(4, generator=random_at(1, "teacher", 7)))
    others = [(2, "teacher", 7), (1, "student", 7), (1, "teacher", 8)]
    assert all(not torch.equal(drawn, torch.randn(4, generator=random_at(*other))) for other in others)
    assert 0 <= seed_of("any", 1) < 2**63


def test_progress_pictures_and_strip(tiny: Recipe, tmp_path: Path) -> None:
    train(tiny, tmp_path)
    names = sorted(path.name for path in (tmp_path / "progress").iterdir())
    assert names == ["0000000.png", "0000010.png", "0000020.png", "0000030.png", "strip.png"]
    from PIL import Image

    row, strip = Image.open(tmp_path / "progress" / "0000010.png"), Image.open(tmp_path / "progress" / "strip.png")
    assert strip.width == row.width and strip.height == 4 * row.height
    bottom = np.asarray(strip)[-row.height :]
    assert np.array_equal(bottom, np.asarray(Image.open(tmp_path / "progress" / "0000030.png")))


def test_tensorboard_holds_the_losses(tiny: Recipe, tmp_path: Path) -> None:
    train(tiny, tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    logged = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for name in ("critic_loss", "generator_loss"):
        scalars = {event.step: event.value for event in events.Scalars(name)}
        assert scalars == pytest.approx({line["step"]: line[name] for line in logged}, rel=1e-6)


def test_resuming_cuts_the_log_back_to_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 5, "a": 1}\n{"step": 10, "a": 1}\n{"step": 1')
    Telemetry(tmp_path, 0, (z_port(8),), resume_step=5).close()
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 5, "a": 1}\n'


def test_measured_peak_is_near_the_forecast(make_recipe: Callable[..., Recipe], tmp_path: Path) -> None:
    from ganlet.memory.forecast import forecast

    recipe = make_recipe(teacher__widths=[64, 32], teacher__critic={"widths": [32, 64]}, teacher__train__batch=64)
    plan = teacher_plan(recipe)
    wide = Batch(np.random.default_rng(0).uniform(-1, 1, (64, 1, SIDE, SIDE)).astype(np.float32))
    state = build_state(plan, random_weights(0, "teacher"), "cpu")
    outcome = run_training(Job("teacher", "k", 0, tmp_path, plan.section, plan.step, lambda position: wide), state)
    assert forecast(plan, "cpu").peak_mib == pytest.approx(outcome.peaks.peak_memory_mib, rel=0.02)
    assert outcome.peaks.process_memory_mib is not None
    assert outcome.peaks.process_memory_mib > outcome.peaks.peak_memory_mib
    assert outcome.peaks.reserved_memory_mib is None  # only a card has that


def test_a_finished_stage_tells_what_it_cost(tiny: Recipe, tmp_path: Path) -> None:
    stage = load_stage(train(tiny, tmp_path).folder)
    assert stage.training["steps"] == 30 and stage.training["images"] == 240
    assert stage.training["seconds"] > 0 and stage.training["peak_memory_mib"] > 0
