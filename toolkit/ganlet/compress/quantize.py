"""The stage quantized/: the weights of the last generator whose int8 file is the nearest to its fp32 pictures."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto

from ganlet.artifact import CRITIC, FORECAST, GENERATOR, STAGE_OF_STEP, Stage, save_stage
from ganlet.compress.fake_quant import FakeQuantised, planned_scales, require_can_be_tuned
from ganlet.compress.importance import plain_copy
from ganlet.compress.tuning import no_step, tune_weights, tuning_plan
from ganlet.export import variants
from ganlet.export.int8 import LayerScales
from ganlet.export.onnx_export import onnx_bytes
from ganlet.export.sensitivity import Nearest, nearest_int8, nearness, told_db
from ganlet.files import copy_onto
from ganlet.recipe import Quantize, Recipe
from ganlet.training.load import generator_config_of, load_generator
from ganlet.training.plan import Fill, Plan

STAGE = STAGE_OF_STEP["quantize"]
TUNED = f"{STAGE}-tuned"
LOGS = (FORECAST, "metrics.jsonl", "progress", "tensorboard")  # what fine-tuning tells of itself, beside its weights


@dataclass(frozen=True)
class InInt8:
    """A stage's generator in int8, every layer of it, as `ganlet export` makes it."""

    near: Nearest
    psnr_db: float
    """Of its pictures to those that the generator before this step draws in fp32."""

    def as_json(self) -> dict[str, Any]:
        """What config.json keeps of it."""
        found = self.near.as_json()
        return found | {"psnr_db": told_db(self.psnr_db), "psnr_to_own_fp32_db": found["psnr_db"]}


def section_of(recipe: Recipe) -> tuple[int, Quantize]:
    """The recipe's quantisation, and its number among the steps. Raises GanletError where it has none."""
    for number, step in enumerate(recipe.compress):
        if isinstance(step, Quantize):
            return number, step
    raise no_step(recipe, "quantize")


def rests_on(source: Stage) -> dict[str, str]:
    """What the stage depends on beside its section: what it is made of, and how int8 files are made."""
    return source.as_input | {"int8": variants.REVISION}


def measure(stage: Stage, section: Quantize, source: Stage | None = None) -> InInt8:
    """The stage's generator in int8 by the nearest calibration, against the fp32 pictures of `source` (its own)."""
    model = _exported(stage)
    near = nearest_int8(model, section.profile)
    return InInt8(near, near.psnr_db if source is None else nearness(_exported(source))(near.model))


def _exported(stage: Stage) -> ModelProto:
    return onnx.load_from_string(onnx_bytes(load_generator(stage), ""))


def quantize_plan(recipe: Recipe, source: Stage, scales: Mapping[str, LayerScales] | None = None) -> Plan:
    """Training `source` on as its int8 file draws; without `scales` a plan for a forecast of its memory."""
    student = generator_config_of(source).without_spectral()
    require_can_be_tuned(student)
    build = partial(FakeQuantised, scales=planned_scales(student) if scales is None else scales)
    return tuning_plan(recipe, section_of(recipe)[0], source, TUNED, student, build)


def quantize_weights(source: Stage) -> Fill:
    """Student and teacher are the source's generator, the critic is its own."""
    return tune_weights(plain_copy(load_generator(source)), source, source)


def save_quantized(
    folder: Path, source: Stage, before: InInt8, tuned: Stage | None, after: InInt8 | None, provenance: dict[str, Any]
) -> Stage:
    """Write the better of both as a stage, with all that was measured in its provenance.

    What was trained keeps its logs, and what it cost is told even where the source's weights were the better ones.
    """
    better = tuned is not None and after is not None and after.psnr_db > before.psnr_db
    kept = tuned if better and tuned is not None else source
    networks: dict[str, Any] = {"generator": (GENERATOR, kept.config["generator"], kept.tensors())}
    if "critic" in source.config:
        networks["critic"] = (CRITIC, kept.config["critic"], kept.tensors(CRITIC))
    if tuned is not None:
        for name in LOGS:
            copy_onto(tuned.folder / name, folder / name)
    figures: dict[str, Any] = {"before": before.as_json(), "kept": "after" if better else "before"}
    figures |= {} if after is None else {"after": after.as_json()}
    training = {} if tuned is None else tuned.training
    provenance = provenance | {"int8": figures}
    return save_stage(folder, stage=STAGE, networks=networks, provenance=provenance, training=training)
