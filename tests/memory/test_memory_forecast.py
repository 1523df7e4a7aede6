"""The forecast against figures that do not come from it: closed-form bytes, and the base work's published lines."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ganlet.files import MIB
from ganlet.memory.forecast import predicted_peak_mib
from ganlet.memory.trace import LiveStorages
from ganlet.recipe import Recipe
from ganlet.training.guard import is_out_of_memory, largest_batch
from ganlet.training.plan import Plan, teacher_plan


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
    peaks = [predicted_peak_mib(plan.with_train(batch=batch)) for batch in (64, 128, 256)]
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
    peak = predicted_peak_mib(plan)
    assert 3 * weights_mib < peak < 0.87 * (916 + 38.7 * 32)  # weights and two moments; the published code's forecast


def test_largest_batch_that_fits_is_the_largest_power(make_recipe: Callable[..., Recipe]) -> None:
    plan = plan_of(make_recipe, teacher__train__batch=64)
    there = predicted_peak_mib(plan.with_train(batch=16)) / 0.8 * 1.001
    assert largest_batch(plan, there, predicted_peak_mib) == 16
    assert largest_batch(plan, 0.01, predicted_peak_mib) is None


def test_out_of_memory_is_told_from_other_faults() -> None:
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1"))
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
