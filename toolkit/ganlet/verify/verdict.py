"""The whole verification of a run: parity, fidelity and budgets on the exported file, written as report.json."""

import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ganlet.artifact import FORECAST, GENERATOR, Stage, describe_file, find_stage, manifest_entry, stages_of
from ganlet.data import PictureSet
from ganlet.device import OnnxRunner, Sampler
from ganlet.device.footprint import Footprint, measure
from ganlet.device.runner import Runner
from ganlet.errors import GanletError
from ganlet.files import MB, read_json, write_json
from ganlet.recipe import Recipe
from ganlet.training.load import generator_config_of, load_generator
from ganlet.verify.budget import check_budget
from ganlet.verify.checks import Check, verdict_of
from ganlet.verify.engine import check_engines, engine_hashes
from ganlet.verify.fidelity import (
    FidelityResult,
    Progress,
    Reference,
    choose_reference,
    fidelity_check,
    measure_fidelity,
)
from ganlet.verify.memorised import SAMPLES, Memorised, measure_memorised, searched_in_features
from ganlet.verify.parity import Parity, check_parity
from ganlet.verify.sheets import write_maps, write_samples
from ganlet.verify.torch_runner import TorchRunner
from ganlet.verify.variety import VarietyResult, measure_variety

SCHEMA = 1
REVISION = "2"  # of what a report holds and how it judges: reports of another one are made again
ONNX = "generator.onnx"


def verify_run(
    run: Path, recipe: Recipe, pictures: PictureSet, progress: Progress, command: str = ""
) -> dict[str, Any]:
    """Measure everything the recipe asks of RUN, write RUN/report.json and RUN/samples/*.png, return the report.

    Raises GanletError when it cannot be measured (a stage or generator.onnx is missing or damaged).
    """
    stages = stages_with_teacher(run, recipe)
    exported = run / ONNX
    if not exported.is_file():
        raise GanletError(f"{run} has no {ONNX}; make it with `ganlet export {run} --to onnx`.")
    source = exported_from(run, stages)
    runners: dict[str, Runner] = {name: TorchRunner.of_stage(stage) for name, stage in stages.items()}
    runners[ONNX] = OnnxRunner(exported)
    parity = check_parity(
        runners[ONNX], TorchRunner.of_stage(source), limit=recipe.verify.parity_max_abs, seed=recipe.run.seed
    )
    reference = choose_reference(pictures, recipe.data.holdout, recipe.data.seed, recipe.verify.samples)
    training, held = pictures.split(recipe.data.holdout, recipe.data.seed)
    first = len(reference.indices) + recipe.verify.samples * len(runners)
    in_all = first + (searched_in_features(len(training), recipe.verify.samples) if len(held) >= 2 else 0)
    fidelity = measure_fidelity(
        runners,
        reference,
        net_name=recipe.verify.features,
        samples=recipe.verify.samples,
        seed=recipe.run.seed,
        progress=lambda done, _: progress(done, in_all),
    )
    variety = measure_variety(fidelity, runners, reference, recipe.run.seed)
    memorised = _memorised(runners[ONNX], fidelity, reference, recipe, lambda done: progress(first + done, in_all))
    write_samples(run / "samples", runners, reference, recipe.run.seed)
    write_maps(run / "samples", fidelity, memorised, recipe.run.seed)
    footprint = measure(exported)
    own = [stage for stage in stages.values() if stage.folder.parent == run]
    budget = check_budget(
        recipe.budget,
        training_peaks_mib=[s.training["peak_memory_mib"] for s in own if s.training],
        model_mb=exported.stat().st_size / MB,
        footprint=footprint,
    )
    checks = [parity.check(ONNX, recipe.verify.parity_max_abs)]
    checks += [
        fidelity_check(name, change, recipe.verify.max_drop_percent, recipe.verify.samples, reference.kind)
        for name, change in fidelity.change_percent.items()
        if name != "transfer"  # another domain's teacher says nothing of its quality
    ]
    engines = check_engines(run)
    checks += [engine.check for engine in engines]
    report = _document(run, recipe, pictures, stages, fidelity, parity, footprint, checks, budget, reference)
    report["artifacts"] += [engine.row for engine in engines]
    report |= _trust(variety, memorised)
    report["provenance"]["command"] = command or f"ganlet verify {run.name}"
    report["key"] = verification_key(run, recipe, stages, pictures)
    write_json(run / "report.json", report)
    return report


def stages_with_teacher(run: Path, recipe: Recipe) -> dict[str, Stage]:
    """The run's stages; a teacher from another run (`distill.from`, `compress.0.from`) takes the name "teacher".

    Raises GanletError when there is none.
    """
    wanted: dict[str, object] = {"teacher": recipe.teacher, "transfer": recipe.transfer, "student": recipe.distill}
    wanted["pruned"] = recipe.compress
    stages = {name: stage for name, stage in stages_of(run).items() if wanted[name]}
    if not stages:
        find_stage(run)  # raises the sentence that says so
    elsewhere = recipe.distill.teacher_run if recipe.distill is not None else None
    elsewhere = elsewhere or next((step.source_run for step in recipe.compress), None)
    if elsewhere and {"student", "pruned"} & stages.keys():
        stages = {"teacher": find_stage(Path(elsewhere)), **stages}
    return stages


def exported_from(run: Path, stages: Mapping[str, Stage]) -> Stage:
    """The stage that RUN/generator.onnx was made from, by the manifest's hash of its weights."""
    made_from = manifest_entry(run, ONNX).get("made_from")
    for name, stage in stages.items():
        if made_from == {"stage": name, "weights_sha256": stage.weights_sha256}:
            return stage
    raise GanletError(
        f"{run / ONNX} was not made from any stage of {run} (the weights' SHA-256 in manifest.json is of none); "
        f"export it again with `ganlet export {run} --to onnx`."
    )


def verification_key(run: Path, recipe: Recipe, stages: Mapping[str, Stage], pictures: PictureSet) -> str:
    """What a report depends on: equal keys mean that it need not be made again."""
    weights = {name: stage.weights_sha256 for name, stage in stages.items()}
    return recipe.key(
        "data",
        "verify",
        "budget",
        report=REVISION,
        data=pictures.sha256,
        onnx=describe_file(run / ONNX)["sha256"],
        **engine_hashes(run),
        **weights,
    )


def _memorised(
    runner: Runner, fidelity: FidelityResult, reference: Reference, recipe: Recipe, progress: Callable[[int], None]
) -> Memorised | None:
    """Nothing where no pictures are held out: what is near to a training picture is then unknown."""
    training, held = reference.pictures.split(recipe.data.holdout, recipe.data.seed)
    if len(held) < 2:
        return None
    samples = recipe.verify.samples
    return measure_memorised(
        Sampler.of(runner).images(0, min(SAMPLES, samples), recipe.run.seed),
        ONNX,
        fidelity,
        reference,
        training,
        net_name=recipe.verify.features,
        samples=samples,
        progress=progress,
    )


# ---------------------------------------------------------------- the document


def _document(
    run: Path,
    recipe: Recipe,
    pictures: PictureSet,
    stages: Mapping[str, Stage],
    fidelity: FidelityResult,
    parity: Parity,
    footprint: Footprint,
    checks: list[Check],
    budget: list[Check],
    reference: Reference,
) -> dict[str, Any]:
    """report.json as the design lays it down, and what a reader needs to judge it."""
    exported = run / ONNX
    return {
        "schema": SCHEMA,
        "run": recipe.run.name,
        "verdict": verdict_of([*checks, *budget]),
        "stages": {name: _stage(name, stage, fidelity, run) for name, stage in stages.items()},
        "artifacts": [
            {
                "path": ONNX,
                "precision": "fp32",
                "model_mb": exported.stat().st_size / MB,
                "parity": parity.as_json(),
                "quality": fidelity.to_data[ONNX].as_json(),
                "latency_ms": {"p50": footprint.latency_p50_ms, "p95": footprint.latency_p95_ms},
                "peak_memory_mib": footprint.peak_memory_mib,
            }
        ],
        "budget": [check.as_json() for check in budget],
        "checks": [check.as_json() for check in checks],
        "reference": {"kind": reference.kind, "count": len(reference.indices), "sha256": pictures.sha256},
        "provenance": {
            "recipe_sha256": recipe.sha256,
            "data_sha256": pictures.sha256,
            "pictures": len(pictures),
            "skipped": len(pictures.skipped),
            "seed": recipe.run.seed,
            "versions": list(stages.values())[-1].config["provenance"]["versions"],
            "machine": {
                "processor": platform.processor() or platform.machine(),
                "cores": os.cpu_count(),
                "device": "cpu",
            },
            "credits": [pictures.credit] if pictures.credit else [],
        },
    }


def _trust(variety: VarietyResult, memorised: Memorised | None) -> dict[str, Any]:
    """Variety, memorisation, and the warnings that follow from them; none of these enters the verdict."""
    unknown = {"status": "not_verified", "reason": "No pictures are held out; set data.holdout above 0."}
    return {
        "variety": variety.as_json(),
        "memorisation": unknown if memorised is None else memorised.as_json(),
        "warnings": variety.warnings() + ([] if memorised is None else memorised.warnings(ONNX)),
    }


def _stage(name: str, stage: Stage, fidelity: FidelityResult, run: Path) -> dict[str, Any]:
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
        row["change_percent"] = fidelity.change_percent[name].as_json()
    return row
