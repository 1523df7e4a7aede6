"""`ganlet budget`: forecasts of a recipe's stages, against a card, what would fit it, and what sampling takes."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganlet.commands.preflight import plans_of, require_training_packages
from ganlet.errors import GanletError
from ganlet.files import write_bytes, write_text
from ganlet.recipe import Recipe

if TYPE_CHECKING:
    from rich.console import RenderableType

    from ganlet.memory.devices import Device
    from ganlet.memory.forecast import Forecast, Place
    from ganlet.memory.planner import Option
    from ganlet.training.plan import Plan


def budget_recipe(
    recipe: Recipe, gpu: str | None = None, vram_gb: float | None = None, fit: bool = False, measured: bool = False
) -> dict[str, Any]:
    """Forecast every training stage and sampling; with a card, judge them and (`fit`) look for the largest batches.

    `measured` runs two real steps of each stage, and draws pictures in fresh processes, beside the forecasts. Raises
    GanletError for an unknown card, both ways of naming one, or `fit` without one.
    """
    require_training_packages()
    from ganlet.memory.forecast import forecast
    from ganlet.memory.planner import needed_mib, require_weights_fit

    card = _card(gpu, vram_gb)
    if fit and card is None:
        raise GanletError("--fit needs a card; add --gpu NAME, such as gtx-1660-ti, or --vram-gb 6.")
    place: Place = "cpu" if card is None and recipe.run.device == "cpu" else "cuda"
    plans = plans_of(recipe)
    if not plans:
        raise GanletError(f"Recipe {recipe.run.name} trains nothing, expected a stage that does; add one.")
    forecasts = [forecast(plan, place) for plan in plans]
    result: dict[str, Any] = {
        "run": recipe.run.name,
        "stages": [found.as_json() for found in forecasts],
        "comparison": _comparison(recipe, plans, forecasts, place),
        "sampling": _sampling(recipe, plans[-1], place, measured),
        "fits": None,
    }
    if card is not None:
        result["device"] = asdict(card) | {
            "usable_mib": card.usable_mib,
            "tensorrt_targets": card.tensorrt_targets,
        }
        result["fits"] = all(needed_mib(found) <= card.usable_mib for found in forecasts)
    for plan, found, stage in zip(plans, forecasts, result["stages"], strict=True):
        if card is not None and fit:
            require_weights_fit(found, card.usable_mib, card.name)
            stage["options"] = _options(recipe, plan, card.usable_mib)
        if measured:
            stage["measured"] = _measured(recipe, plan, found)
    return result


def _card(gpu: str | None, vram_gb: float | None) -> "Device | None":
    from ganlet.memory.devices import device_of_memory, find_device

    if gpu is not None and vram_gb is not None:
        raise GanletError("Got both --gpu and --vram-gb; give one of them.")
    if gpu is not None:
        return find_device(gpu)
    return None if vram_gb is None else device_of_memory(vram_gb)


def _comparison(
    recipe: Recipe, plans: "list[Plan]", forecasts: "list[Forecast]", place: "Place"
) -> list[dict[str, Any]]:
    """Plain, frozen and distilled side by side, as the base work compares them; what the recipe lacks is added."""
    from ganlet.memory.forecast import forecast
    from ganlet.memory.ways import ways_of

    shown: list[dict[str, Any]] = []
    for plan, found in zip(plans, forecasts, strict=True):
        ways = list(ways_of(recipe, plan))
        shown.append(found.as_json() | {"stage": ways[0].name})
        shown += [forecast(way.plan, place).as_json() | {"stage": way.name} for way in ways if way.needs_a_run]
    return shown


def _options(recipe: Recipe, plan: "Plan", limit_mib: float) -> list[dict[str, Any]]:
    from ganlet.memory.planner import options, recommended

    found = options(recipe, plan, limit_mib)
    best = recommended(found, plan.train.batch)
    return [_option(option, plan.train.batch, option is best) for option in found]


def _option(option: "Option", wanted_batch: int, is_recommended: bool) -> dict[str, Any]:
    return {
        "way": option.way.name,
        "batch": option.batch,
        "wanted_batch": wanted_batch,
        "card_mib": option.forecast.card_mib if option.forecast else None,
        "words": list(option.words),
        "recommended": is_recommended,
    }


def _measured(recipe: Recipe, plan: "Plan", found: "Forecast") -> dict[str, Any]:
    """Two real steps on the recipe's device, held against the forecast for where that device keeps its tensors."""
    from ganlet.memory.forecast import forecast, place_of
    from ganlet.memory.measure import measure
    from ganlet.training.loop import pick_device

    device = pick_device(recipe.run.device)
    expected = found if found.place == place_of(device) else forecast(plan, place_of(device))
    seen = measure(plan, device)
    return seen.as_json() | {
        "forecast_mib": expected.peak_mib,
        "error_percent": seen.error_percent(expected.peak_mib),
    }


def _sampling(recipe: Recipe, plan: "Plan", place: "Place", measured: bool) -> list[dict[str, Any]]:
    from ganlet.memory.sampling import forecast_sampling, measure_sampling
    from ganlet.memory.ways import RUNS
    from ganlet.models.families import build_generator

    engines = tuple(sorted((RUNS / recipe.run.name / "engines").glob("*.engine")))
    rows = forecast_sampling(plan.generator, "cpu" if measured else place, engines)
    if measured:
        from ganlet.export.onnx_export import onnx_bytes

        rows = measure_sampling(plan.generator, rows, onnx_bytes(build_generator(plan.generator), ""))
    return [row.as_json() for row in rows]


def tables(result: dict[str, Any]) -> "list[RenderableType]":
    """The tables of a budget, in the order in which they are printed."""
    from rich.text import Text

    from ganlet.report import forecast_bars, forecast_table, options_table, phases_table, sampling_table

    device = result.get("device") or {}
    name, limit_mib = str(device.get("name", "")), float(device.get("usable_mib", 0))
    made: list[RenderableType] = [
        forecast_table(result["stages"], limit_mib or None, name),
        forecast_bars(result["comparison"]),
    ]
    for stage in result["stages"]:
        made.append(phases_table(stage))
        if "options" in stage:
            made.append(options_table(stage["options"], name, limit_mib))
        if "measured" in stage:
            measured = stage["measured"]
            line = (
                f"measured on {measured['device']}: {measured['peak_memory_mib']:.1f} MiB, "
                f"forecast {measured['forecast_mib']:.1f} MiB, error {measured['error_percent']:+.2f} %"
            )
            made.append(Text(line))
    return [*made, sampling_table(result["sampling"])]


def draw(result: dict[str, Any], folder: Path) -> list[Path]:
    """Write the pictures of a budget into `folder`, each as SVG and PNG: the comparison, and a timeline per stage."""
    from ganlet.report import forecast_png, forecast_svg, timeline_png, timeline_svg

    drawn: dict[str, str | bytes] = {
        "memory.svg": forecast_svg(result["comparison"]),
        "memory.png": forecast_png(result["comparison"]),
    }
    for stage in result["stages"]:
        name = f"timeline-{stage['stage']}"
        drawn |= {f"{name}.svg": timeline_svg(stage), f"{name}.png": timeline_png(stage)}
    for name, content in drawn.items():
        path = folder / name
        write_bytes(path, content) if isinstance(content, bytes) else write_text(path, content)
    return [folder / name for name in drawn]
