"""What int8 costs a trained generator, way by way, and what training on it brings back.

    OMP_NUM_THREADS=1 nice python benchmarks/quantisation.py exported/kittens
    OMP_NUM_THREADS=1 nice python benchmarks/quantisation.py exported/kittens-quick --profile trt-int8

SOURCE is a run with a recipe.toml: its last stage, or, where only the exported file is there, the weights in that. The
rows: ONNX Runtime's own static quantisation of the file as it is; each calibration of the rewritten graph with all
layers in int8; the nearest with layers kept in fp32, up to half of the weights; and what `[[compress]] method =
"quantize"` trains with its own defaults. PSNR is to the fp32 pictures of the source, in all rows. Distances are Frechet
distances in Lite0 features of N pictures to held-out ones; the change is against fp32 on the same latents, with its
95 % interval.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from ganlet.artifact import GENERATOR, Stage, find_stage, load_stage, save_stage
from ganlet.commands.open_run import OpenRun, open_pictures
from ganlet.commands.run import quantize
from ganlet.compress.quantize import measure
from ganlet.device import latents
from ganlet.device.pictures import to_uint8
from ganlet.device.runtimes import load_onnxruntime
from ganlet.errors import GanletError
from ganlet.export.calibrate import COUNT, METHODS, SEED
from ganlet.export.int8 import to_int8
from ganlet.export.onnx_export import finished, onnx_bytes
from ganlet.export.sensitivity import Nearest, nearest_int8, nearness
from ganlet.files import MB, sha256_file
from ganlet.metrics import Fidelity, compare, extract, feature_net, paired_change_percent
from ganlet.models.config import Ends
from ganlet.models.dcgan import GeneratorConfig
from ganlet.models.families import build_generator
from ganlet.recipe import Quantize, Recipe, load_recipe, parse_recipe
from ganlet.training.load import load_generator
from ganlet.ui import Terminal
from ganlet.verify.fidelity import choose_reference

BATCH = 16


def source_stage(run: Path, recipe: Recipe, work: Path) -> Stage:
    """The run's last stage, or one without norms and without a critic made of the weights in its generator.onnx."""
    try:
        return find_stage(run)
    except GanletError:
        path = run / "generator.onnx"
    held = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in onnx.load(path).graph.initializer}
    network, latent = recipe.distill or recipe.teacher, held["layer1.0.weight"].shape[0]
    assert network is not None
    config = GeneratorConfig.of(network, Ends(latent, recipe.data.size, recipe.data.channels)).model_copy(
        update={"norm": "none"}
    )
    generator = build_generator(config)
    generator.load_state_dict({name: held[name] for name in generator.state_dict()})
    networks = {"generator": (GENERATOR, config.model_dump(mode="json"), generator.state_dict())}
    provenance = {"key": f"of the file {sha256_file(path)}"}
    return save_stage(work / "student", stage="student", networks=networks, provenance=provenance, training={})


def naive(model: ModelProto, work: Path, latent: int) -> ModelProto:
    """ONNX Runtime's static quantisation as its documentation shows it: min-max, Q/DQ, weights per channel."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Latents(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = list(range(0, COUNT, BATCH))

        def get_next(self) -> dict[str, Any] | None:
            return {"z": latents(SEED, self.left.pop(0), BATCH, latent)} if self.left else None

    plain, made = work / "plain.onnx", work / "naive.onnx"
    onnx.save(model, plain)
    quantize_static(plain, made, Latents(), quant_format=QuantFormat.QDQ, per_channel=True)
    return onnx.load(made)


def pictures(model: ModelProto, count: int, latent: int) -> Iterator[NDArray[np.uint8]]:
    onnxruntime = load_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    for start in range(0, count, BATCH):
        drawn = session.run(None, {"z": latents(0, start, min(BATCH, count - start), latent)})[0]
        yield to_uint8(drawn).transpose(0, 3, 1, 2)


class Table:
    """One line for each file."""

    def __init__(self, fp32: ModelProto, recipe: Recipe, samples: int, latent: int) -> None:
        self.samples, self.latent, self.net = samples, latent, feature_net("lite0")
        self.psnr_db, self.rows = nearness(fp32), []
        data = recipe.data
        held = choose_reference(open_pictures(recipe, Terminal(quiet=True)), data.holdout, data.seed, samples)
        self.data = extract(self.net, held.chunks())
        self.fp32 = self.distance(fp32)
        print(f"{'file':32} {'MB':>6}  PSNR dB   {'fd_lite0_' + str(samples):>18}   change %, 95 % interval")
        interval = self.fp32.fd.interval
        print(f"{'fp32':32} {mb(fp32):6.3f}        -   {told(interval)}")
        self.rows.append({"file": "fp32", "mb": mb(fp32), "fd": interval.value})

    def distance(self, model: ModelProto) -> Fidelity:
        seen = extract(self.net, pictures(model, self.samples, self.latent))
        return compare(seen, self.data, net="lite0", seed=0)

    def row(self, name: str, model: ModelProto) -> None:
        found, psnr_db = self.distance(model), self.psnr_db(model)
        change = paired_change_percent(found.fd, self.fp32.fd, seed=0)
        print(
            f"{name:32} {mb(model):6.3f}   {psnr_db:6.2f}   {told(found.fd.interval)}   "
            f"{change.value:+.2f} ({change.low:+.2f} to {change.high:+.2f})",
            flush=True,
        )
        row = {"file": name, "mb": mb(model), "psnr_db": psnr_db, "fd": found.fd.interval.value}
        self.rows.append(row | {"change_percent": [change.value, change.low, change.high]})


def mb(model: ModelProto) -> float:
    return len(model.SerializeToString()) / MB


def told(interval: Any) -> str:
    return f"{interval.value:6.1f} ({interval.low:.1f} to {interval.high:.1f})"


def show_layers(near: Nearest) -> None:
    alone = ", ".join(f"{name} {psnr_db:.1f}" for name, psnr_db in near.by_layer.items())
    print(f"one layer alone in int8, by {near.method}, PSNR in dB: {alone}", flush=True)


def trained(recipe: Recipe, source: Stage, options: argparse.Namespace, work: Path) -> tuple[ModelProto, str]:
    """The file of what `[[compress]] method = "quantize"` trains, and what it measured, whichever it kept."""
    tune = {"train": {"images": options.images, "progress_steps": options.images}}
    tune |= {"pixel": options.pixel} if options.pixel else {}
    tune["train"] |= {"lr": options.lr} if options.lr else {}
    step = {"method": "quantize", "from": str(source.folder), "profile": options.profile, "least_psnr_db": 200.0}
    own = parse_recipe(
        {
            "run": {"name": "quantisation", "seed": options.seed, "device": "cpu", "threads": 1},
            "data": recipe.data.model_dump(mode="json", exclude_none=True),
            "export": {"targets": ["onnx-int8"]},
            "compress": [step | {"tune": tune}],
        }
    )
    run = work / f"{options.profile}-{options.images}-{options.lr}-{options.pixel}-{options.seed}"
    run.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    stage = quantize(OpenRun(own, run, open_pictures(own, Terminal(quiet=True)), Terminal(quiet=True)))
    found = stage.config["provenance"]["int8"]
    words = (
        f"trained on: {found['before']['psnr_db']} dB before, {found['after']['psnr_db']} dB after "
        f"({found['after']['psnr_to_own_fp32_db']} to its own fp32), {found['kept']} kept; "
        f"{time.monotonic() - began:.0f} s in all"
    )
    tuned = load_stage(run / "quantized-tuned")
    return measure(tuned, Quantize(method="quantize", profile=options.profile), source).near.model, words


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="?", default=Path("exported/kittens"))
    parser.add_argument("--work", type=Path, default=Path("exported/quantisation"))
    parser.add_argument("--profile", choices=("cpu-int8", "trt-int8"), default="cpu-int8")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--images", type=int, default=16_000)
    parser.add_argument("--lr", type=float)
    parser.add_argument("--pixel", choices=("l1", "mse"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = load_recipe(options.source / "recipe.toml")
    work = options.work / options.source.resolve().name
    work.mkdir(parents=True, exist_ok=True)
    source = source_stage(options.source, recipe, work)
    generator = load_generator(source)
    fp32 = onnx.load_from_string(onnx_bytes(generator, ""))
    config = generator.config
    print(f"widths {'-'.join(map(str, config.widths))}, {config.size_px} x {config.size_px}, {options.profile}")
    table = Table(fp32, recipe, options.samples, config.latent)
    table.row("ONNX Runtime's own int8", naive(fp32, work, config.latent))
    near = nearest_int8(fp32, options.profile)
    for method in METHODS:
        table.row(f"rewritten, {method}", _whole(to_int8(fp32, options.profile, method=method)))
    for more_db in (2.0, 4.0):
        kept = nearest_int8(fp32, options.profile, least_psnr_db=near.psnr_db + more_db)
        table.row(f"asked for {more_db:g} dB more", _whole(kept.model))
        print(f"    in fp32: {', '.join(kept.keep)}")
    model, words = trained(recipe, source, options, work)
    table.row("trained on, all int8", _whole(model))
    show_layers(near)
    print(words)
    about = {"near": near.as_json(), "samples": options.samples, "profile": options.profile}
    print(json.dumps(about | {"rows": table.rows}))


def _whole(model: ModelProto) -> ModelProto:
    """The model as a file has it."""
    return finished(model, {"precision": "int8"})


if __name__ == "__main__":
    main()
