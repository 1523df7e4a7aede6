"""What pruning does to a trained teacher, by importance, scope and part of the channels, with and without fine-tuning.

    ganlet run recipes/kittens-quick.toml
    OMP_NUM_THREADS=1 nice python benchmarks/pruning.py exported/kittens-quick
    OMP_NUM_THREADS=1 nice python benchmarks/pruning.py exported/kittens-quick --ratios 0.5 --tune-images 32000

Every row is `[[compress]]` of a recipe of its own in WORK, made by `ganlet.commands.run.prune`; the same command again
goes
on. "random" ranks the channels by chance: what an importance has to beat. Distances are Frechet distances in Lite0
features of N pictures to N of the whole teacher on the same latents, and to held-out pictures; 95 % intervals.
"""

import argparse
import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from numpy.typing import NDArray

from ganlet.artifact import Stage, find_stage, load_stage
from ganlet.commands.open_run import OpenRun
from ganlet.commands.run import prune
from ganlet.compress import importance as importances
from ganlet.data import PictureSet, load_pictures
from ganlet.files import MB, read_json, write_json
from ganlet.metrics import Fidelity, compare, extract, feature_net
from ganlet.models.dcgan import Generator
from ganlet.recipe import Importance, Recipe, load_recipe, parse_recipe
from ganlet.training.load import generator_config_of
from ganlet.ui import Terminal
from ganlet.verify.fidelity import choose_reference, judged
from ganlet.verify.torch_runner import TorchRunner

IMPORTANCES = ("random", "magnitude", "batch-norm", "group-norm", "strength", "diversity")
TUNE = {"alpha": 0.09, "pixel": "l1", "features": 1.0}
TRAIN = {"batch": 32, "lr": 1e-3, "lr_critic": 4e-4, "decay": 0.3}


def random_scores(generator: Generator, seed: int) -> importances.Scores:
    drawn = torch.Generator().manual_seed(seed)
    return [torch.rand(width, generator=drawn) for width in generator.config.widths]


def recipe_of(base: Recipe, teacher: Path, options: argparse.Namespace, **section: Any) -> Recipe:
    tune = TUNE | {"train": TRAIN | {"images": options.tune_images}}
    given = {"method": "prune", "from": str(teacher), "round_to": options.round_to, **section}
    data = base.data.model_dump(mode="json", exclude_none=True)
    run = {"name": "pruning", "seed": options.seed, "device": "cpu", "threads": torch.get_num_threads()}
    return parse_recipe(
        {"run": run, "data": data, "compress": [given | ({"tune": tune} if options.tune_images else {})]}
    )


class Judge:
    """Distances of a stage's pictures to the teacher's and to the data."""

    def __init__(self, pictures: PictureSet, base: Recipe, teacher: Stage, samples: int) -> None:
        self.net, self.samples = feature_net("lite0"), samples
        self.reference = choose_reference(pictures, base.data.holdout, base.data.seed, samples)
        self.data = extract(self.net, self.reference.chunks())
        self.teacher = self.features(teacher)

    def features(self, stage: Stage) -> NDArray[np.float32]:
        return extract(self.net, judged(TorchRunner.of_stage(stage), self.reference, 0, self.samples))

    def row(self, stage: Stage) -> dict[str, Any]:
        found = self.features(stage)
        return {
            "widths": list(generator_config_of(stage).widths),
            "model_mb": (stage.folder / "weights.safetensors").stat().st_size / MB,
            "to_teacher": _fd(compare(found, self.teacher, net="lite0", seed=0)),
            "to_data": _fd(compare(found, self.data, net="lite0", seed=0)),
        }


def _fd(found: Fidelity) -> dict[str, float]:
    interval = found.fd.interval
    return {"value": interval.value, "low": interval.low, "high": interval.high}


def told(found: dict[str, float]) -> str:
    return f"{found['value']:6.0f} ({found['low']:.0f} to {found['high']:.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("exported/kittens-quick"))
    parser.add_argument("--work", type=Path, default=Path("exported/pruning"))
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.25, 0.5])
    parser.add_argument(
        "--targets-mb", type=float, nargs="+", default=[], help="sizes to come below, in place of ratios"
    )
    parser.add_argument("--scopes", nargs="+", default=["global", "uniform"])
    parser.add_argument("--importances", nargs="+", default=IMPORTANCES)
    parser.add_argument("--round-to", type=int, default=4)
    parser.add_argument("--tune-images", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    base = load_recipe(options.run / "recipe.toml")
    whole = options.run / "teacher"
    teacher = load_stage(whole) if whole.is_dir() else find_stage(options.run)
    data, observer = base.data, Terminal(quiet=True)
    pictures = load_pictures(data.source, size=data.size, channels=data.channels, count=data.count, seed=data.seed)
    rows = []
    print(f"{'importance':12} {'scope':8}  size  widths           MB      to the teacher           to the data")
    judge = Judge(pictures, base, teacher, options.samples)
    print(f"{'(teacher)':73} {told(_fd(compare(judge.teacher, judge.data, net='lite0', seed=0))):>24}")
    sizes = [("target_mb", mb) for mb in options.targets_mb] or [("ratio", ratio) for ratio in options.ratios]
    for size in sizes:
        for scope in options.scopes:
            for name in options.importances:
                kept = options.work / f"{name}-{scope}-{size[1]:g}-{options.tune_images}-{options.seed}"
                word: Importance = "magnitude" if name == "random" else name
                recipe = recipe_of(base, teacher.folder, options, scope=scope, importance=word, **dict([size]))
                with patch.dict(importances.SCORES, {word: random_scores} if name == "random" else {}):
                    stage = prune(OpenRun(recipe, kept, pictures, observer))
                known = kept / f"judged-{options.samples}.json"
                if not known.is_file() or read_json(known)["weights"] != stage.weights_sha256:
                    write_json(known, {"weights": stage.weights_sha256} | judge.row(stage))
                row = read_json(known) | {"importance": name, "scope": scope} | dict([size])
                rows.append(row)
                widths = "-".join(map(str, row["widths"]))
                told_mb = f"{row['model_mb']:.2f}"
                print(
                    f"{name:12} {scope:8} {size[1]:5} {widths:14} {told_mb:>5} {told(row['to_teacher']):>24} "
                    f"{told(row['to_data']):>24}",
                    flush=True,
                )
    print(json.dumps({"samples": options.samples, "tune_images": options.tune_images, "rows": rows}))


if __name__ == "__main__":
    main()
