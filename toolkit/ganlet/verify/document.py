"""report.json, as the design lays it down, and what a reader needs to judge it."""

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganlet.artifact import FORECAST, GENERATOR, Stage
from ganlet.files import MB, read_json
from ganlet.recipe import Recipe
from ganlet.training.load import generator_config_of, load_generator
from ganlet.verify.artifacts import Measured
from ganlet.verify.checks import Check, verdict_of
from ganlet.verify.fidelity import FidelityResult, Reference
from ganlet.verify.memorised import Memorised
from ganlet.verify.variety import VarietyResult

SCHEMA = 1


@dataclass(frozen=True)
class Checks:
    """The statements of a report, and the recipe's budgets."""

    made: list[Check]
    budget: list[Check]


def document(
    recipe: Recipe, reference: Reference, stages: Mapping[str, Any], artifacts: list[Any], checks: Checks
) -> dict[str, Any]:
    """The report without what `trust` adds: the rows of stages and artifacts, the checks, where it all comes from."""
    pictures = reference.pictures
    return {
        "schema": SCHEMA,
        "run": recipe.run.name,
        "verdict": verdict_of([*checks.made, *checks.budget]),
        "stages": dict(stages),
        "artifacts": artifacts,
        "budget": [check.as_json() for check in checks.budget],
        "checks": [check.as_json() for check in checks.made],
        "reference": {"kind": reference.kind, "count": len(reference.indices), "sha256": pictures.sha256},
        "data": pictures.as_json(),
        "provenance": {
            "recipe_sha256": recipe.sha256,
            "data_sha256": pictures.sha256,
            "pictures": len(pictures),
            "skipped": len(pictures.skipped),
            "seed": recipe.run.seed,
            "machine": machine(),
            "credits": [pictures.credit] if pictures.credit else [],
        },
    }


def machine() -> dict[str, Any]:
    """What a report's times and memory are of."""
    return {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "device": "cpu"}


def artifact_row(found: Measured, fidelity: FidelityResult) -> dict[str, Any]:
    """The row of one exported file; "change_percent" of its distance to the data is against generator.onnx."""
    artifact, footprint = found.artifact, found.footprint
    row = {
        "path": artifact.name,
        "precision": artifact.precision,
        "model_mb": artifact.path.stat().st_size / MB,
        "parity": found.parity.as_json(),
        "quality": fidelity.to_data[artifact.name].as_json(),
        "latency_ms": {"p50": footprint.latency_p50_ms, "p95": footprint.latency_p95_ms},
        "peak_memory_mib": footprint.peak_memory_mib,
        "provider": footprint.provider,
    }
    return row | ({} if found.change_percent is None else {"change_percent": found.change_percent.as_json()})


def trust(variety: VarietyResult, memorised: Memorised | None, name: str, why_unknown: str = "") -> dict[str, Any]:
    """Variety, memorisation of artifact `name`, and the warnings that follow from them and from the teacher.

    `why_unknown`: why nothing is known of memorisation, where that is so.
    """
    unknown = {"status": "not_verified", "reason": why_unknown}
    return {
        "variety": variety.as_json(),
        "memorisation": unknown if memorised is None else memorised.as_json(),
        "warnings": variety.warnings() + ([] if memorised is None else memorised.warnings(name)),
    }


def stage_row(name: str, stage: Stage, fidelity: FidelityResult, run: Path) -> dict[str, Any]:
    """The row of one stage: what it is, what training took, how good its pictures are."""
    parameters = sum(p.numel() for p in load_generator(stage).parameters())
    row: dict[str, Any] = {
        "family": generator_config_of(stage).family,
        "parameters": parameters,
        "model_mb": stage.config["files"][GENERATOR]["bytes"] / MB,
        "training": stage.training,
        "quality": fidelity.to_data[name].as_json(),
    }
    forecast = stage.folder / FORECAST
    if stage.folder.parent == run and forecast.is_file():
        row["memory_forecast"] = read_json(forecast)
    if stage.folder.parent != run:
        row["run"] = str(stage.folder)
    if name in fidelity.to_teacher:
        row["to_teacher"] = fidelity.to_teacher[name].as_json()
    if name in fidelity.change_percent:
        row["change_percent"] = fidelity.change_percent[name].as_json()
    return row
