"""A forecast for the processor names the operators whose copies no rule is for, and says nothing of the others."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from ganlet.memory.forecast import forecast
from ganlet.recipe import Recipe, parse_recipe
from ganlet.training.plan import Plan, teacher_plan
from ganlet.training.steps import adversarial_step


@pytest.fixture
def plan(tiny_tables: dict[str, Any]) -> Plan:
    recipe: Recipe = parse_recipe(tiny_tables)
    return teacher_plan(recipe)


def test_what_is_known_needs_no_note(plan: Plan) -> None:
    assert forecast(plan, "cpu").notes == ()


def test_a_fourier_transform_is_named(plan: Plan) -> None:
    def step(*given: Any) -> Any:
        torch.fft.rfft2(torch.zeros(4, 8, 8))
        return adversarial_step(*given)

    (note,) = forecast(replace(plan, step=step), "cpu").notes
    assert "_fft_r2c" in note and "may be higher" in note
    assert forecast(replace(plan, step=step), "cuda").notes == ()  # what cuDNN takes is assumed apart
