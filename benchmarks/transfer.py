"""What transfer saves and costs against training from scratch: the base work's tables 3.1 and 3.3, kittens to monsters.

    nice -n 15 python benchmarks/transfer.py --source RUN --status          # what there is; trains nothing
    nice -n 15 python benchmarks/transfer.py --source RUN --seeds 0,1,2     # the same command again resumes
    nice -n 15 python benchmarks/transfer.py --source RUN --rows all --judge-only --out benchmarks/results   # the table

32 x 32 monsters, learnt by a teacher of kittens (`--source`, a run or a stage: that of `compression.py`, or of
`recipes/kittens-quick.toml`). Every row is a run of the pipeline's own stages in a folder WORK/ROW-STEPS/SEED, as many
steps for each row, exported to ONNX and judged on that file: N pictures of the same latents against as many held-out
ones. Intervals are 95 %, changes are paired. One thread each, so that results are bit-equal whatever else the machine
does; seconds are of that machine and hour, and compare within one run of the command.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compression_judge import LATENT_SEED, Judge, parameters
from compression_tables import command_of
from ganlet.artifact import CONFIG, Stage, find_stage, load_stage
from ganlet.commands.export import TARGETS, ExportOptions
from ganlet.commands.freeze import FOLDER, RESULT
from ganlet.commands.open_run import OpenRun
from ganlet.commands.run import STEPS as MAKE
from ganlet.errors import Busy
from ganlet.files import MB, claimed, read_json
from ganlet.metrics import paired_change_percent
from ganlet.recipe import Recipe, parse_recipe
from ganlet.training.load import critic_config_of, generator_config_of
from ganlet.ui import Terminal
from transfer_tables import write_results

Tables = dict[str, Any]
STEPS, BATCH, SAMPLES = 1_500, 32, 5_000
DATA: Tables = {"source": "monsters", "size": 32, "count": 25_000, "holdout": 0.2}  # 20,000 to train on, 5,000 held out
STAGE = {
    "teacher": "teacher",
    "transfer": "transfer",
    "distill": "student",
}  # the folder that each section's stage makes
SHORT_IMAGES = 8_000  # of a run that looks for the number of layers
BASE_GENERATOR, BASE_CRITIC = 2, 4  # layers that the base work froze
STUDENT = [64, 64, 48]  # 4.9 times smaller than 256-128-64, as the base work's student is
TRAIN: Tables = {"batch": BATCH, "lr": 4e-4, "lr_critic": 8e-4, "decay": 0.3, "checkpoint_steps": 250}
LESSONS: Tables = {"widths": STUDENT, "pixel": "l1", "features": 1.0, "init": "teacher", "critic": "teacher"}


@dataclass(frozen=True)
class Row:
    """One line of the table. `sections` are the recipe's, `shares` how the row's steps are divided among them."""

    name: str
    what: str
    sections: tuple[str, ...]
    tables: tuple[Tables, ...] = ({},)
    shares: tuple[float, ...] = (1.0,)
    group: str = "main"


TEACH: Tables = {"alpha": 0.09, "train.lr": 1e-3, "train.lr_critic": 4e-4}
ONE_GO: Tables = TEACH | {"alpha_end": 1.0}
AUGMENT = ["color", "translation"]
WAYS: dict[str, tuple[str, Tables]] = {
    "features": ("one go without the pixel term", {"pixel": "none"}),
    "relation": ("one go with relations in place of pixels", {"pixel": "none", "relation": 1.0}),
    "adversary": (
        "one go without the teacher: its channels and its critic alone",
        {"alpha": 1.0, "pixel": "none", "features": 0.0},
    ),
    "kept": ("one go, alpha to 0.5: the teacher is never left", {"alpha_end": 0.5}),
    "kept-augmented": ("as one-go-kept, with DiffAugment", {"alpha_end": 0.5, "train.augment": AUGMENT}),
    "adversary-augmented": (
        "as one-go-adversary, with DiffAugment",
        {"alpha": 1.0, "pixel": "none", "features": 0.0, "train.augment": AUGMENT},
    ),
}

ROWS = [
    Row("scratch", "the same network from random weights", ("teacher",)),
    Row(
        "scratch-augmented",
        "the same with DiffAugment",
        ("teacher",),
        ({"train.augment": AUGMENT},),
        group="ways",
    ),
    Row("frozen", "the kittens' teacher, first layers frozen as in the base work", ("transfer",)),
    Row(
        "thawing",
        "the same, a layer of each network thaws at 1/3 and at 2/3",
        ("transfer",),
        ({"unfreeze": [1 / 3, 2 / 3]},),
    ),
    Row(
        "auto",
        "frozen layers chosen by short runs",
        ("transfer",),
        (
            {
                "freeze_generator": "auto",
                "freeze_critic": "auto",
                "auto": {"images": SHORT_IMAGES},
            },
        ),
    ),
    Row(
        "then-student",
        "frozen for half of the steps, then distilled for the other half",
        ("transfer", "distill"),
        ({}, TEACH),
        (0.5, 0.5),
    ),
    Row("one-go", "the kittens' teacher distilled into monsters, alpha to 1", ("distill",), (ONE_GO,)),
    Row(
        "then-student-1",
        "as then-student, a layer of each network frozen",
        ("transfer", "distill"),
        ({"freeze_generator": 1, "freeze_critic": 1}, TEACH),
        (0.5, 0.5),
        "ways",
    ),
    *(
        Row(f"one-go-{name}", what, ("distill",), (ONE_GO | changes,), group="ways")
        for name, (what, changes) in WAYS.items()
    ),
]
SCRATCH = ROWS[0]


def recipe_of(row: Row, seed: int, steps: int, source: Stage) -> Recipe:
    """One thread, so that its bytes are the same on a busy machine."""
    tables: Tables = {"run": {"name": f"{row.name}-{seed}", "seed": seed, "device": "cpu", "threads": 1}, "data": DATA}
    for section, changes, share in zip(row.sections, row.tables, row.shares, strict=True):
        train = TRAIN | {"images": int(steps * share) * BATCH, "progress_steps": max(1, steps // 6)}
        train |= {key.removeprefix("train."): value for key, value in changes.items() if key.startswith("train.")}
        own = {key: value for key, value in changes.items() if not key.startswith("train.")}
        tables[section] = like_source(section, source, first=section == row.sections[0]) | own | {"train": train}
    return parse_recipe(tables)


def like_source(section: str, source: Stage, first: bool) -> Tables:
    """The section before the row's own changes. Of stages the first one starts from the source."""
    start: Tables = {"from": str(source.folder)} if first else {}
    generator, critic = generator_config_of(source), critic_config_of(source)
    if section == "teacher":
        judge = critic.model_dump(include={"widths", "norm", "spectral"})
        return {"latent": generator.latent, "widths": generator.widths, "critic": judge}
    if section == "transfer":
        frozen_generator = min(BASE_GENERATOR, len(generator.widths))
        return start | {"freeze_generator": frozen_generator, "freeze_critic": min(BASE_CRITIC, len(critic.widths))}
    return start | LESSONS


class Bench:
    """The rows that were asked for, where their folders are, and how they come to be."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.observer, self.source = options, Terminal(), find_stage(options.source)
        self.seeds = [int(seed) for seed in options.seeds.split(",")]
        names = set(options.rows.split(","))
        unknown = sorted(names - {"all"} - {word for row in ROWS for word in (row.name, row.group)})
        if unknown:
            there = ", ".join(["all", "main", "ways", *(row.name for row in ROWS)])
            raise SystemExit(f"--rows: {', '.join(unknown)} unknown; there are {there}")
        self.rows = [row for row in ROWS if names & {"all", row.name, row.group}]

    def folder(self, row: Row, seed: int) -> Path:
        return Path(self.options.work) / f"{row.name}-{self.options.steps}" / str(seed)

    def stages(self, row: Row, seed: int) -> list[Path]:
        return [self.folder(row, seed) / STAGE[section] for section in row.sections]

    def is_trained(self, row: Row, seed: int) -> bool:
        return (self.stages(row, seed)[-1] / CONFIG).is_file()

    def train(self, row: Row, seed: int) -> None:
        run = self.folder(row, seed)
        try:
            with claimed(run):
                if self.is_trained(row, seed):
                    return
                print(f"# training {run}", flush=True)
                place = OpenRun.open(recipe_of(row, seed, self.options.steps, self.source), run, self.observer)
                for section in row.sections:
                    MAKE[section](place)
        except Busy:
            print(f"# {row.name} of seed {seed}: another process is at it", flush=True)

    def file(self, row: Row, seed: int) -> Path:
        TARGETS["onnx"](load_stage(self.stages(row, seed)[-1]), self.folder(row, seed), ExportOptions(), self.observer)
        return self.folder(row, seed) / "generator.onnx"

    def status(self) -> None:
        for row in self.rows:
            told = "  ".join(f"{s}: {'trained' if self.is_trained(row, s) else '-'}" for s in self.seeds)
            print(f"{row.name:26} {self.options.steps} steps   {told}")


# ---------------------------------------------------------------- results


def judge(bench: Bench) -> None:
    """Measure what is trained, and write the tables of it."""
    measurer = Judge(bench.options.work, bench.options.samples, bench.observer, DATA)
    results: list[dict[str, Any]] = []
    sheets: dict[str, Any] = {"data": measurer.data_sheet()}
    for seed in bench.seeds:
        baseline = None
        if bench.is_trained(SCRATCH, seed):
            baseline, _ = measurer.to_data(bench.file(SCRATCH, seed))
        for row in bench.rows:
            if not bench.is_trained(row, seed):
                continue
            path, run = bench.file(row, seed), bench.folder(row, seed)
            fd, kid = measurer.to_data(path)
            found = {"row": row.name, "what": row.what, "seed": seed, "fd": fd.interval.as_json()}
            found |= {"kid": kid.interval.as_json(), "parameters": parameters(path)}
            found |= {"file_mb": path.stat().st_size / MB} | costs(
                [load_stage(p) for p in bench.stages(row, seed)], run
            )
            if baseline is not None and row is not SCRATCH:
                found["change_percent"] = paired_change_percent(fd, baseline, seed=LATENT_SEED).as_json()
            results.append(found)
            if seed == bench.seeds[0]:
                sheets[row.name] = measurer.sheet(path)
    if bench.seeds and results:
        source = bench.source.folder
        TARGETS["onnx"](bench.source, Path(bench.options.work) / "source", ExportOptions(), bench.observer)
        sheets = {"kittens": measurer.sheet(Path(bench.options.work) / "source" / "generator.onnx")} | sheets
        print(f"# source: {source}")
    options = bench.options
    write_results(options.out or options.work, results, sheets, options.samples, command_of(sys.argv))


def costs(stages: Sequence[Stage], run: Path) -> dict[str, Any]:
    """Of all stages of a row: seconds and steps add up, the highest memory counts; a search's seconds stand apart."""
    training = [stage.training for stage in stages]
    found = {key: sum(t[key] for t in training) for key in ("seconds", "steps")}
    found |= {key: max(t[key] for t in training) for key in ("peak_memory_mib", "predicted_memory_mib")}
    frozen = training[0].get("frozen")
    found["frozen"] = f"{frozen['generator']} / {frozen['critic']}" if frozen else ""
    document = stages[0].folder / RESULT
    if document.is_file():
        found["search"] = read_json(document)
        found["search_seconds"] = sum(read_json(path)["seconds"] for path in (run / FOLDER).glob("*.json"))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = Path(os.environ.get("GANLET_CACHE", Path.home() / ".cache" / "ganlet"))
    parser.add_argument(
        "--source", type=Path, required=True, help="run or stage of the kittens' teacher, critic included"
    )
    parser.add_argument("--work", type=Path, default=home / "transfer", help="folder of all runs, which resumes")
    parser.add_argument("--rows", default="main", help="main, ways, all, or names with commas between")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=STEPS, help="of every row in all")
    parser.add_argument("--samples", type=int, default=SAMPLES, help="pictures on each side of a distance")
    parser.add_argument("--status", action="store_true", help="print what there is and stop")
    parser.add_argument("--judge-only", action="store_true", help="train nothing; measure what is there")
    parser.add_argument("--out", type=Path, help="folder of the table, its JSON and the sheet; WORK unless told")
    bench = Bench(parser.parse_args())
    bench.status()
    if bench.options.status:
        return
    recipes = [recipe_of(row, seed, bench.options.steps, bench.source) for row in bench.rows for seed in bench.seeds]
    if not bench.options.judge_only:
        for seed in bench.seeds:
            for row in bench.rows:
                bench.train(row, seed)
    judge(bench)
    print(json.dumps({"rows": len(bench.rows), "seeds": bench.seeds, "recipes": len(recipes)}))


if __name__ == "__main__":
    main()
