"""Parts, phases and the allocator's view of a forecast, against numbers that do not come from it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ganlet.compress.distill import distill_plan
from ganlet.files import MIB
from ganlet.memory.forecast import forecast
from ganlet.memory.measure import Measurement
from ganlet.memory.trace import LiveStorages, peak_of, peaks_by_phase
from ganlet.recipe import Recipe
from ganlet.training.peak import Peaks
from ganlet.training.phases import current_phase, phase
from ganlet.training.plan import Plan, planned_stage, teacher_plan


def sizes(plan: Plan) -> tuple[int, int]:
    """Numbers of the generator and the critic, counted by hand from the widths (instance or no norm not counted)."""
    from ganlet.models.families import build_critic, build_generator

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
    assert max(mib for mib, _ in found.timeline) == pytest.approx(found.peak_mib, abs=5e-4)  # rounded to a thousandth
    assert found.reserved_mib >= found.peak_mib and found.reserved_mib % 2 == 0
    assert found.card_mib[0] > found.reserved_mib and found.card_mib[1] > found.card_mib[0]


def test_the_best_generator_so_far_is_held_apart(make_recipe: Callable[..., Recipe]) -> None:
    without, keeping = (teacher_plan(make_recipe(teacher__train__evaluate_steps=steps)) for steps in (0, 10))
    generator, _ = sizes(keeping)
    assert forecast(keeping).parts["best"] * MIB == 4 * generator
    assert "best" not in forecast(without).parts


def plan_parameters(plan: Plan) -> list[torch.nn.Parameter]:
    from ganlet.models.families import build_critic, build_generator

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
    assert forecast(plan.with_train(amp="bf16"), "cpu") == forecast(plan, "cpu")  # where it is not switched on


def test_a_distillation_holds_its_teacher(tiny: Recipe) -> None:
    first = teacher_plan(tiny)
    found = forecast(distill_plan(tiny, planned_stage(first)))
    generator, _ = sizes(first)
    assert found.stage == "student" and found.parts["teacher"] * MIB >= 4 * generator


def test_error_percent() -> None:
    assert Measurement(Peaks(200.0), "cpu").error_percent(190.0) == pytest.approx(-5.0)


def test_what_is_overlooked_never_counts() -> None:
    tracker = LiveStorages()
    with FakeTensorMode():
        pictures = torch.zeros(1000)
        tracker.overlook(pictures)
        with tracker:
            view = pictures.reshape(10, 100)
            doubled = view * 2
    assert tracker.live_bytes == 4000
    del doubled
    assert tracker.live_bytes == 0
