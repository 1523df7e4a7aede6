"""What each way to a small generator keeps of its teacher: the table of the compression results.

    nice -n 15 python benchmarks/compression.py --status              # what there is; trains nothing
    nice -n 15 python benchmarks/compression.py --rows main           # the same command again resumes
    nice -n 15 python benchmarks/compression.py --rows ablations --seeds 0
    nice -n 15 python benchmarks/compression.py --rows ours-10 --proxy --choose --set train.lr=2e-3 --tag fast
    nice -n 15 python benchmarks/compression.py --rows all --judge-only --out benchmarks/results        # the table

32 x 32 kittens. Every row is a run of the pipeline's own stages, made from one base recipe (`compression_rows.py`) in a
folder WORK/ROW-STEPS/SEED, exported to ONNX and judged on that file: N pictures of the same latents for every row,
against as many held-out pictures and against the teacher's. Intervals are 95 % (ganlet/metrics/intervals.py), changes
are paired. Two such commands may run side by side: what one of them trains is left alone by the other. One thread each,
so that results are bit-equal whatever else the machine does; its seconds are no benchmark.
"""

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from compression_judge import NET, Judge
from compression_rows import (
    PROXY_SAMPLES,
    PROXY_STEPS,
    ROWS,
    SAMPLES,
    SHORT_GROUPS,
    SHORT_STEPS,
    STEPS,
    Row,
    changed,
    recipe_of,
)
from compression_tables import command_of, write_results
from ganlet.artifact import CONFIG, load_stage
from ganlet.commands.export import TARGETS, ExportOptions
from ganlet.commands.open_run import OpenRun
from ganlet.commands.run import STEPS as MAKE
from ganlet.errors import Busy, GanletError
from ganlet.files import claimed, read_json
from ganlet.ui import Terminal

STAGE = {"teacher": "teacher", "distill": "student"}  # the folder that each section's stage makes
GENERATOR, INT8 = "generator.onnx", "generator.int8.onnx"


class Bench:
    """The rows that were asked for, where their folders are, and how they come to be."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.work: Path = options.work
        self.options = options
        self.seeds: list[int] = options.seeds
        self.observer = Terminal()
        self.rows = chosen(options.rows, options.tag, dict(options.set))

    def steps(self, row: Row) -> int:
        if self.options.steps:
            return int(self.options.steps)
        return row.times * (PROXY_STEPS if self.options.proxy else SHORT_STEPS if row.group in SHORT_GROUPS else STEPS)

    def folder(self, row: Row, seed: int) -> Path:
        if row.name == "teacher":
            return self.work / "teacher" / str(seed)
        return self.work / f"{row.name}-{self.steps(row)}" / str(seed)

    def trained(self, row: Row) -> Row:
        """The row whose stage a row's file is made from: itself, unless it says another."""
        return next(r for r in ROWS if r.name == row.of) if row.of else row

    def teacher(self, row: Row) -> Row:
        """The row that teaches a row, and that it is held against."""
        return next(r for r in ROWS if r.name == row.teacher)

    def stage_folder(self, row: Row, seed: int) -> Path:
        row = self.trained(row)
        return self.folder(row, seed) / STAGE[row.section]

    def is_trained(self, row: Row, seed: int) -> bool:
        return (self.stage_folder(row, seed) / CONFIG).is_file()

    def train(self, row: Row, seed: int) -> bool:
        """Train a row, and its teacher before it. False where another process is at it."""
        row = self.trained(row)
        if self.is_trained(row, seed):
            return True
        teacher = self.teacher(row)
        if row.section == "distill" and not self.train(teacher, seed):
            return False
        folder = self.folder(row, seed)
        try:
            with claimed(folder):
                if not self.is_trained(row, seed):
                    recipe = recipe_of(row, seed, self.steps(row), str(self.folder(teacher, seed)))
                    print(f"# training {folder}", flush=True)
                    MAKE[row.section](OpenRun.open(recipe, folder, self.observer))
                return True
        except Busy:
            return False

    def file(self, row: Row, seed: int) -> Path:
        """The exported file of a row. Raises GanletError where it cannot be made here."""
        run, stage = self.folder(self.trained(row), seed), load_stage(self.stage_folder(row, seed))
        TARGETS["onnx"](stage, run, ExportOptions(), self.observer)
        if not row.of:
            return run / GENERATOR
        TARGETS["onnx"](stage, run, ExportOptions(precision="int8"), self.observer)
        if not (run / INT8).is_file():
            raise GanletError("not_verified: this version exports no int8 file; merge one that does.")
        return run / INT8

    def status(self) -> None:
        """What there is of each row, read from disk."""
        for row in self.rows:
            steps = "until it stops falling" if row is TEACHER else f"{self.steps(row)} steps"
            print(f"{row.name:24} {steps:22} " + "  ".join(self._state(row, s) for s in self.seeds))

    def _state(self, row: Row, seed: int) -> str:
        if self.is_trained(row, seed):
            return f"{seed}: trained"
        cost = self.stage_folder(row, seed) / "checkpoint" / "cost.json"
        return f"{seed}: at step {read_json(cost)['step']}" if cost.is_file() else f"{seed}: -"


TEACHER = next(row for row in ROWS if row.name == "teacher")


def chosen(names: str, tag: str, changes: dict[str, Any]) -> list[Row]:
    """The rows that a list of names means; with changes each gets the tag in its name."""
    known = {"all": list(ROWS)} | {row.name: [row] for row in ROWS}
    for row in ROWS:
        known.setdefault(row.group, []).append(row)
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise SystemExit(f"--rows {','.join(unknown)}: unknown; there are {', '.join(known)}")
    rows = list(dict.fromkeys(row for name in names.split(",") for row in known[name]))
    if not changes:
        return rows
    if not tag:
        raise SystemExit("--set makes other rows than the table's; give them a name with --tag")
    what = ", ".join(f"{key} = {value}" for key, value in changes.items())
    made = [row for row in rows if row.tables is not None]
    return [
        replace(row, name=f"{row.name}.{tag}", what=f"{row.name}, {what}", tables=changed(row.tables or {}, changes))
        for row in made
    ]


def numbers(word: str) -> list[int]:
    """Of 0,1,2."""
    return [int(seed) for seed in word.split(",")]


def change(word: str) -> tuple[str, Any]:
    """Of KEY=VALUE, the value as TOML writes it."""
    key, _, text = word.partition("=")
    return key, tomllib.loads(f"v = {text}")["v"]


def judge(bench: Bench, rows: Sequence[Row], samples: int) -> None:
    """Measure what is trained, and write the table of it."""
    judge = Judge(bench.work, samples, bench.observer, choosing=bench.options.choose)
    results: list[dict[str, Any]] = []
    for row in rows:
        for seed in bench.seeds:
            if not bench.is_trained(row, seed) or not bench.is_trained(bench.teacher(row), seed):
                continue
            teacher = bench.file(bench.teacher(row), seed)
            about = {"row": row.name, "what": row.what, "seed": seed, "group": row.group}
            try:
                path = bench.file(row, seed)
            except GanletError as error:
                results.append(about | {"not_verified": str(error)})
                continue
            training = load_stage(bench.stage_folder(row, seed)).training
            others = {"teacher": teacher} | {
                against: bench.folder(other, seed) / GENERATOR
                for against, other in (("basework", BASE), ("ablation-whole", WHOLE))
                if bench.is_trained(other, seed)
            }
            for other in (BASE, WHOLE):
                if bench.is_trained(other, seed):
                    bench.file(other, seed)
            if row.of:
                others["fp32"] = path.with_name(GENERATOR)
            spent = {key: training[key] for key in ("steps", "images", "seconds")}
            spent |= balance_of(bench.stage_folder(row, seed))
            results.append(about | spent | judge.figures(path, teacher, others))
    groups = dict.fromkeys(row.group for row in rows)
    sheets = {group: sheet_of(bench, judge, [*ROWS, *rows], group) for group in groups}
    about = {"samples": samples, "net": NET, "choosing": bench.options.choose}
    write_results(bench.options.out or bench.work, results, sheets, about, command_of(sys.argv))


def sheet_of(bench: Bench, judge: Judge, rows: Sequence[Row], group: str) -> dict[str, Any]:
    """Pictures of the first seed by row: held-out data, the teacher, and all of the group's rows that are trained."""
    seed = bench.seeds[0]
    shown = [row for row in dict.fromkeys(rows) if row is TEACHER or row.group == group]
    drawn = {row.name: judge.sheet(bench.file(row, seed)) for row in shown if bench.is_trained(row, seed)}
    return {"data": judge.data_sheet()} | drawn


def balance_of(stage: Path) -> dict[str, float]:
    """How often the critic scored a real picture above a drawn one, mean over the last half of the log."""
    logged = [json.loads(line) for line in (stage / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    found = [line["balance"] for line in logged if "balance" in line]
    return {"balance": fmean(found[len(found) // 2 :])} if found else {}


BASE = next(row for row in ROWS if row.name == "basework")
WHOLE = next(row for row in ROWS if row.name == "ablation-whole")


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = Path(os.environ.get("GANLET_CACHE", Path.home() / ".cache" / "ganlet"))
    parser.add_argument("--work", type=Path, default=home / "compression", help="folder of all runs, which resumes")
    parser.add_argument("--rows", default="all", help="all, a group (main, augmented, ablations, alpha), or names")
    parser.add_argument("--seeds", type=numbers, default="0,1,2")
    parser.add_argument("--steps", type=int, help="of every student, in place of the table's")
    parser.add_argument("--samples", type=int, help="pictures on each side of a distance")
    parser.add_argument("--proxy", action="store_true", help="short runs and fewer pictures, for choosing settings")
    parser.add_argument("--choose", action="store_true", help="judge on pictures and latents that no table reports")
    parser.add_argument("--set", nargs="*", type=change, default=[], metavar="KEY=VALUE", help="in the rows' section")
    parser.add_argument("--tag", default="", help="name of what --set makes")
    parser.add_argument("--status", action="store_true", help="print what there is and stop")
    parser.add_argument("--judge-only", action="store_true", help="train nothing; measure what is there")
    parser.add_argument("--out", type=Path, help="folder of the table, its JSON and the sheet; WORK unless told")
    return parser


def main() -> None:
    options = command_line().parse_args()
    bench = Bench(options)
    bench.status()
    if options.status:
        return
    for row in bench.rows:  # a fault in a row's recipe is found before hours of work
        if row.tables is not None:
            recipe_of(row, 0, bench.steps(row), "teacher")
    if not options.judge_only:
        for seed in bench.seeds:
            for row in bench.rows:
                if not bench.train(row, seed):
                    print(f"# {row.name} of seed {seed}: another process is at it", flush=True)
    judge(bench, bench.rows, options.samples or (PROXY_SAMPLES if options.proxy else SAMPLES))
    print(json.dumps({"rows": len(bench.rows), "seeds": bench.seeds}))


if __name__ == "__main__":
    main()
