"""The page's section on memory: forecast and measurement of every stage that this run trained."""

from ganlet.report.document import Json, number, stages, table, words
from ganlet.report.forecasts import spread
from ganlet.report.memory_pictures import forecast_svg, timeline_svg

FORECAST = "memory_forecast"  # of a stage in report.json: the dict of Forecast.as_json()
PLACES = {"cpu": "processor", "cuda": "graphics card"}


def memory_section(report: Json) -> Json | None:
    """What memory.html shows; None where no stage has a forecast."""
    forecasts = {name: table(stage, FORECAST) for name, stage in stages(report).items() if table(stage, FORECAST)}
    if not forecasts:
        return None
    on_a_card = [forecast for forecast in forecasts.values() if words(forecast, "place") == "cuda"]
    return {
        "bars": _inline(forecast_svg(list(forecasts.values()))),
        "stages": [_row(name, forecasts[name], table(stages(report)[name], "training")) for name in forecasts],
        "on_a_card": bool(on_a_card),
        "context": spread(on_a_card[0].get("context_mib")) if on_a_card else "",
        "workspace": spread(on_a_card[0].get("workspace_mib")) if on_a_card else "",
    }


def _row(name: str, forecast: Json, training: Json) -> Json:
    predicted, measured = number(forecast, "peak_mib"), number(training, "peak_memory_mib")
    known = predicted is not None and measured is not None and measured > 0
    is_card = words(forecast, "place") == "cuda"
    return {
        "name": name,
        "batch": number(forecast, "batch"),
        "place": PLACES.get(words(forecast, "place"), words(forecast, "place")),
        "peak_mib": predicted,
        "peak_phase": words(forecast, "peak_phase"),
        "reserved_mib": number(forecast, "reserved_mib") if is_card else None,
        "measured_reserved_mib": number(training, "reserved_memory_mib"),
        "measured_mib": measured,
        "error_percent": 100 * (predicted / measured - 1) if known and predicted and measured else None,
        "process_mib": number(training, "process_memory_mib"),
        "timeline": _inline(timeline_svg(forecast)) if forecast.get("timeline") else "",
    }


def _inline(svg: str) -> str:
    """Within a page an SVG needs no name space, and the page then holds no address at all."""
    return svg.replace(' xmlns="http://www.w3.org/2000/svg"', "")
