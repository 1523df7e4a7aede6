"""The planner: its batch fits and a quarter more does not, its words choose what it forecast, its advice is plain."""

from collections.abc import Callable
from typing import Any

import pytest

from ganlet.errors import GanletError
from ganlet.memory.forecast import Forecast, forecast
from ganlet.memory.planner import Option, largest_batch, needed_mib, options, recommended, require_weights_fit
from ganlet.memory.ways import Way, distilled, frozen, ways_of
from ganlet.recipe import Recipe, load_recipe, parse_recipe, save_recipe
from ganlet.training.plan import teacher_plan

WIDE: dict[str, Any] = {
    "teacher__latent": 8,
    "teacher__widths": [64, 32],
    "teacher__critic": {"widths": [32, 64], "norm": "instance", "spectral": False},
    "distill": None,
}


@pytest.fixture
def wide(make_recipe: Callable[..., Recipe]) -> Recipe:
    return make_recipe(**WIDE)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["cuda", "cpu"])
def test_the_batch_that_is_named_fits_and_a_quarter_more_does_not(wide: Recipe, place: Any) -> None:
    plan = teacher_plan(wide)
    limit_mib = needed_mib(forecast(plan.with_train(batch=600), place))
    found = largest_batch(plan, limit_mib, place)
    assert found is not None
    batch, forecasted = found
    assert batch >= 580 and forecasted.batch == batch
    assert place == "cuda" or batch <= 600  # a card is reserved in blocks of up to 20 MiB, so more may fit for nothing
    assert needed_mib(forecasted) <= limit_mib
    assert needed_mib(forecast(plan.with_train(batch=round(1.25 * batch)), place)) > limit_mib
    assert largest_batch(plan, 1.0, place) is None


@pytest.mark.slow
def test_options_go_from_plain_to_what_needs_a_run(wide: Recipe) -> None:
    plan = teacher_plan(wide).with_train(batch=200)
    limit_mib = needed_mib(forecast(plan.with_train(batch=100)))
    found = options(wide, plan, limit_mib)
    names = ["plain", "plain, mixed precision", "plain, in parts", "frozen 2 / 2", "distilled, half the widths"]
    assert [option.way.name for option in found] == names
    plain, mixed, parts = found[:3]
    assert plain.batch is not None and 96 <= plain.batch < (mixed.batch or 0)
    assert plain.words == (f"--set teacher.train.batch={plain.batch}",)
    assert (
        parts.batch or 0
    ) >= 200 and f"--set teacher.train.accumulate={parts.way.plan.train.accumulate}" in parts.words
    nothing = options(wide, plan, 1.0)
    assert recommended(nothing, 8) is None and all(option.words == () for option in nothing)


def option(name: str, batch: int | None, needs_a_run: bool = False) -> Option:
    plan: Any = None
    found: Forecast | None = None
    return Option(Way(name, plan, needs_a_run=needs_a_run), batch, found)


def test_what_is_recommended() -> None:
    plain, mixed, frozen_one = option("plain", 16), option("mixed", 40), option("frozen", 90, needs_a_run=True)
    assert recommended([plain, mixed, frozen_one], 16) is plain
    assert recommended([plain, mixed, frozen_one], 32) is mixed
    assert recommended([plain, mixed, frozen_one], 64) is mixed  # another run would be needed for more
    assert recommended([option("plain", None), frozen_one], 64) is frozen_one
    assert recommended([option("plain", None)], 8) is None


def test_the_words_of_a_way_make_the_very_section(wide: Recipe, tmp_path: Any) -> None:
    plan = teacher_plan(wide)
    save_recipe(wide, tmp_path / "recipe.toml")
    for way in (frozen(wide, plan), distilled(wide, plan)):
        overrides = [word.removeprefix("--set ").strip("'") for word in way.words(24)]
        recipe = load_recipe(tmp_path / "recipe.toml", overrides)
        section = recipe.transfer or recipe.distill
        assert recipe.teacher is None and section is not None
        wanted = way.plan.with_train(batch=24).section
        free = {"checkpoint_steps", "progress_steps", "log_steps"}
        assert section.model_dump(exclude={"train": free}) == wanted.model_dump(exclude={"train": free})


def test_a_recipe_that_freezes_and_distils_gets_no_second_way(tiny_tables: dict[str, Any]) -> None:
    recipe = parse_recipe(tiny_tables)  # teacher and distill
    names = [way.name for way in ways_of(recipe, teacher_plan(recipe))]
    assert names == ["plain", "plain, mixed precision", "plain, in parts", "frozen 2 / 2"]


def test_no_mixed_precision_under_a_gradient_penalty(make_recipe: Callable[..., Recipe]) -> None:
    recipe = make_recipe(**WIDE, teacher__loss="wgan-gp")
    assert "plain, mixed precision" not in [way.name for way in ways_of(recipe, teacher_plan(recipe))]


def test_a_limit_below_the_weights_says_so(make_recipe: Callable[..., Recipe]) -> None:
    found = forecast(teacher_plan(make_recipe()))
    with pytest.raises(GanletError, match="below the weights, gradients and optimiser state of teacher"):
        require_weights_fit(found, 0.01, "The budget")
    require_weights_fit(found, 100.0, "The budget")
