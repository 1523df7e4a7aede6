"""The whole verification of a run: parity, fidelity and budgets on the exported files, written as report.json."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ganlet.artifact import STAGE_OF_STEP, Stage, find_stage, stages_of, versions
from ganlet.data import PictureSet
from ganlet.device.expected import EXPECTED
from ganlet.device.feed import find_port
from ganlet.device.runner import Runner
from ganlet.device.runtimes import installed_onnxruntimes
from ganlet.files import MB, sha256_file, write_json
from ganlet.recipe import Recipe
from ganlet.verify.absolute import absolute_checks, doubts, finding
from ganlet.verify.artifacts import (
    ONNX,
    Measured,
    artifact_checks,
    artifact_names,
    measure_artifact,
    open_artifacts,
    refused_on_device,
)
from ganlet.verify.budget import check_budget
from ganlet.verify.checks import Check
from ganlet.verify.classes import Classes, learn, measure_classes
from ganlet.verify.document import Checks, artifact_row, document, machine, stage_row, trust
from ganlet.verify.engine import check_engines, engine_hashes
from ganlet.verify.enough import PICTURES_TO_JUDGE_BY, enough_checks, enough_warnings, few_to_compare
from ganlet.verify.fidelity import (
    FidelityResult,
    Progress,
    Reference,
    choose_reference,
    fidelity_checks,
    first_judged,
    judged,
    measure_fidelity,
    picture_identity,
)
from ganlet.verify.memorised import SAMPLES, Memorised, measure_memorised, searched_in_features
from ganlet.verify.sheets import write_maps, write_samples
from ganlet.verify.standing import Standings, measure_standings
from ganlet.verify.store import Forecast, MeasurementStore
from ganlet.verify.torch_runner import TorchRunner
from ganlet.verify.variety import COMPRESSED, measure_variety

REVISION = "8"  # of what a report holds and how it judges: reports of another one are made again


def verify_run(
    run: Path,
    recipe: Recipe,
    pictures: PictureSet,
    progress: Progress,
    command: str = "",
    say: Callable[[str], None] = lambda text: None,
    store: MeasurementStore | None = None,
) -> dict[str, Any]:
    """Measure everything the recipe asks of RUN, write RUN/report.json and RUN/samples/*.png, return the report.

    Raises GanletError when it cannot be measured (a stage or an exported file is missing or damaged).
    """
    started = time.monotonic()
    store = store or MeasurementStore.here(_measured_with())
    times = store if (run / "report.json").is_file() else MeasurementStore()  # without a report they are wanted anew
    stages = stages_with_teacher(run, recipe)
    artifacts = open_artifacts(run, recipe, stages)
    refused = refused_on_device(run, artifacts)  # first, as it stops at a damaged file, and takes no time
    runners: dict[str, Runner] = {name: TorchRunner.of_stage(stage) for name, stage in stages.items()}
    runners |= {artifact.name: artifact.runner for artifact in artifacts}
    reference = choose_reference(pictures, recipe.data.holdout, recipe.data.seed, recipe.verify.samples)
    files = {name: f"{stage.weights_sha256} {stage.config['generator']}" for name, stage in stages.items()}
    files |= {artifact.name: f"{sha256_file(artifact.path)} {artifact.runner.provider}" for artifact in artifacts}
    fidelity, memorised = _looked_at(runners, reference, recipe, progress, store, files, say)
    stepped = [artifact.name for artifact in artifacts if artifact.precision == "int8"]
    variety = measure_variety(fidelity, runners, reference, recipe.run.seed, stepped)
    strangers = ["teacher"] if _of_other_pictures(stages, pictures) else []
    training = None if memorised is None else memorised.training
    classes = _classes(runners, fidelity, reference, recipe, store, files)
    standings = measure_standings(fidelity, variety, reference.kind, training, recipe.run.seed, strangers)
    write_samples(run / "samples", runners, reference, recipe.run.seed)
    write_maps(run / "samples", fidelity, memorised, recipe.run.seed)
    measured = [measure_artifact(artifact, fidelity, recipe, times) for artifact in artifacts]
    engines = check_engines(run)
    checks = enough_checks(reference, recipe.data.holdout) + absolute_checks(standings)
    checks += [check for found in measured for check in artifact_checks(found, recipe)]
    checks += [] if classes is None else classes.checks()
    checks += _fidelity_checks(fidelity, recipe, reference) + [engine.check for engine in engines]
    report = document(
        recipe,
        reference,
        {name: stage_row(name, stage, fidelity, run) | _of_classes(classes, name) for name, stage in stages.items()},
        [artifact_row(found, fidelity) | _of_classes(classes, found.artifact.name) for found in measured]
        + [engine.row for engine in engines],
        Checks(checks, _budget(run, recipe, stages, measured[0])),
    )
    report |= {"finding": _finding(checks, standings), "against_data": standings.as_json()}
    report |= trust(variety, memorised, ONNX, few_to_compare(len(pictures), recipe.data.holdout))
    first = doubts(standings) + enough_warnings(recipe.data.holdout)
    report["warnings"] = first + report["warnings"] + _of_other_pictures(stages, pictures) + refused
    report["warnings"] += [f"Data: {note}." for note in pictures.notes]
    if classes is not None:
        report["warnings"] += classes.warnings()
        report["classifier"] = classes.classifier.as_json()
    report["provenance"] |= {
        "versions": list(stages.values())[-1].config["provenance"]["versions"],
        "command": command or f"ganlet verify {run.name}",
    }
    report["verification"] = {
        "seconds": round(time.monotonic() - started, 1),
        "pictures_measured": store.measured,
        "pictures_reused": store.reused,
    }
    store.trim()
    report["key"] = verification_key(run, recipe, stages, pictures)
    write_json(run / "report.json", report)
    return report


def _classes(
    runners: Mapping[str, Runner],
    fidelity: FidelityResult,
    reference: Reference,
    recipe: Recipe,
    store: MeasurementStore,
    files: Mapping[str, str],
) -> Classes | None:
    """The figures by class of the runners that take a label; None where none does."""
    samples, seed = recipe.verify.samples, recipe.run.seed
    asked = reference.labels(samples)
    conditional = {name: r for name, r in runners.items() if find_port(r.ports, "label") is not None}
    if asked is None or not conditional:
        return None
    training, _ = reference.pictures.split(recipe.data.holdout, recipe.data.seed)
    judge = learn(reference.pictures, training, reference)
    drawn = {n: judge.predict(judged(r, reference, seed, samples, store, files[n])) for n, r in conditional.items()}
    net_name = recipe.verify.features
    return measure_classes(
        drawn, asked, fidelity.features, reference, judge, net_name=net_name, seed=seed, data=fidelity.data
    )


def _of_classes(classes: Classes | None, name: str) -> dict[str, Any]:
    return {} if classes is None else classes.row(name)


def _measured_with() -> dict[str, Any]:
    """What pictures, features and times depend on beside the files: the machine, its threads and the libraries."""
    import torch

    return {"machine": machine(), "threads": torch.get_num_threads(), "versions": versions()}


def _looked_at(
    runners: Mapping[str, Runner],
    reference: Reference,
    recipe: Recipe,
    progress: Progress,
    store: MeasurementStore,
    files: Mapping[str, str],
    say: Callable[[str], None],
) -> tuple[FidelityResult, Memorised | None]:
    """What takes the time: every picture through the feature net, and the training pictures that are searched."""
    samples = recipe.verify.samples
    training, held = reference.pictures.split(recipe.data.holdout, recipe.data.seed)
    first = len(reference.indices) + samples * len(runners)
    in_all = first + (searched_in_features(len(training), samples) if len(held) >= 2 else 0)
    labels, seed = reference.labels(samples), recipe.run.seed
    asked = {n: labels if find_port(r.ports, "label") is not None else None for n, r in runners.items()}
    known = [n for n in runners if store.has(samples=samples, **picture_identity(files[n], seed, asked[n]))]
    told = Forecast(in_all, samples * len(known) + (in_all - samples * len(runners) if known else 0), store, say)

    def tell(done: int) -> None:
        told.update()
        progress(done, in_all)

    fidelity = measure_fidelity(
        runners,
        reference,
        net_name=recipe.verify.features,
        samples=samples,
        seed=recipe.run.seed,
        progress=lambda done, _: tell(done),
        store=store,
        drawn_by=files,
    )
    memorised = _memorised(runners[ONNX], fidelity, reference, recipe, lambda done: tell(first + done), store)
    return fidelity, memorised


def _finding(checks: list[Check], standings: Standings) -> str:
    """What the reader has to know first, in one clause: what failed altogether, else what is too little to judge by."""
    few = [check.reason.rstrip(".") for check in checks if check.name == PICTURES_TO_JUDGE_BY]
    return finding(standings) or "; ".join(few)


def _fidelity_checks(fidelity: FidelityResult, recipe: Recipe, reference: Reference) -> list[Check]:
    """One for each that is to keep up with a teacher; another domain's teacher says nothing of a transfer's quality."""
    names = [name for name in fidelity.to_teacher if name != "transfer"]
    verify = recipe.verify
    return fidelity_checks(fidelity, names, verify.max_drop_percent, verify.samples, reference.kind)


def _of_other_pictures(stages: Mapping[str, Stage], pictures: PictureSet) -> list[str]:
    """A warning where the teacher's quality is none to be held against."""
    teacher = stages.get("teacher")
    if teacher is None or len(stages) < 2:
        return []
    learnt = teacher.config.get("provenance", {}).get("data_sha256", pictures.sha256)  # an imported one does not say
    if learnt == pictures.sha256:
        return []
    told = "The teacher learnt other pictures than these: that a student is not further from the data than its teacher"
    return [f"{told} shows nothing then; look at its own distance."]


def _budget(run: Path, recipe: Recipe, stages: Mapping[str, Stage], exported: Measured) -> list[Check]:
    """The recipe's limits against what this run's stages took and what generator.onnx takes."""
    own = [stage for stage in stages.values() if stage.folder.parent == run]
    return check_budget(
        recipe.budget,
        training_peaks_mib=[s.training["peak_memory_mib"] for s in own if s.training],
        model_mb=exported.artifact.path.stat().st_size / MB,
        footprint=exported.footprint,
    )


def stages_with_teacher(run: Path, recipe: Recipe) -> dict[str, Stage]:
    """The run's stages; a teacher from another run (`distill.from`, `compress.0.from`) takes the name "teacher".

    Raises GanletError when there is none.
    """
    wanted: dict[str, object] = {"teacher": recipe.teacher, "transfer": recipe.transfer, "student": recipe.distill}
    wanted |= {stage: recipe.step(method) is not None for method, stage in STAGE_OF_STEP.items()}
    stages = {name: stage for name, stage in stages_of(run).items() if wanted[name]}
    if not stages:
        find_stage(run)  # raises the sentence that says so
    elsewhere = recipe.distill.teacher_run if recipe.distill is not None else None
    elsewhere = elsewhere or next((step.source_run for step in recipe.compress if step.source_run), None)
    if elsewhere and set(COMPRESSED) & stages.keys():
        stages = {"teacher": find_stage(Path(elsewhere)), **stages}
    return stages


def verification_key(run: Path, recipe: Recipe, stages: Mapping[str, Stage], pictures: PictureSet) -> str:
    """What a report depends on: equal keys mean that it need not be made again.

    The machine and its runtime are of it: another one draws at another speed, and may round otherwise.
    """
    measured_on = json.dumps([machine(), installed_onnxruntimes()], sort_keys=True)
    weights = {name: stage.weights_sha256 for name, stage in stages.items()}
    return recipe.key(
        "data",
        "verify",
        "budget",
        report=REVISION,
        machine=measured_on,
        data=pictures.sha256,
        **{
            name: sha256_file(run / name) if (run / name).is_file() else ""
            for name in (*artifact_names(recipe), EXPECTED)
        },
        **engine_hashes(run),
        **weights,
    )


def _memorised(
    runner: Runner,
    fidelity: FidelityResult,
    reference: Reference,
    recipe: Recipe,
    progress: Callable[[int], None],
    store: MeasurementStore,
) -> Memorised | None:
    """Nothing where no pictures are held out: what is near to a training picture is then unknown."""
    training, held = reference.pictures.split(recipe.data.holdout, recipe.data.seed)
    if len(held) < 2:
        return None
    samples = recipe.verify.samples
    return measure_memorised(
        first_judged(runner, reference, recipe.run.seed, samples, min(SAMPLES, samples)),
        ONNX,
        fidelity,
        reference,
        training,
        net_name=recipe.verify.features,
        samples=samples,
        progress=progress,
        store=store,
    )
