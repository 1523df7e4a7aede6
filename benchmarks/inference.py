"""What the exported forms of a generator gain over torch and over each other, and what int8 costs in quality.

    python benchmarks/inference.py                            # base-work student and teacher, batch 1 and 16, 2 threads
    python benchmarks/inference.py --quarter --samples 500    # widths divided by four: all of it in two minutes

Each form is a row of `ganlet bench`: a process of its own, all of a network in turns, ratios with an interval over the
rounds. The base work's weights are not published, so its networks have random ones whose batch norms have seen what
they normalise (training mode over some batches): times depend on shapes alone. Quality is measured on weights that
were trained: exported/kittens/generator.onnx. `int8, naive` quantises transposed convolutions as they are, and is there
for contrast. Claims are printed with pass or miss; a ratio passes by its value, and its interval stands beside it.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from ganlet.artifact import GENERATOR, Stage, save_stage
from ganlet.benching import Settings, measure_subjects, notes, rows_table, subjects_of
from ganlet.benching.figures import Ratio, median_interval
from ganlet.benching.plan import TORCH, Subject
from ganlet.data import load_pictures
from ganlet.device import OnnxRunner, Sampler, latents
from ganlet.device.pictures import to_uint8
from ganlet.export import export_onnx
from ganlet.metrics import compare, extract, feature_net, paired_change_percent
from ganlet.models import GeneratorConfig, build_generator, initialise
from ganlet.ui import Terminal
from ganlet.verify.parity import check_parity

KITTENS = Path(__file__).parents[1] / "exported" / "kittens" / "generator.onnx"
WIDTHS = {"student": (512, 256, 128, 64), "teacher": (2048, 1024, 512, 256, 128)}
STRIDES = {"student": (4, 2, 2, 2), "teacher": (2, 2, 2, 2, 2)}
LATENT = 100
AS_IS, REWRITTEN, TUNED = "fp32 as is", "fp32 rewritten", "fp32 tuned"
INT8, NAIVE, EAGER = "int8 rewritten", "int8 naive", "torch eager"
Model = Any  # onnx.ModelProto: the package has no types


@dataclass(frozen=True)
class Claim:
    """A sentence with a figure that it rests on."""

    text: str
    value: float
    low: float
    high: float
    holds: bool

    def __str__(self) -> str:
        return f"{'pass' if self.holds else 'miss'}  {self.text}: {self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


# ---------------------------------------------------------------- networks and their forms


def calibrated_stage(name: str, divide: int, folder: Path) -> Stage:
    """The base work's generator with random weights, and batch norms that know what passes through them."""
    widths, strides = tuple(width // divide for width in WIDTHS[name]), STRIDES[name]
    kernels = tuple(2 * stride for stride in strides)
    generator = build_generator(
        GeneratorConfig(latent=LATENT, widths=widths, strides=strides, kernels=kernels, channels=3)
    )
    initialise(generator, 0)
    for module in generator.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None  # a plain mean over the batches
    generator.train()
    with torch.no_grad():
        for start in range(0, 64, 16):
            generator(torch.from_numpy(latents(0, start, 16, LATENT)))
    config = generator.config.model_dump(mode="json")
    networks = {"generator": (GENERATOR, config, generator.state_dict())}
    provenance: dict[str, Any] = {"key": name, "seed": 0}
    return save_stage(folder, stage=name, networks=networks, provenance=provenance, training={})


def naive_int8(model: Model) -> Model:
    """ONNX Runtime's static quantisation of every transposed convolution as it is."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches: Iterator[dict[str, Any]] = ({"z": latents(1, s, 16, LATENT)} for s in range(0, 64, 16))

        def get_next(self) -> dict[str, Any] | None:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "naive.onnx"
        quantize_static(
            model,
            path,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["ConvTranspose"],
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        made = onnx.load(path)
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    return made


FORMS: dict[str, Callable[[Model], Model]] = {
    NAIVE: naive_int8,
}


def forms_of(model: Model, folder: Path) -> dict[str, Path]:
    """The model in every form, a file each; a form that cannot be made is told and left out."""
    paths = {}
    for name, make in FORMS.items():
        paths[name] = folder / f"{name.replace(' ', '-')}.onnx"
        onnx.save(make(model), paths[name])
    return paths


# ---------------------------------------------------------------- speed


def speed(name: str, divide: int, settings: Settings, root: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The document of `ganlet bench` for one network, and its artefacts' names by form."""
    stage = calibrated_stage(name, divide, root / name / name)
    run = root / name
    as_is = export_onnx(stage, run)
    paths = {EAGER: run / name, AS_IS: as_is} | forms_of(onnx.load(as_is), run)
    names = {form: path.name for form, path in paths.items()}
    subjects = subjects_of(list(paths.values()), settings)
    return measure_subjects(subjects, settings, Terminal()), names


def ratio_of(document: dict[str, Any], artefact: str, to: str, batch: int, runtime: str = "cpu") -> Ratio | None:
    """Pictures per second of one artefact against another's, round by round; None where one was not measured."""
    rounds = {
        row["artefact"]: row["round_p50_ms"]
        for row in document["rows"]
        if row["batch"] == batch and row["status"] == "measured" and row["runtime"] in (runtime, TORCH)
    }
    if artefact not in rounds or to not in rounds:
        return None
    return median_interval([theirs / own for own, theirs in zip(rounds[artefact], rounds[to], strict=True)])


# ---------------------------------------------------------------- quality


def quality(samples: int, folder: Path) -> tuple[float, Any]:
    """PSNR in dB of the kittens' int8 file against fp32, and the change of fd_lite0 in percent on the same latents."""
    as_is = OnnxRunner(KITTENS)
    path = folder / "kittens-int8.onnx"
    onnx.save(FORMS[INT8](onnx.load(KITTENS)), path)
    runners = {AS_IS: as_is, INT8: OnnxRunner(path)}
    psnr_db = check_parity(runners[INT8], as_is, limit=1.0, seed=3).psnr_db
    net = feature_net("lite0")
    data = load_pictures("kittens", size=as_is.picture_shape[1], channels=3, count=samples, seed=7)
    real = extract(net, (np.asarray(data.pictures[s : s + 256]) for s in range(0, samples, 256)))
    figures = {
        name: compare(extract(net, _pictures(runner, samples)), real, net="lite0", seed=0)
        for name, runner in runners.items()
    }
    return psnr_db or float("inf"), paired_change_percent(figures[INT8].fd, figures[AS_IS].fd, seed=0)


def _pictures(runner: OnnxRunner, samples: int) -> Iterator[Any]:
    for images in Sampler.of(runner).stream(0, 0, samples):
        yield to_uint8(images).transpose(0, 3, 1, 2)


# ---------------------------------------------------------------- claims


def speed_claims(name: str, document: dict[str, Any], names: Mapping[str, str], batches: Sequence[int]) -> list[Claim]:
    claims = []
    for batch in batches:
        at = f"{name}, batch {batch}"
        claims.append(at_least(f"{at}: int8 rewritten against ONNX Runtime fp32", document, names, INT8, AS_IS, batch, 1.5))
        rewritten = ratio_of(document, names[REWRITTEN], names[AS_IS], batch)
        best = REWRITTEN if rewritten is not None and rewritten.value > 1 else AS_IS
        for form in (AS_IS, TUNED):
            claims.append(at_least(f"{at}: {form} against the best, {best}", document, names, form, best, batch, 0.95))
    if name == "student":
        claims.append(at_least(f"{name}, batch 1: int8 rewritten against torch eager", document, names, INT8, EAGER, 1, 5.0))
    return claims


def at_least(
    text: str, document: dict[str, Any], names: Mapping[str, str], form: str, to: str, batch: int, limit: float
) -> Claim:
    """A ratio of pictures per second that is to be `limit` or more; a row that is missing is a miss."""
    found = ratio_of(document, names[form], names[to], batch)
    text = f"{text}, at least {limit:g}x"
    if found is None:
        return Claim(f"{text}: not measured", float("nan"), float("nan"), float("nan"), holds=False)
    return Claim(text, found.value, found.low, found.high, found.value >= limit)


def quality_claims(samples: int, folder: Path) -> list[Claim]:
    psnr_db, change = quality(samples, folder)
    small = max(abs(change.low), abs(change.high)) <= 2
    return [
        Claim("trained kittens, int8 against fp32: PSNR in dB, at least 38", psnr_db, psnr_db, psnr_db, psnr_db >= 38),
        Claim(f"trained kittens: change of fd_lite0_{samples} in %, within 2", change.value, change.low, change.high, small),
    ]
