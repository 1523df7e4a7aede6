"""The figures that the absolute checks of a verdict rest on: of good runs, and of failures that are staged.

    nice python benchmarks/absolute_checks.py RUN ... [--out benchmarks/results/absolute_checks.txt]

RUN are verified runs: their rows are read from report.json. exported/kittens, which comes without its teacher, and the
staged failures are measured here: on kittens of 32 pixels and digits of 16, at 500 and at 64 pictures. Shares are of
what the data have; "x one" is the distance to the data in units of that of one picture drawn for every latent, "x data"
in units of that of other pictures of the data; "place" is 0 at those and 1 at the one picture.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganlet.data import PictureSet, load_pictures
from ganlet.device.feed import Feed, z_port
from ganlet.device.latents import latents
from ganlet.device.open import open_runner
from ganlet.device.runner import Runner
from ganlet.files import read_json
from ganlet.metrics import extract, feature_net
from ganlet.models.families import build_generator
from ganlet.recipe import load_recipe
from ganlet.training.plan import teacher_plan
from ganlet.verify.absolute import absolute_checks, doubts
from ganlet.verify.fidelity import HELD_OUT, Reference, measure_fidelity
from ganlet.verify.standing import Standing, Standings, measure_standings
from ganlet.verify.torch_runner import TorchRunner
from ganlet.verify.variety import measure_variety

ROOT = Path(__file__).parents[1]
Pictures = NDArray[np.uint8]
COLUMNS = ("spread", "rank", "distinct", "pixels", "contrast")


class Drawn:
    """A runner that draws given pictures, one for each latent of seed 0."""

    provider, ports = "CPUExecutionProvider", (z_port(8),)

    def __init__(self, name: str, pictures: Pictures) -> None:
        self.name, self.pictures, self.picture_shape = name, pictures, pictures.shape[1:]
        self.places = {z.tobytes(): place for place, z in enumerate(latents(0, 0, len(pictures), 8))}

    def __call__(self, feed: Feed) -> NDArray[np.float32]:
        chosen = self.pictures[[self.places.get(row.tobytes(), 0) for row in feed["z"]]]
        return (chosen.astype(np.float32) / 127.5 - 1).astype(np.float32)


def staged(real: Pictures, rng: np.random.Generator) -> Iterator[tuple[str, Pictures]]:
    """Failures, as pictures (n, C, H, W); `real` are pictures of the data."""
    n, channels = real.shape[:2]
    yield "one picture", np.repeat(real[:1], n, 0)
    yield "grey", np.full_like(real, 127)
    yield "black", np.zeros_like(real)
    yield "mean of the data", np.repeat(real.mean(axis=0, keepdims=True).astype(np.uint8), n, 0)
    yield "two modes", real[rng.integers(0, 2, n)]
    yield "twelve doubles", real[rng.integers(0, 12, n)]
    yield "one colour each", np.broadcast_to(rng.integers(0, 256, (n, channels, 1, 1)), real.shape).astype(np.uint8)
    yield "noise", rng.integers(0, 256, real.shape).astype(np.uint8)
    yield "saturated noise", (255 * rng.integers(0, 2, real.shape)).astype(np.uint8)
    yield "pixels shuffled", rng.permuted(real.reshape(n, channels, -1), axis=2).reshape(real.shape)
    yield "contrast 1/20", (127 + (real - 127.0) / 20).astype(np.uint8)
    yield "one and rounding", (real[:1] // 2 + rng.integers(0, 2, real.shape)).astype(np.uint8)


def measured(runners: Mapping[str, Runner], reference: Pictures, training: Pictures) -> Standings:
    pictures = PictureSet(reference, None, (), "", "folder", (), "")  # type: ignore[arg-type]
    given = Reference(HELD_OUT, pictures, np.arange(len(reference)))
    fidelity = measure_fidelity(
        runners, given, net_name="lite0", samples=len(reference), seed=0, progress=lambda done, total: None
    )
    variety = measure_variety(fidelity, runners, given, 0, stepped=list(runners))
    return measure_standings(fidelity, variety, HELD_OUT, extract(feature_net("lite0"), [training]), 0)


def row(name: str, standing: Standing, one: float, data: float, verdict: str) -> str:
    shares = "".join(f"{100 * standing.shares.get(key, float('nan')):9.0f}" for key in COLUMNS)
    place = float("nan") if standing.position is None else standing.position
    times = standing.distance / data if data else float("nan")
    return f"{name:<44}{shares}{standing.distance / one:8.2f}{times:8.1f}{place:8.2f}  {verdict}"


def verdict_of(name: str, standings: Standings) -> str:
    alone = replace(standings, subjects={name: standings.subjects[name]})
    if any(check.status == "failed" for check in absolute_checks(alone)):
        return "failed"
    return "warned" if doubts(alone) else "passed"


def of_run(run: Path) -> Iterator[str]:
    """The rows of a verified run."""
    report = read_json(run / "report.json")
    against, checks = report["against_data"], report["checks"]
    figures = {name: stage["quality"] for name, stage in report["stages"].items()}
    figures |= {artifact["path"]: artifact["quality"] for artifact in report["artifacts"] if "quality" in artifact}
    for name, subject in against["subjects"].items():
        distance = next(value["value"] for key, value in figures[name].items() if key.startswith("fd_"))
        standing = Standing(subject["share_of_data"], 1.0, distance, subject["position"])
        own = [check for check in checks if check["name"] in (f"variety of {name}", f"distance of {name} to the data")]
        warned = any(text.startswith(f"{name}: ") or f"{name} " in text for text in report["warnings"])
        verdict = "failed" if any(check["status"] == "failed" for check in own) else "warned" if warned else "passed"
        yield row(f"{run.name} {name}", standing, against["one_picture"], against["data_to_data"], verdict)


def of(title: str, standings: Standings) -> Iterator[str]:
    for name, standing in standings.subjects.items():
        data = standings.data_to_data or 0.0
        yield row(f"{title} {name}", standing, standings.one_picture, data, verdict_of(name, standings))


def untrained(recipe: Path) -> Runner:
    """The teacher of a recipe before its first step."""
    return TorchRunner(build_generator(teacher_plan(load_recipe(recipe)).generator), "untrained")


def table(runs: list[Path]) -> Iterator[str]:
    yield f"{'':<44}{''.join(f'{key:>9}' for key in COLUMNS)}{'x one':>8}{'x data':>8}{'place':>8}"
    yield "good runs"
    for run in runs:
        yield from of_run(run)
    large = np.asarray(load_pictures("kittens", size=64, channels=3, count=1000, seed=5).pictures)
    files = {
        name: open_runner(ROOT / "exported" / "kittens" / name) for name in ("generator.onnx", "generator.int8.onnx")
    }
    yield from of("exported/kittens", measured(files, large[:500], large[500:]))
    for source, size, channels, recipe in (
        ("kittens", 32, 3, "kittens-quick.toml"),
        ("digits", 16, 1, "digits-smoke.toml"),
    ):
        pictures = np.asarray(load_pictures(source, size=size, channels=channels, count=1500, seed=0).pictures)  # type: ignore[arg-type]
        pictures = pictures[np.random.default_rng(1).permutation(1500)]
        for n in (500, 64):
            real = pictures[2 * n : 3 * n]
            runners: dict[str, Runner] = {
                name: Drawn(name, some) for name, some in staged(real, np.random.default_rng(0))
            }
            runners |= {"untrained": untrained(ROOT / "recipes" / recipe), "(other data)": Drawn("data", real)}
            yield f"staged on {source}, {n} pictures"
            yield from of(f"{source} {n}", measured(runners, pictures[:n], pictures[n : 2 * n]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    lines = []
    for line in table(given.runs):
        print(line, flush=True)
        lines.append(line)
    if given.out:
        given.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
