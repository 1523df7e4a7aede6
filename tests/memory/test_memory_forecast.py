"""The forecast against figures that do not come from it: closed-form bytes, and the base work's published lines."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ganlet.compress.distill import distill_plan
from ganlet.errors import GanletError
from ganlet.files import MIB
from ganlet.limits import DEVICE, MemoryLimit
from ganlet.memory.forecast import forecast
from ganlet.memory.guard import GROWTH, GROWTH_MIB, is_out_of_memory, out_of_memory, require_memory
from ganlet.memory.measure import measure
from ganlet.memory.trace import LiveStorages
from ganlet.recipe import Recipe
from ganlet.training.plan import Plan, planned_stage, teacher_plan


def test_live_storages_counts_distinct_bytes_and_frees() -> None:
    tracker = LiveStorages()
    with FakeTensorMode(), tracker:
        a = torch.zeros(1000, dtype=torch.float32)
        view = a.reshape(10, 100)  # the same storage
        assert tracker.live_bytes == 4000
        b = a + 1
        assert tracker.live_bytes == 8000
        del a, view
        assert tracker.live_bytes == 4000
        del b
    assert tracker.live_bytes == 0 and tracker.peak_bytes == 8000


def test_a_chain_of_layers_by_hand() -> None:
    tracker = LiveStorages()
    with FakeTensorMode(), tracker:
        weight = torch.zeros(64, 64, requires_grad=True)  # 16,384 bytes
        x = torch.zeros(32, 64)  # 8,192 bytes
        hidden = (x @ weight).tanh()  # product 8,192, freed by tanh's own copy once backward has no need of it
        hidden.sum().backward()
    by_hand = 16384 + 8192 + 8192 + 8192  # weight, x, product, tanh
    assert by_hand <= tracker.peak_bytes <= by_hand + 16384 + 3 * 8192  # and the gradients on top


def plan_of(make_recipe: Callable[..., Recipe], **changes: Any) -> Plan:
    return teacher_plan(make_recipe(**changes))


def test_peak_is_linear_in_the_batch(make_recipe: Callable[..., Recipe]) -> None:
    plan = plan_of(make_recipe, teacher__train__batch=64)
    peaks = [forecast(plan.with_train(batch=batch)).peak_mib for batch in (64, 128, 256)]
    np.testing.assert_allclose(peaks[2] - peaks[1], 2 * (peaks[1] - peaks[0]), rtol=0.02)


def test_base_work_needs_less_than_the_published_code(make_recipe: Callable[..., Recipe]) -> None:
    recipe = make_recipe(
        data__size=128,
        data__channels=3,
        teacher__latent=100,
        teacher__widths=[2048, 1024, 512, 256, 128],
        teacher__loss="wgan-gp",
        teacher__critic={"widths": [64, 128, 256, 512, 1024], "norm": "instance", "spectral": False},
        teacher__train__batch=32,
        teacher__train__ema=0.0,
        distill=None,
    )
    plan = teacher_plan(recipe)
    weights_mib = (47_859_331 + 11_166_529) * 4 / MIB
    peak = forecast(plan).peak_mib
    assert 3 * weights_mib < peak < 0.87 * (916 + 38.7 * 32)  # weights and two moments; the published code's forecast


def test_what_cannot_fit_is_refused_with_the_batch_that_would(make_recipe: Callable[..., Recipe]) -> None:
    plan = plan_of(make_recipe, teacher__train__batch=64)
    budget_mib = forecast(plan.with_train(batch=24), "cpu").peak_mib
    require_memory([plan], "cpu", None)
    require_memory([plan], "cpu", 2 * budget_mib * 64 / 24)
    with pytest.raises(GanletError, match=r"the budget allows .* --set teacher.train.batch=2[34]"):
        require_memory([plan], "cpu", budget_mib)
    with pytest.raises(GanletError, match="below the weights"):
        require_memory([plan], "cpu", 0.01)


def device_of(there_mib: float, source: str = DEVICE) -> MemoryLimit:
    return MemoryLimit(source, int(there_mib * MIB), int(2 * there_mib * MIB))


def test_a_card_that_is_too_small_is_refused(make_recipe: Callable[..., Recipe], monkeypatch: Any) -> None:
    plan = plan_of(make_recipe, teacher__train__batch=64)
    least_mib, _ = forecast(plan).card_mib
    monkeypatch.setattr("ganlet.memory.guard.memory_there", lambda device: device_of(least_mib + 1))
    require_memory([plan], "cuda", None)  # it may fit: only what certainly does not is refused
    monkeypatch.setattr("ganlet.memory.guard.memory_there", lambda device: device_of(least_mib - 1))
    with pytest.raises(GanletError, match=r"this device has .* MiB; no batch fits"):
        require_memory([plan], "cuda", None)


def test_a_refusal_of_the_allocator_becomes_a_sentence(make_recipe: Callable[..., Recipe], monkeypatch: Any) -> None:
    plan = plan_of(make_recipe, teacher__train__batch=64)
    there_mib = forecast(plan.with_train(batch=16), "cpu").peak_mib / 0.8 * 1.001
    monkeypatch.setattr("ganlet.memory.guard.memory_there", lambda device: device_of(there_mib))
    told = pytest.raises(GanletError, match=r"Training teacher at batch 64 asks for .*ran out.*train.batch=16")
    with told, out_of_memory(plan, 12.0, "cpu"):
        raise torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(RuntimeError, match="shapes"), out_of_memory(plan, 12.0, "cpu"):
        raise RuntimeError("shapes cannot be multiplied")


@pytest.mark.parametrize("source", ["the limit of this container (memory.max of cgroup v2)", "the limit of RLIMIT_AS"])
def test_the_limit_that_holds_is_named(make_recipe: Callable[..., Recipe], monkeypatch: Any, source: str) -> None:
    plan = plan_of(make_recipe, teacher__train__batch=64)
    tensors_mib = forecast(plan.with_train(batch=16), "cpu").peak_mib
    there = [device_of(GROWTH_MIB + (1 + GROWTH) * tensors_mib * 1.01, source)]
    monkeypatch.setattr("ganlet.memory.guard.memory_there", lambda device: there[-1])
    left, limit = re.escape(source), f"{there[0].left_bytes / MIB:.0f} of its {there[0].total_bytes / MIB:.0f} MiB"
    refused = rf"teacher at batch 64 needs .* beside, but {left} leaves {limit}; a batch of (\d+) should fit"
    with pytest.raises(GanletError, match=refused) as raised:
        require_memory([plan], "cpu", None)
    advised = re.search(refused, str(raised.value))
    assert advised is not None
    require_memory([plan.with_train(batch=int(advised[1]))], "cpu", None)
    told = pytest.raises(GanletError, match=rf"memory ran out where {left} leaves {limit}; a batch of \d+ should fit")
    with told, out_of_memory(plan, 12.0, "cpu"):
        there.append(device_of(0.01, source))  # what training holds when memory runs out counts against the limit
        raise MemoryError
    monkeypatch.setattr("ganlet.memory.guard.memory_there", lambda device: None)
    require_memory([plan], "cpu", None)


def test_an_operator_without_a_fake_is_named_with_its_stage(make_recipe: Callable[..., Recipe]) -> None:
    plan = plan_of(make_recipe)

    def nonzero(state: Any, reals: Any, rng: Any, section: Any) -> Any:
        return {"found": torch.nonzero(reals(0).pictures)}

    def number(state: Any, reals: Any, rng: Any, section: Any) -> Any:
        return {"found": torch.zeros(1).sum().item()}

    for step, operator in ((nonzero, "aten.nonzero"), (number, "aten._local_scalar_dense")):
        with pytest.raises(GanletError, match=rf"memory of teacher cannot be forecast: the operator {operator}"):
            forecast(replace(plan, step=step))


def test_on_a_card_each_batch_of_pictures_counts(make_recipe: Callable[..., Recipe]) -> None:
    plan = plan_of(make_recipe, teacher__train__batch=64)

    def hold(state: Any, reals: Any, rng: Any, section: Any) -> Any:
        first, second = reals(0).pictures, reals(1).pictures
        return {"sum": (first + second).sum()}

    pictures_mib = 64 * 16 * 16 * 4 / MIB
    card, processor = (forecast(replace(plan, step=hold), place) for place in ("cuda", "cpu"))
    assert card.peak_mib - processor.peak_mib == pytest.approx(2 * pictures_mib, rel=1e-6)


def test_the_third_update_of_the_critic_finds_what_the_second_found(make_recipe: Callable[..., Recipe]) -> None:
    plan = plan_of(make_recipe)
    two, five = (forecast(plan.with_train(n_critic=count)) for count in (2, 5))
    assert two == five


def test_out_of_memory_is_told_from_other_faults() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


@pytest.mark.parametrize(
    "option",
    [
        {"adapters": 0.5},
        {"relation": 1.0},
        {"gate": 0.7},
        {"real_share": 0.5},
        {"perceptual": 1.0},
        {"alpha": 0.1, "alpha_end": 0.5},
        {"block": "separable", "init": "random"},
        {"block": "resize", "init": "random"},
    ],
    ids=lambda option: next(iter(option)),
)
def test_every_option_of_a_distillation_is_forecast(make_recipe: Callable[..., Recipe], option: dict[str, Any]) -> None:
    """Against torch's own allocator on real tensors, by the same step."""
    recipe = make_recipe(**{f"distill__{key}": value for key, value in option.items()}, distill__train__batch=32)
    plan = distill_plan(recipe, planned_stage(teacher_plan(recipe)))
    expected, seen = forecast(plan, "cpu"), measure(plan, "cpu")
    assert abs(seen.error_percent(expected.peak_mib)) < 10, (expected.peak_mib, seen.peak_mib)
    assert ("perceptual" in expected.parts) == ("perceptual" in option)


def test_adapters_cost_their_weights_and_moments(make_recipe: Callable[..., Recipe]) -> None:
    def peak_mib(**option: Any) -> tuple[float, dict[str, float]]:
        recipe = make_recipe(**{f"distill__{key}": value for key, value in option.items()})
        found = forecast(distill_plan(recipe, planned_stage(teacher_plan(recipe))))
        return found.peak_mib, found.parts

    _, plain = peak_mib()
    _, adapted = peak_mib(adapters=1.0)
    weights = (6 * 12 + 12 + 4 * 6 + 6) * 4 / MIB  # 1 x 1 from widths 6, 4 to the teacher's 12, 6
    assert adapted["parameters"] - plain["parameters"] == pytest.approx(weights, rel=1e-6)
    counters = 4 * 4 / MIB  # Adam's step of each of the four tensors
    assert adapted["optimiser state"] - plain["optimiser state"] == pytest.approx(2 * weights + counters, rel=1e-6)
