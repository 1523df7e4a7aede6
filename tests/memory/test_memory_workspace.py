"""What convolutions hold on the processor, against the allocator's own log, layer by layer and in whole steps."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from ganlet.compress.distill import distill_plan
from ganlet.files import MIB
from ganlet.memory.forecast import forecast
from ganlet.memory.measure import measure
from ganlet.memory.trace import WORKSPACE, LiveStorages, peak_of
from ganlet.memory.workspace import workspace_bytes
from ganlet.recipe import Recipe
from ganlet.training.peak import highest_sum
from ganlet.training.plan import planned_stage, teacher_plan

LAYERS: list[tuple[Callable[[], nn.Module], tuple[int, ...]]] = [
    (lambda: nn.Conv2d(512, 1024, 4, 2, 1), (4, 512, 8, 8)),
    (lambda: nn.Conv2d(64, 128, 4, 2, 1), (8, 64, 64, 64)),
    (lambda: nn.Conv2d(3, 64, 4, 2, 1), (16, 3, 64, 64)),
    (lambda: nn.ConvTranspose2d(1024, 512, 4, 2, 1), (4, 1024, 4, 4)),
    (lambda: nn.ConvTranspose2d(512, 256, 8, 4, 2), (4, 512, 4, 4)),
    (lambda: nn.ConvTranspose2d(100, 512, 4, 1, 0), (4, 100, 1, 1)),
    # of channels that do not fill their last block
    (lambda: nn.ConvTranspose2d(20, 3, 4, 2, 1), (64, 20, 16, 16)),
    (lambda: nn.ConvTranspose2d(36, 20, 4, 2, 1), (64, 36, 8, 8)),
    (lambda: nn.Conv2d(20, 36, 4, 2, 1), (64, 20, 32, 32)),
]


@pytest.mark.parametrize("make, shape", LAYERS)
def test_a_layer_forward_and_backward(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    def work(layer: nn.Module) -> None:
        made = layer(torch.zeros(shape, requires_grad=True))
        made.backward(torch.ones_like(made))

    work(make())  # what oneDNN keeps for later calls is there before the measurement
    layer = make()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        work(layer)
    tracker = LiveStorages(workspace_bytes)
    with FakeTensorMode():
        fake = make()
        with tracker:
            work(fake)
    # oneDNN's scratchpads, which differ by processor, are the part that is not forecast
    assert tracker.peak_bytes == pytest.approx(highest_sum(profile), rel=0.08)
    assert tracker.peak_bytes > peak_without_workspace(tracker)


def peak_without_workspace(tracker: LiveStorages) -> int:
    live = highest = 0
    for change in tracker.changes:
        if tracker.kind_of(change.serial) != WORKSPACE:
            live += change.size_bytes
            highest = max(highest, live)
    return highest


@pytest.mark.slow
@pytest.mark.parametrize("pixel", ["l1", "mse"])
@pytest.mark.parametrize("batch", [8, 64])
def test_a_step_without_a_critic_is_forecast_within_two_percent(
    make_recipe: Callable[..., Recipe], pixel: str, batch: int
) -> None:
    recipe = make_recipe(
        data={"source": "kittens", "size": 32},
        teacher={"widths": [72, 36, 20], "critic": {"widths": [32, 64, 128]}},
        distill={"widths": [72, 36, 20], "alpha": 0.0, "pixel": pixel, "critic": "teacher", "train": {"batch": batch}},
    )
    plan = distill_plan(recipe, planned_stage(teacher_plan(recipe)))
    assert plan.section.features == 0 and not plan.section.needs_critic  # type: ignore[union-attr]
    assert measure(plan, "cpu").error_percent(forecast(plan, "cpu").peak_mib) == pytest.approx(0, abs=2)


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["wgan-gp", "non-saturating"])
def test_a_whole_step_is_forecast_within_two_percent(make_recipe: Callable[..., Recipe], loss: str) -> None:
    critic = {"widths": [32, 64, 128, 256], "norm": "instance", "spectral": False}
    recipe = make_recipe(
        data={"source": "kittens", "size": 64},
        teacher={"widths": [256, 128, 64, 32], "loss": loss, "critic": critic, "train": {"batch": 8, "ema": 0.0}},
        distill={"widths": [128, 64, 32, 16], "critic": critic, "train": {"batch": 8, "ema": 0.0}},
    )
    teacher = teacher_plan(recipe)
    for plan in (teacher, teacher.with_train(accumulate=2), distill_plan(recipe, planned_stage(teacher))):
        expected, seen = forecast(plan, "cpu"), measure(plan, "cpu")
        assert abs(seen.error_percent(expected.peak_mib)) < 2, (plan.stage, expected, seen)


@pytest.mark.slow
def test_a_peak_in_the_optimiser_is_forecast_to_the_byte(make_recipe: Callable[..., Recipe]) -> None:
    critic = {"widths": [16, 32, 64], "norm": "instance", "spectral": False}
    train = {"batch": 2, "ema": 0.0}
    recipe = make_recipe(
        data={"source": "kittens", "size": 32},
        teacher={"widths": [512, 256, 128], "critic": critic, "train": train},
        distill=None,
    )
    plan = teacher_plan(recipe)
    expected, seen = forecast(plan, "cpu"), measure(plan, "cpu")
    assert expected.peak_phase == "generator optimiser"
    assert expected.peak_mib * MIB == seen.peak_mib * MIB


def test_a_card_has_none_of_it(tiny: Recipe) -> None:
    plan = teacher_plan(tiny)
    card, processor = forecast(plan, "cuda"), forecast(plan, "cpu")
    assert WORKSPACE not in card.parts and processor.card_mib == (processor.peak_mib, processor.peak_mib)
    assert card.card_mib[0] > card.reserved_mib >= card.peak_mib


def test_workspace_is_a_part_of_the_peak() -> None:
    tracker = LiveStorages(lambda func, args, result: 1000 if func is torch.ops.aten.add.Tensor else 0)
    with FakeTensorMode(), tracker:
        a = torch.zeros(10)
        b = a + a
    assert (tracker.live_bytes, tracker.peak_bytes) == (80, 1080)
    assert peak_of(tracker).kinds == {"activations": 80, WORKSPACE: 1000}
    assert len(b) * 4 / MIB < tracker.peak_bytes


def test_other_operators_hold_nothing() -> None:
    nothing: Any = None
    assert workspace_bytes(torch.ops.aten.relu.default, (nothing,), nothing) == 0
