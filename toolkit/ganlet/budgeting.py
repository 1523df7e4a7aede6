"""`ganlet budget`: forecasts of a recipe's stages, against a card, and what would fit it."""

from dataclasses import asdict
from typing import Any

from ganlet.errors import GanletError
from ganlet.preflight import plans_of, require_training_packages
from ganlet.recipe import Recipe


def budget_recipe(
    recipe: Recipe, gpu: str | None = None, vram_gb: float | None = None, fit: bool = False, measured: bool = False
) -> dict[str, Any]:
    """Forecast every training stage; with a card, judge them and (with `fit`) look for the largest batches.

    Raises GanletError for an unknown card, both ways of naming one, or --fit without one.
    """
    require_training_packages()
    from ganlet.memory.devices import device_of_memory, find_device
    from ganlet.memory.forecast import forecast
    from ganlet.memory.measure import measure
    from ganlet.memory.planner import needed_mib, options, recommended, require_weights_fit
    from ganlet.training.loop import pick_device

    if gpu is not None and vram_gb is not None:
        raise GanletError("Got both --gpu and --vram-gb; give one of them.")
    card = find_device(gpu) if gpu is not None else device_of_memory(vram_gb) if vram_gb is not None else None
    if fit and card is None:
        raise GanletError("--fit needs a card; add --gpu NAME, such as gtx-1660-ti, or --vram-gb 6.")
    plans = plans_of(recipe)
    forecasts = [forecast(plan) for plan in plans]
    result: dict[str, Any] = {"run": recipe.run.name, "stages": [found.as_json() for found in forecasts], "fits": None}
    if card is not None:
        result["device"] = asdict(card) | {"usable_mib": card.usable_mib}
        result["fits"] = all(needed_mib(found) <= card.usable_mib for found in forecasts)
    for plan, found, stage in zip(plans, forecasts, result["stages"], strict=True):
        if card is not None and fit:
            require_weights_fit(found, card.usable_mib, card.name)
            choices = options(plan, card.usable_mib)
            best = recommended(choices, plan.train.batch)
            stage["options"] = [
                {
                    "way": choice.way,
                    "batch": choice.batch,
                    "card_mib": choice.forecast.card_mib if choice.forecast else None,
                    "words": list(choice.words),
                    "recommended": choice is best,
                }
                for choice in choices
            ]
        if measured:
            seen = measure(plan, pick_device(recipe.run.device))
            stage["measured"] = asdict(seen) | {"error_percent": seen.error_percent(found.peak_mib)}
    return result


def show(result: dict[str, Any]) -> None:
    """Print the tables of a budget."""
    from rich.console import Console

    from ganlet.report import forecast_bars, forecast_table, options_table, phases_table

    console = Console()
    device = result.get("device") or {}
    name, limit_mib = str(device.get("name", "")), float(device.get("usable_mib", 0))
    console.print(forecast_table(result["stages"], limit_mib or None, name))
    console.print(forecast_bars(result["stages"]))
    for stage in result["stages"]:
        console.print(phases_table(stage))
        if "options" in stage:
            console.print(options_table(stage["options"], name, limit_mib))
        if "measured" in stage:
            seen = stage["measured"]
            console.print(
                f"measured on {seen['device']}: {seen['peak_mib']:.1f} MiB, "
                f"forecast {stage['peak_mib']:.1f} MiB, error {seen['error_percent']:+.2f} %"
            )
