"""A tiny teacher's training without a run around it, to its end or killed on the way."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganlet.artifact import Stage
from ganlet.data import Batch
from ganlet.recipe import Recipe
from ganlet.training.plan import random_weights, teacher_plan, train_stage


def reals(position: int) -> Batch:
    return Batch(np.random.default_rng(position).uniform(-1, 1, (8, 1, 16, 16)).astype(np.float32))


def train(recipe: Recipe, folder: Path, dies_at: int | None = None, say: Callable[[str], None] = print) -> Stage:
    """Train the teacher, or be killed in the middle of a step; checkpoints are of steps 7, 14, 21, 28 and 30."""
    plan = teacher_plan(recipe)

    def step(state: Any, *rest: Any) -> Any:
        if state.step == dies_at:
            raise KeyboardInterrupt
        return plan.step(state, *rest)

    fill = random_weights(recipe.run.seed, "teacher")
    return train_stage(replace(plan, step=step), fill, reals, folder, run=recipe.run, provenance={"key": "k"}, say=say)


def killed(recipe: Recipe, folder: Path, step: int = 17) -> Path:
    with pytest.raises(KeyboardInterrupt):
        train(recipe, folder, step)
    return folder / "checkpoint"
