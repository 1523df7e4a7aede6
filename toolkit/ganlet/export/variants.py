"""generator.fp16.onnx, generator.int8.onnx and the like: made of RUN/generator.onnx, listed in the manifest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import onnx
from onnx import ModelProto

from ganlet.artifact import Stage, add_to_manifest, is_listed_as, versions
from ganlet.errors import GanletError
from ganlet.export.calibrate import COUNT, METHOD, SEED
from ganlet.export.fold import fold_batch_norm
from ganlet.export.fp16 import to_fp16
from ganlet.export.int8 import to_int8
from ganlet.export.lower import Form, layers_of, rewritten
from ganlet.export.onnx_export import finished, onnx_facts
from ganlet.export.profiles import USUAL, Precision, forms_by, profile_named
from ganlet.export.sensitivity import nearest_int8
from ganlet.export.tune import tuned_forms
from ganlet.files import write_bytes

REVISION = "6"  # of how a variant is made: files of another one are made again
TUNING_COUNT = 16  # latents that a model is calibrated on which is only timed


def variant_name(precision: str, profile: str | None = None, tune: bool = False) -> str:
    """generator.onnx, generator.int8.onnx, generator.sm75.onnx, generator.trt-int8.onnx, generator.int8.tuned.onnx, ...

    Raises GanletError for an unknown precision or profile.
    """
    usual = usual_profile(precision)
    if profile is None or profile == usual:
        parts = [] if precision == "fp32" else [precision]
    else:
        profile_named(profile)
        own = profile.endswith(f"-{precision}")
        of_any = not profile.endswith(tuple(f"-{other}" for other in get_args(Precision)))
        parts = [profile] if own or (of_any and precision == "fp32") else [precision, profile]
    return ".".join(["generator", *parts, *(["tuned"] if tune else []), "onnx"])


def usual_profile(precision: str) -> str:
    """The profile of a precision unless another is asked for. Raises GanletError for an unknown precision."""
    for known in get_args(Precision):
        if precision == known:
            return USUAL[known]
    raise GanletError(f"There is no precision {precision!r}; expected one of {', '.join(get_args(Precision))}.")


def is_made(
    run: Path,
    stage: Stage,
    precision: str,
    profile: str | None = None,
    tune: bool = False,
    least_psnr_db: float = 0.0,
) -> bool:
    """Whether the file is there, unchanged, and made of these weights in this way."""
    path = run / variant_name(precision, profile, tune)
    return is_listed_as(path, _made_from(stage, precision, profile, tune, least_psnr_db))


def _made_from(stage: Stage, precision: str, profile: str | None, tune: bool, least_psnr_db: float) -> dict[str, Any]:
    asked = {"least_psnr_db": least_psnr_db} if precision == "int8" else {}
    return (
        asked
        | stage.as_source()
        | {
            "precision": precision,
            "profile": profile or usual_profile(precision),
            "tuned": tune,
            "revision": REVISION,
            "recipe_sha256": stage.config["provenance"].get("recipe_sha256", ""),
        }
    )


def export_variant(
    run: Path,
    stage: Stage,
    precision: str,
    profile: str | None = None,
    tune: bool = False,
    least_psnr_db: float = 0.0,
) -> Path:
    """Write a variant of RUN/generator.onnx, which has to be made of `stage`; the same weights give the same bytes.

    Layers stay out of int8 where `least_psnr_db` asks for it (`sensitivity`). With `tune` the forms are what was the
    fastest on this machine, so that the bytes may differ from time to time.
    Raises GanletError for an unknown precision or profile, and for weights that the precision cannot hold.
    """
    path = run / variant_name(precision, profile, tune)
    model = fold_batch_norm(onnx.load(run / "generator.onnx"))
    name = profile or usual_profile(precision)
    forms = forms_by(profile_named(name), model)
    about: dict[str, Any] = {}
    if tune:
        forms, trials = tuned_forms(
            model, forms, lambda chosen: made_in(model, precision, name, chosen, "minmax", TUNING_COUNT)
        )
        about["tuning"] = [
            {"layer": t.layer, "form": t.form, "time_ratio": round(t.ratio, 3), "chosen": t.chosen} for t in trials
        ]
    if precision == "int8":
        near = nearest_int8(model, name, forms=forms, least_psnr_db=least_psnr_db)
        about["calibration"] = {"latents": COUNT, "seed": SEED} | near.as_json()
    left = {layer.name: layer.reason for layer in layers_of(model) if layer.reason}
    about |= {"layers": forms} | ({"left_alone": left} if left else {})
    built = near.model if precision == "int8" else made_in(model, precision, name, forms)
    made = finished(built, {"precision": precision})
    write_bytes(path, made.SerializeToString(deterministic=True))
    facts = _made_from(stage, precision, profile, tune, least_psnr_db) | onnx_facts(made) | about
    add_to_manifest(run, path.name, **facts, versions=versions())
    return path


def made_in(
    model: ModelProto,
    precision: str,
    profile: str,
    forms: Mapping[str, Form],
    method: str = METHOD,
    count: int = COUNT,
) -> ModelProto:
    """A fp32 generator in a precision, its layers in the forms told."""
    if precision == "int8":
        return to_int8(model, profile, forms=forms, method=method, count=count)
    made = rewritten(model, forms)
    return to_fp16(made) if precision == "fp16" else made
