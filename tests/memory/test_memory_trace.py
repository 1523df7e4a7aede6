"""Parts, phases and the allocator's view of a forecast, against numbers that do not come from it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ganlet.compress.distill import distill_plan
from ganlet.errors import GanletError
from ganlet.files import MIB
from ganlet.memory.forecast import forecast
from ganlet.memory.measure import Measurement
from ganlet.memory.planner import largest_batch, needed_mib, options, recommended, require_weights_fit
from ganlet.memory.trace import LiveStorages, peak_of, peaks_by_phase
from ganlet.recipe import Recipe
from ganlet.training.phases import current_phase, phase
from ganlet.training.plan import Plan, planned_stage, teacher_plan


def sizes(plan: Plan) -> tuple[int, int]:
    """Numbers of the generator and the critic, counted by hand from the widths (instance or no norm not counted)."""
    from ganlet.models import build_critic, build_generator

    networks = (build_generator(plan.generator), build_critic(plan.critic))
    generator, critic = (sum(p.numel() for p in network.parameters()) for network in networks)
    return generator, critic


def test_phases_nest_and_end() -> None:
    assert current_phase() == "between"
    with phase("a"):
        with phase("b"):
            assert current_phase() == "b"
        assert current_phase() == "a"
    with pytest.raises(RuntimeError), phase("c"):
        raise RuntimeError
    assert current_phase() == "between"


def test_peak_and_its_parts_by_hand() -> None:
    tracker = LiveStorages()
    with FakeTensorMode(), tracker:
        weight = torch.zeros(1000)  # 4,000 bytes
        tracker.watch(weight, "parameters")
        with phase("first"):
            held = weight + 1
        with phase("second"):
            more = torch.cat([held, held, held])  # 12,000
        del more
        with phase("third"):
            small = held * 2
    peak = peak_of(tracker)
    assert (peak.live_bytes, peak.phase) == (20_000, "second")
    assert peak.kinds == {"activations": 16_000, "parameters": 4_000}
    assert peaks_by_phase(tracker) == {"between": 8_000, "first": 8_000, "second": 20_000, "third": 12_000}
    del small


def test_parts_are_what_adam_and_the_networks_hold(make_recipe: Callable[..., Recipe]) -> None:
    plan = teacher_plan(make_recipe(teacher__critic={"widths": [6, 8], "spectral": False}))
    generator, critic = sizes(plan)
    found = forecast(plan)
    assert found.parts["parameters"] * MIB == 4 * (generator + critic)
    assert found.parts["average"] * MIB == 4 * generator
    trained = generator + critic
    moments = 2 * 4 * trained
    steps = 4 * len(plan_parameters(plan))
    assert found.parts["optimiser state"] * MIB == moments + steps  # two moments and a counter for each tensor
    assert sum(found.parts.values()) == pytest.approx(found.peak_mib)
    assert max(found.phases.values()) == pytest.approx(found.peak_mib)
    assert found.phases[found.peak_phase] == pytest.approx(found.peak_mib)
    assert max(mib for mib, _ in found.timeline) == pytest.approx(found.peak_mib)
    assert found.reserved_mib >= found.peak_mib and found.reserved_mib % 2 == 0
    assert found.card_mib[0] > found.reserved_mib and found.card_mib[1] > found.card_mib[0]


def plan_parameters(plan: Plan) -> list[torch.nn.Parameter]:
    from ganlet.models import build_critic, build_generator

    return [*build_generator(plan.generator).parameters(), *build_critic(plan.critic).parameters()]


@pytest.mark.slow
def test_freezing_and_accumulating_save_what_they_promise(make_recipe: Callable[..., Recipe]) -> None:
    wide: dict[str, Any] = {
        "teacher__widths": [64, 32],
        "teacher__train__batch": 64,
        "teacher__critic": {"widths": [32, 64]},
    }
    plan = teacher_plan(make_recipe(**wide))
    whole = forecast(plan)
    frozen = forecast(replace(plan, freeze_generator=2, freeze_critic=1))
    assert frozen.parts["optimiser state"] < whole.parts["optimiser state"]
    assert frozen.peak_mib < whole.peak_mib
    halves, quarters = (forecast(plan.with_train(accumulate=parts)) for parts in (2, 4))
    assert quarters.peak_mib < halves.peak_mib < whole.peak_mib
    half_batch = forecast(plan.with_train(batch=32))
    assert halves.parts.get("activations", 0) == pytest.approx(half_batch.parts["activations"], rel=0.15)


def test_mixed_precision_saves_activations(make_recipe: Callable[..., Recipe]) -> None:
    wide: dict[str, Any] = {
        "teacher__widths": [64, 32],
        "teacher__train__batch": 256,
        "teacher__critic": {"widths": [32, 64]},
    }
    plan = teacher_plan(make_recipe(**wide))
    assert forecast(plan.with_train(amp="bf16")).peak_mib < 0.9 * forecast(plan).peak_mib


def test_a_distillation_holds_its_teacher(tiny: Recipe) -> None:
    first = teacher_plan(tiny)
    found = forecast(distill_plan(tiny, planned_stage(first)))
    generator, _ = sizes(first)
    assert found.stage == "student" and found.parts["teacher"] * MIB >= 4 * generator


@pytest.mark.slow
def test_the_batch_that_is_named_fits_and_a_quarter_more_does_not(make_recipe: Callable[..., Recipe]) -> None:
    plan = teacher_plan(make_recipe(teacher__widths=[64, 32], teacher__critic={"widths": [32, 64]}))
    limit_mib = 1400.0
    found = largest_batch(plan, limit_mib)
    assert found is not None
    batch, forecasted = found
    assert needed_mib(forecasted) <= limit_mib
    assert needed_mib(forecast(plan.with_train(batch=round(1.25 * batch)))) > limit_mib
    assert largest_batch(plan, 300.0) is None


@pytest.mark.slow
def test_options_and_recommendation(make_recipe: Callable[..., Recipe]) -> None:
    plan = teacher_plan(make_recipe(teacher__widths=[64, 32], teacher__critic={"widths": [32, 64]}))
    found = options(plan, 1300.0)
    assert [option.way for option in found] == ["plain", "plain, mixed precision"]
    assert (found[1].batch or 0) > (found[0].batch or 0) > 8
    assert found[0].words == (f"--set teacher.train.batch={found[0].batch}",)
    assert recommended(found, 8) is found[0]
    assert recommended(found, (found[0].batch or 0) + 1) is found[1]
    assert recommended(options(plan, 100.0), 8) is None


def test_a_limit_below_the_weights_says_so(make_recipe: Callable[..., Recipe]) -> None:
    found = forecast(teacher_plan(make_recipe()))
    with pytest.raises(GanletError, match="below the weights, gradients and optimiser state of teacher"):
        require_weights_fit(found, 0.01, "The budget")
    require_weights_fit(found, 100.0, "The budget")


def test_error_percent() -> None:
    assert Measurement(200.0, "cpu").error_percent(190.0) == pytest.approx(-5.0)
