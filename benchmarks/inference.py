"""What the exported forms of a generator gain over torch and over each other, and what int8 costs in quality.

    python benchmarks/inference.py                            # base-work student and teacher, batch 1 and 16, 2 threads
    python benchmarks/inference.py --quarter --samples 500    # widths divided by four: all of it in two minutes

Each form is a row of `ganlet bench`: a process of its own, all of a network in turns, ratios with an interval over the
rounds. The base work's weights are not published, so its networks have random ones whose batch norms have seen what
they normalise (training mode over some batches): times depend on shapes alone. Quality is measured on weights that
were trained: exported/kittens/generator.onnx. `int8, naive` quantises transposed convolutions as they are, and is there
for contrast; `int8 symmetric` is the form for TensorRT and others that know no uint8. Claims are printed with pass or
miss; a ratio passes by its value, and its interval stands beside it.
"""

import argparse
import json
import logging
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from rich.console import Console

from ganlet.artifact import GENERATOR, Stage, save_stage
from ganlet.commands.bench import Settings, measure_subjects, notes, rows_table, subjects_of
from ganlet.data import load_pictures
from ganlet.device import OnnxRunner, Sampler, latents
from ganlet.device.openvino_runner import NAME as OPENVINO
from ganlet.device.pictures import to_uint8
from ganlet.device.ratios import Ratio, median_interval
from ganlet.export import export_onnx, to_int8
from ganlet.export.variants import export_variant
from ganlet.metrics import compare, extract, feature_net, paired_change_percent
from ganlet.models.dcgan import GeneratorConfig
from ganlet.models.families import build_generator
from ganlet.models.init import initialise
from ganlet.ui import Terminal
from ganlet.verify.parity import check_parity

KITTENS = Path(__file__).parents[1] / "exported" / "kittens" / "generator.onnx"
WIDTHS = {"student": (512, 256, 128, 64), "teacher": (2048, 1024, 512, 256, 128)}
STRIDES = {"student": (4, 2, 2, 2), "teacher": (2, 2, 2, 2, 2)}
LATENT = 100
AS_IS, REWRITTEN, TUNED = "fp32 as is", "fp32 rewritten", "fp32 tuned"
INT8, SYMMETRIC, NAIVE, EAGER = "int8 rewritten", "int8 symmetric", "int8 naive", "torch eager"
SHIPPED = (AS_IS, TUNED)  # what `ganlet export` writes in fp32, without and with --tune
THREADS = 2
OTHER_SEED = 7  # of pictures and latents: not those of training and calibration
Model = Any  # onnx.ModelProto: the package has no types


@dataclass(frozen=True)
class Claim:
    """A sentence with a figure that it rests on."""

    text: str
    value: float | None
    interval: tuple[float, float] | None
    holds: bool

    def __str__(self) -> str:
        value = "" if self.value is None else f": {self.value:.2f}"
        interval = "" if self.interval is None else f" ({self.interval[0]:.2f} to {self.interval[1]:.2f})"
        return f"{'pass' if self.holds else 'miss'}  {self.text}{value}{interval}"


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
        logging.disable(logging.WARNING)  # it proposes a pre-processing that the exporter has done
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
        logging.disable(logging.NOTSET)
        made = onnx.load(path)
    del made.metadata_props[:]
    made.metadata_props.extend(model.metadata_props)
    return made


VARIANTS = {
    REWRITTEN: ("fp32", "cpu-int8", False),
    TUNED: ("fp32", None, True),
    INT8: ("int8", "cpu-int8", False),
    SYMMETRIC: ("int8", "trt-int8", False),
}
"""Form -> precision, profile and --tune of `ganlet export`, which without them writes AS_IS."""


# ---------------------------------------------------------------- speed


def speed(name: str, divide: int, settings: Settings, root: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The document of `ganlet bench` for one network, and its artifacts' names by form."""
    run = root / name
    stage = calibrated_stage(name, divide, run / name)
    paths = {EAGER: run / name, AS_IS: export_onnx(stage, run)}
    paths |= {form: export_variant(run, stage, *how) for form, how in VARIANTS.items()}
    paths[NAIVE] = run / "naive.int8.onnx"
    onnx.save(naive_int8(onnx.load(paths[AS_IS])), paths[NAIVE])
    subjects = subjects_of(list(paths.values()), replace(settings, providers=("cpu",)))
    if find_spec(OPENVINO) is not None:
        subjects += subjects_of([paths[AS_IS], paths[INT8]], replace(settings, providers=(OPENVINO,)))
    subjects.sort(key=lambda subject: subject.batch)
    return measure_subjects(subjects, settings, Terminal()), {form: path.name for form, path in paths.items()}


def ratio_of(document: dict[str, Any], artifact: str, to: str, batch: int) -> Ratio | None:
    """Pictures per second of one artifact against another's, round by round; None where one was not measured."""
    rounds = {
        row["artefact"]: row["round_p50_ms"]
        for row in document["rows"]
        if row["batch"] == batch and row["status"] == "measured" and row["runtime"] != OPENVINO
    }
    if artifact not in rounds or to not in rounds:
        return None
    return median_interval([theirs / own for own, theirs in zip(rounds[artifact], rounds[to], strict=True)])


# ---------------------------------------------------------------- quality


def quality_claims(samples: int, folder: Path) -> list[Claim]:
    """PSNR of the kittens' int8 files against fp32, and the change of fd_lite0 on the same latents."""
    as_is = OnnxRunner(KITTENS)
    data = load_pictures("kittens", size=as_is.picture_shape[1], channels=3, count=samples, seed=OTHER_SEED)
    net = feature_net("lite0")
    real = extract(net, (np.array(data.pictures[s : s + 256]) for s in range(0, samples, 256)))
    before = compare(extract(net, pictures(as_is, samples)), real, net="lite0", seed=0)
    print(f"kittens: fd_lite0_{samples} of fp32 {before.fd.value:.2f}")
    claims = []
    for form in (INT8, SYMMETRIC):
        path = folder / f"kittens-{form.replace(' ', '-')}.onnx"
        onnx.save(to_int8(onnx.load(KITTENS), str(VARIANTS[form][1])), path)
        runner = OnnxRunner(path)
        psnr_db = check_parity(runner, as_is, limit=1.0, seed=OTHER_SEED).psnr_db or math.inf
        claims.append(
            Claim(f"trained kittens, {form}: PSNR against fp32, at least 38 dB", psnr_db, None, psnr_db >= 38)
        )
        after = compare(extract(net, pictures(runner, samples)), real, net="lite0", seed=0)
        change = paired_change_percent(after.fd, before.fd, seed=0)
        within = max(abs(change.low), abs(change.high)) <= 2
        text = f"trained kittens, {form}: change of fd_lite0_{samples} in %, within 2 on either side"
        claims.append(Claim(text, change.value, (change.low, change.high), within))
    return claims


def pictures(runner: OnnxRunner, samples: int) -> Iterator[Any]:
    for images in Sampler.of(runner).stream(0, 0, samples):
        yield to_uint8(images).transpose(0, 3, 1, 2)


# ---------------------------------------------------------------- claims


def speed_claims(name: str, document: dict[str, Any], names: Mapping[str, str], batches: Sequence[int]) -> list[Claim]:
    def at_least(limit: float, form: str, to: str, batch: int, what: str = "") -> Claim:
        """A ratio of pictures per second that is to be `limit` or more; a row that is missing is a miss."""
        found = ratio_of(document, names[form], names[to], batch)
        text = f"{name}, batch {batch}: {form} against {what or to}, at least {limit:g}x"
        if found is None:
            return Claim(f"{text} (not measured)", None, None, holds=False)
        return Claim(text, found.value, (found.low, found.high), found.value >= limit)

    claims = []
    for batch in batches:
        claims.append(at_least(1.5, INT8, AS_IS, batch))
        rewritten = ratio_of(document, names[REWRITTEN], names[AS_IS], batch)
        best = REWRITTEN if rewritten is not None and rewritten.value > 1 else AS_IS
        for form in SHIPPED:
            claims.append(at_least(0.95, form, best, batch, f"the best of two, {best}"))
    if name == "student" and 1 in batches:
        claims.append(at_least(5, INT8, EAGER, 1))
    return claims


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quarter", action="store_true", help="widths divided by four")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--runs", type=int, default=20, help="calls a round, at most")
    parser.add_argument("--samples", type=int, default=2000, help="pictures for fd_lite0")
    options = parser.parse_args()
    settings = Settings((1, 16), THREADS, options.runs, options.rounds, round_seconds=0.5)
    claims: list[Claim] = []
    result: dict[str, Any] = {"widths_divided_by": 4 if options.quarter else 1}
    with tempfile.TemporaryDirectory() as folder:
        for name in WIDTHS:
            document, names = speed(name, result["widths_divided_by"], settings, Path(folder))
            machine = document["machine"]
            print(f"\n{name}: {machine['cores']} cores, {THREADS} threads, load {machine['load']:.1f} before\n")
            Console(width=132).print(rows_table(document))
            print("\n".join(notes(document)), flush=True)
            claims += speed_claims(name, document, names, settings.batches)
            result[name] = document
        claims += quality_claims(options.samples, Path(folder))
    print()
    for claim in claims:
        print(claim)
    result["claims"] = [asdict(claim) for claim in claims]
    for document in result.values():
        for row in document["rows"] if isinstance(document, dict) else []:
            del row["path"]  # of a temporary folder
    print(json.dumps(result))


if __name__ == "__main__":
    main()
