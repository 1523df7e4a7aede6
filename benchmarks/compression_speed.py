"""What the small generators of `compression.py` gain in speed over the base work's student, on the files it has made.

    python benchmarks/compression_speed.py                # on a quiet machine, after compression.py --rows main

Each file is a row of `ganlet bench`: a process of its own, 2 threads, batch 1 and 16, all in turns in one run; ratios
of pictures per second with an interval over the rounds. Claims are printed with pass or miss, at batch 1.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from compression import Bench, command_line
from compression_rows import ROWS
from ganlet.commands.bench import Settings, measure_subjects, notes, rows_table, subjects_of
from ganlet.commands.bench.plan import Subject
from ganlet.device.ratios import median_interval
from ganlet.ui import Terminal

PARTS = ("ours-10", "ours-12", "ours-20", "ours-30", "augmented-12-wide")
FILES = ("teacher", "basework", "ours-same", *PARTS, *(f"{part}-int8" for part in PARTS))
EAGER = "basework in torch"


@dataclass(frozen=True)
class Claim:
    """`row` draws at least `least` times the pictures per second of `to`."""

    row: str
    to: str
    least: float


CLAIMS = tuple(
    claim
    for part in PARTS
    for claim in (
        Claim(f"{part}-int8", EAGER, 10.0),
        Claim(f"{part}-int8", "basework", 3.0),
        Claim(f"{part}-int8", part, 1.4),
    )
)


def subjects(bench: Bench, seed: int, settings: Settings) -> list[Subject]:
    """The rows that are trained, by their names, and the base work's student in torch."""
    rows = {row.name: row for row in ROWS}
    trained = [name for name in FILES if bench.is_trained(bench.trained(rows[name]), seed)]
    paths = {name: bench.file(rows[name], seed) for name in trained}
    if "basework" in paths:
        paths = {EAGER: bench.stage_folder(rows["basework"], seed)} | paths
    named = {path.resolve(): name for name, path in paths.items()}
    made = subjects_of(list(paths.values()), settings)
    return [replace(subject, name=named[subject.path.resolve()]) for subject in made]


def sentence(claim: Claim, document: dict[str, Any], batch: int) -> dict[str, Any]:
    """The claim with its figure; one whose rows were not measured is missed."""
    rounds = {r["artefact"]: r["round_p50_ms"] for r in document["rows"] if r["batch"] == batch and not r["reason"]}
    text = f"{claim.row} against {claim.to}, batch {batch}, at least {claim.least:g}x"
    if claim.row not in rounds or claim.to not in rounds:
        return {"claim": text, "holds": False, "reason": "not measured"}
    ratio = median_interval([to / own for own, to in zip(rounds[claim.row], rounds[claim.to], strict=True)])
    return {"claim": text, "holds": ratio.value >= claim.least} | ratio.as_json()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=Path, default=command_line().get_default("work"), help="folder of compression.py's runs"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="of the students, where compression.py was told as many")
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    steps = [] if options.steps is None else ["--steps", str(options.steps)]
    bench = Bench(command_line().parse_args(["--work", str(options.work), *steps]))
    settings = Settings((1, 16), 2, runs=400, rounds=options.rounds, round_seconds=0.5, providers=("cpu",))
    document = measure_subjects(subjects(bench, options.seed, settings), settings, Terminal())
    machine = document["machine"]
    print(f"\n{machine['cores']} cores, {settings.threads} threads, load {machine['load']:.1f} before\n")
    Console(width=132).print(rows_table(document))
    print("\n".join(notes(document)) + "\n")
    claims = [sentence(claim, document, batch) for batch in settings.batches for claim in CLAIMS]
    for found in claims:
        figure = f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})" if "value" in found else "-"
        print(f"{'pass' if found['holds'] else 'miss'}  {found['claim']}: {figure}")
    for row in document["rows"]:
        del row["path"]
    print(json.dumps(document | {"claims": claims}))


if __name__ == "__main__":
    main()
