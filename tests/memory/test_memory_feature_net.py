"""The feature net that measures a generator while it trains: in the forecast, and in what is measured."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ganlet.commands.open_run import OpenRun, open_pictures
from ganlet.commands.preflight import plans_of
from ganlet.commands.run import train_teacher
from ganlet.files import MIB
from ganlet.memory.feature_net import feature_net_memory
from ganlet.memory.forecast import FEATURE_NET, forecast
from ganlet.recipe import Recipe
from ganlet.training.evaluate import FeatureNetMemory
from ganlet.training.plan import teacher_plan
from support import Silent

NET = FeatureNetMemory(batch=4, weights_bytes=3 * 2**20, working_bytes=200 * 2**20)


def test_a_net_is_measured_by_the_allocator() -> None:
    weights = torch.zeros(1000)
    found = feature_net_memory([weights, weights[:10]], 4, lambda: torch.zeros(2**16) + torch.ones(2**16))
    assert (found.batch, found.weights_bytes) == (4, 4000)
    assert found.working_bytes == 3 * 4 * 2**16  # two terms and their sum


def test_it_counts_on_the_processor_alone_and_only_where_it_measures(tiny: Recipe) -> None:
    plain = teacher_plan(tiny)
    unused = replace(plain, feature_net=NET)
    assert forecast(unused, "cpu") == forecast(plain, "cpu")
    watched = unused.with_train(evaluate_steps=10)
    best = plain.with_train(evaluate_steps=10)
    assert forecast(watched, "cuda") == forecast(best, "cuda")
    with_net, without = forecast(watched, "cpu"), forecast(best, "cpu")
    assert with_net.peak_phase == "evaluation" and with_net.parts[FEATURE_NET] == 203.0
    for phase, mib in without.phases.items():
        if phase != "between":  # where the first weights are counted before there is any net
            assert with_net.phases[phase] == pytest.approx(mib + 3)
    assert max(mib for mib, _ in with_net.timeline) == pytest.approx(with_net.peak_mib, abs=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("widths, batch, where", [([12, 8], 8, "evaluation"), ([512, 256], 256, "generator backward")])
def test_forecast_and_training_agree_with_the_real_net(
    make_recipe: Callable[..., Recipe], tmp_path: Path, widths: list[int], batch: int, where: str
) -> None:
    train = {"images": 2 * batch, "batch": batch, "ema": 0.0, "evaluate_steps": 2, "evaluate_samples": 50}
    recipe = make_recipe(run__device="cpu", teacher__widths=widths, teacher__train=train, distill=None)
    place = OpenRun(recipe, tmp_path, open_pictures(recipe, Silent()), Silent())
    (plan, *_) = plans_of(recipe)
    assert plan.feature_net is not None
    assert plan.feature_net.weights_bytes / MIB == pytest.approx(4.64e6 * 4 / MIB, rel=0.02)  # its published parameters
    expected, seen = forecast(plan, "cpu"), train_teacher(place).training
    assert expected.peak_phase == where
    assert seen["peak_memory_mib"] == pytest.approx(expected.peak_mib, rel=0.02)
    assert seen["predicted_memory_mib"] == pytest.approx(expected.peak_mib, rel=0.02)
    assert np.isfinite(seen["evaluation"]["distance"])
