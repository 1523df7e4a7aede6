"""What the indicators of collapse say of a teacher that is made to collapse on purpose: the reason of their thresholds.

    ganlet run recipes/kittens-quick.toml && OMP_NUM_THREADS=1 nice python benchmarks/collapse_warnings.py

The "students" are the run's own teacher with its latents changed on their way: shrunk, cut to the first few numbers
(the rest 0), or moved to the nearest of a few centres with a third of their own value left. The run's true student is
the first line. Printed are the changes against the teacher in percent with their 95 % intervals, on the same latents,
and whether `ganlet verify` would warn. Movement jumps where a latent crosses from one centre to the next.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.artifact import load_stage
from ganlet.data import load_pictures
from ganlet.device.feed import Feed, latent_dim
from ganlet.device.runner import Runner
from ganlet.recipe import load_recipe
from ganlet.verify.fidelity import choose_reference, measure_fidelity
from ganlet.verify.torch_runner import TorchRunner
from ganlet.verify.variety import LEAST_CHANGE_PERCENT, VarietyResult, measure_variety

Latents = NDArray[np.float32]


class Changed:
    """A runner whose latents are changed before it draws."""

    provider = "CPUExecutionProvider"
    name = "changed"

    def __init__(self, runner: TorchRunner, change: Callable[[Latents], NDArray[Any]]) -> None:
        self.runner, self.change = runner, change
        self.ports, self.picture_shape = runner.ports, runner.picture_shape

    def __call__(self, feed: Feed) -> NDArray[np.float32]:
        return self.runner(feed | {"z": self.change(feed["z"]).astype(np.float32)})


def shrunk(factor: float) -> Callable[[Latents], NDArray[Any]]:
    return lambda z: z * factor


def cut(kept: int) -> Callable[[Latents], NDArray[Any]]:
    return lambda z: np.where(np.arange(z.shape[1]) < kept, z, 0.0)


def gathered(count: int, latent: int) -> Callable[[Latents], NDArray[Any]]:
    centres = np.random.default_rng(0).standard_normal((count, latent))
    return lambda z: centres[(z @ centres.T - np.square(centres).sum(axis=1) / 2).argmax(axis=1)] + z / 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", default=Path("exported/kittens-quick"))
    parser.add_argument("--samples", type=int, default=500)
    options = parser.parse_args()
    recipe = load_recipe(options.run / "recipe.toml")
    data = recipe.data
    pictures = load_pictures(data.source, size=data.size, channels=data.channels, count=data.count, seed=data.seed)
    teacher = TorchRunner.of_stage(load_stage(options.run / "teacher"))
    latent = latent_dim(teacher.ports)
    students: dict[str, Runner] = {"its true student": TorchRunner.of_stage(load_stage(options.run / "student"))}
    students |= {f"latents x {factor}": Changed(teacher, shrunk(factor)) for factor in (0.8, 0.5, 0.3)}
    students |= {f"{n} of {latent} numbers": Changed(teacher, cut(n)) for n in (latent // 2, latent // 4, latent // 8)}
    students |= {f"{count} centres": Changed(teacher, gathered(count, latent)) for count in (100, 20, 5)}
    runners: dict[str, Runner] = {"teacher": teacher, **students}
    reference = choose_reference(pictures, data.holdout, data.seed, options.samples)
    fidelity = measure_fidelity(
        runners, reference, net_name="lite0", samples=options.samples, seed=0, progress=lambda done, total: None
    )
    found = measure_variety(fidelity, runners, reference, 0)
    print(f"{'student':18} {'distance':>9} " + " ".join(f"{key:>22}" for key in LEAST_CHANGE_PERCENT) + "  warns")
    limits = " ".join(f"{f'warns below {limit:+.0f}':>22}" for limit in LEAST_CHANGE_PERCENT.values())
    print(f"{'':28} {limits}")
    warned = []
    for name in students:
        changes = found.change_percent[name]
        cells = [f"{c.value:+.0f} ({c.low:+.0f} to {c.high:+.0f})" for c in (changes[k] for k in LEAST_CHANGE_PERCENT)]
        alone = VarietyResult(
            {"teacher": found.subjects["teacher"], "student": found.subjects[name]}, {"student": changes}
        )
        warned += [name] * bool(alone.warnings())
        distance = fidelity.change_percent[name].value
        line = f"{name:18} {distance:+7.1f} % " + " ".join(f"{cell:>22}" for cell in cells)
        print(f"{line}  {'yes' if alone.warnings() else 'no'}")
    print(json.dumps({"samples": options.samples, "warned": warned}))


if __name__ == "__main__":
    main()
