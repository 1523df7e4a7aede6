"""The exported files of a run: which of them the recipe asks for, what each draws, and what it costs to run."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ganlet.artifact import Stage, manifest_entry
from ganlet.device.confirm import confirm
from ganlet.device.expected import EXPECTED
from ganlet.device.footprint import Footprint, measure
from ganlet.device.manifest import listed
from ganlet.device.open import open_runner
from ganlet.device.runner import Runner
from ganlet.errors import GanletError
from ganlet.files import sha256_file
from ganlet.metrics import Interval
from ganlet.recipe import Recipe, Verify
from ganlet.verify.checks import Check, spread_text, surely_at_most
from ganlet.verify.fidelity import FidelityResult, distance_change
from ganlet.verify.parity import Parity, check_parity
from ganlet.verify.store import MeasurementStore
from ganlet.verify.torch_runner import TorchRunner

ONNX = "generator.onnx"
FILES = {
    "onnx": ONNX,
    "onnx-fp16": "generator.fp16.onnx",
    "onnx-int8": "generator.int8.onnx",
    "executorch": "generator.pte",
    "executorch-int8": "generator.int8.pte",
}
"""The recipe's word for a target -> the file that is judged. Engines are looked at in `engine`: none can run here."""


@dataclass(frozen=True)
class Artifact:
    """One exported file, loaded, with the stage that its manifest says it was made from."""

    path: Path
    precision: str
    source: Stage
    runner: Runner

    @property
    def name(self) -> str:
        return self.path.name


@dataclass(frozen=True)
class Measured:
    """What was found of an artifact. `change_percent`: of its distance to the data against generator.onnx's."""

    artifact: Artifact
    parity: Parity
    footprint: Footprint
    change_percent: Interval | None


def artifact_names(recipe: Recipe) -> list[str]:
    """generator.onnx, and the other files that the recipe's targets ask for."""
    return list(_files(recipe).values())


def _files(recipe: Recipe) -> dict[str, str]:
    files: dict[str, str] = {target: FILES[target] for target in ("onnx", *recipe.export.targets) if target in FILES}
    if "onnx-int8" in files and recipe.int8_profile == "trt-int8":  # the one that [[compress]] measured
        files["onnx-int8"] = "generator.trt-int8.onnx"
    return files


def open_artifacts(run: Path, recipe: Recipe, stages: Mapping[str, Stage]) -> list[Artifact]:
    """Every file of `FILES` that the recipe asks for, generator.onnx first.

    Raises GanletError for one that is missing, damaged, or not made of a stage of this run.
    """
    made = []
    for target, name in _files(recipe).items():
        to, _, precision = target.partition("-")
        remedy = f"ganlet export {run} --to {to}" + (f" --precision {precision}" if precision else "")
        remedy += "" if name == FILES[target] else f" --profile {recipe.int8_profile}"
        made.append(_open(run / name, precision or "fp32", stages, remedy))
    return made


def _open(path: Path, precision: str, stages: Mapping[str, Stage], remedy: str) -> Artifact:
    run = path.parent
    if not path.is_file():
        raise GanletError(f"{run} has no {path.name}; make it with `{remedy}`.")
    made_from = manifest_entry(run, path.name).get("made_from")
    for stage_name, stage in stages.items():
        if made_from == {"stage": stage_name, "weights_sha256": stage.weights_sha256}:
            return Artifact(path, precision, stage, open_runner(path))
    why = "the weights' SHA-256 in manifest.json is of none" if made_from else "manifest.json does not say of which"
    raise GanletError(f"{path} was not made from any stage of {run} ({why}); export it again with `{remedy}`.")


def measure_artifact(
    artifact: Artifact, fidelity: FidelityResult, recipe: Recipe, store: MeasurementStore | None = None
) -> Measured:
    """Parity with the network it was made from, cost in a fresh process, and what its precision did to the distance."""
    name, seed = artifact.name, recipe.run.seed
    limit, least_psnr_db = parity_limits(artifact.precision, recipe.verify)
    network = TorchRunner.of_stage(artifact.source)
    parity = check_parity(artifact.runner, network, seed=seed, limit=limit, least_psnr_db=least_psnr_db)
    change = None
    if name != ONNX:
        change = distance_change(fidelity.to_data[name], fidelity.to_data[ONNX], seed)
    store, digest = store or MeasurementStore(), sha256_file(artifact.path)
    footprint = store.value(lambda: asdict(measure(artifact.path)), footprint=digest)
    return Measured(artifact, parity, Footprint(**footprint), change)


def parity_limits(precision: str, verify: Verify) -> tuple[float | None, float | None]:
    """Largest difference of a pixel, least PSNR in dB: fp32 is judged by its worst pixel, int8 as a whole."""
    return {
        "fp32": (verify.parity_max_abs, None),
        "fp16": (verify.parity_fp16_max_abs, verify.parity_fp16_psnr_db),
        "int8": (None, verify.parity_int8_psnr_db),
    }[precision]


def artifact_checks(found: Measured, recipe: Recipe) -> list[Check]:
    """The statements about one artifact: its parity, and that its precision costs no more fidelity than allowed."""
    name, verify = found.artifact.name, recipe.verify
    limit, least_psnr_db = parity_limits(found.artifact.precision, verify)
    checks = [] if limit is None else [found.parity.check(name, limit)]
    checks += [] if least_psnr_db is None else [found.parity.likeness(name, least_psnr_db)]
    if name == ONNX:
        return checks
    named, allowed = f"distance of {name} against {ONNX}", verify.quantised_max_drop_percent
    reason = f"Frechet distance to the data against {ONNX}'s on the same {verify.samples} latents"
    if found.change_percent is None:
        why = f"{reason}: that of {ONNX} cannot be told from 0, so there is no change in percent."
        return [*checks, Check(named, "undecided", None, allowed, "%", why)]
    reason = f"{reason}, 95 % interval {spread_text(found.change_percent)}"
    return [*checks, surely_at_most(named, found.change_percent, allowed, verify.samples, reason)]


def refused_on_device(run: Path, artifacts: Sequence[Artifact]) -> list[str]:
    """A warning for each file that `ganlet verify --artifact` refuses on this machine already.

    That check has few pictures and limits of its own, so that a file within the recipe's may fail it. Raises
    GanletError where expected.npz is of another generator, or damaged.
    """
    if not (run / EXPECTED).is_file() or listed(run / EXPECTED) is None:
        return []
    told = []
    for artifact in artifacts:
        for check in confirm(artifact.path).checks:
            if check.status != "passed":
                found = f"{check.name} {check.measured:.3g} of {check.limit:g} {check.unit}"
                told.append(f"{artifact.name}: `ganlet verify --artifact` refuses it on this machine: {found}.")
    return told
