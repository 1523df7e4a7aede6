"""`ganlet fid` against pytorch-fid: the same pictures and seeded Inception weights, both tools' own defaults.

    python benchmarks/fid.py                             # 1,000 against 1,000 pictures of 64 x 64, three rounds
    python benchmarks/fid.py --count 64 --rounds 1 --neighbours 2000   # all of it in two minutes

Each call is a fresh process, and the tools take turns; what is printed are medians and their ratios, of seconds by the
clock and of processor seconds, which other work on the machine disturbs less. The original weights are a download, so
both get the same file of random ones: the arithmetic is the same, the figure means nothing. Needs the extra `test`
(pytorch-fid's own distance needs SciPy below 1.18).
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_fid import fid_score
from pytorch_fid import inception as published

from ganlet.data import load_pictures, write_folder
from ganlet.metrics.frechet import Moments, frechet_distance, moments
from ganlet.metrics.inception_weights import FILE_NAME

Features = np.ndarray[Any, np.dtype[np.float32]]
SIZE_PX = 64
NEIGHBOURS = """
import json, resource, sys, time
import numpy as np
from ganlet.metrics.neighbourhoods import neighbourhoods

generator = np.random.default_rng(0)
a, b = (generator.standard_normal((int(sys.argv[1]), 2048), dtype=np.float32) for _ in range(2))
started = time.perf_counter()
found = neighbourhoods(a, b)
seconds = time.perf_counter() - started
peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
print(json.dumps({"pictures": len(a), "seconds": round(seconds, 2), "peak_mb": round(peak_mb)}))
"""


def seeded_weights(path: Path) -> None:
    """A file with the names and shapes of the original weights, scaled so that features stay of order one."""
    kept = (published.load_state_dict_from_url, torch.nn.Module.load_state_dict)
    try:  # pytorch-fid's own constructor, without its download
        published.load_state_dict_from_url = lambda *args, **kwargs: {}
        torch.nn.Module.load_state_dict = lambda *args, **kwargs: None  # type: ignore[method-assign]
        net = published.fid_inception_v3()
    finally:
        published.load_state_dict_from_url, torch.nn.Module.load_state_dict = kept  # type: ignore[method-assign]
    generator = torch.Generator().manual_seed(0)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.data.normal_(0, (2 / module.weight[0].numel()) ** 0.5, generator=generator)
        elif isinstance(module, torch.nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
    path.parent.mkdir(parents=True)
    torch.save(net.state_dict(), path)


class Tools:
    """The two command lines on folders of pictures below `root`."""

    def __init__(self, root: Path, count: int) -> None:
        self.root = root
        self.weights = root / "torch" / "hub" / "checkpoints" / FILE_NAME  # where pytorch-fid would have put its own
        self.environment = os.environ | {"TORCH_HOME": str(root / "torch"), "GANLET_CACHE": str(root / "cache")}
        seeded_weights(self.weights)
        for name, source, seed in (("a", "kittens", 0), ("b", "monsters", 0), ("c", "kittens", 1)):
            pictures = load_pictures(
                source,  # type: ignore[arg-type]
                size=SIZE_PX,
                channels=3,
                count=count,
                seed=seed,
                cache_dir=root / "data",
            )
            write_folder(pictures, root / name, count)

    def theirs(self) -> tuple["Cost", float]:
        """Cost and the distance of a and b by pytorch-fid."""
        cost, out = self._run("-m", "pytorch_fid", str(self.root / "a"), str(self.root / "b"))
        return cost, float(out.split("FID:")[1])

    def ours(self, a: str, b: str) -> tuple["Cost", float]:
        """Cost and the distance of two folders by ganlet."""
        words = ["-m", "ganlet.cli", "fid", str(self.root / a), str(self.root / b), "--features", "inception", "--json"]
        cost, out = self._run(*words, "--weights", str(self.weights), "--weights-name", "seeded")
        (figure,) = json.loads(out.splitlines()[-1])["figures"].values()
        return cost, float(figure["value"])

    def forget(self) -> None:
        shutil.rmtree(self.root / "cache", ignore_errors=True)

    def features(self) -> list[Features]:
        """What ganlet has kept, in no particular order."""
        return [np.load(path) for path in sorted((self.root / "cache" / "features").glob("*.npy"))]

    def _run(self, *words: str) -> tuple["Cost", str]:
        started, before = time.perf_counter(), _children_seconds()
        done = subprocess.run(
            [sys.executable, *words], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
        return Cost(time.perf_counter() - started, _children_seconds() - before), done.stdout


@dataclass(frozen=True)
class Cost:
    """Seconds by the clock, and of processors, of one process and its children."""

    clock_s: float
    processor_s: float

    def __str__(self) -> str:
        return f"{self.clock_s:.1f} s ({self.processor_s:.0f} processor s)"


def whole(tools: Tools, rounds: int, result: dict[str, Any]) -> list[Features]:
    """The command lines, start to end. Returns the features of a and b."""
    taken: dict[str, list[Cost]] = {"theirs": [], "first": [], "again": [], "data cached": []}
    for number in range(1, rounds + 1):
        tools.forget()
        theirs, their_value = tools.theirs()
        first, value = tools.ours("a", "b")
        kept = tools.features()
        again, same = tools.ours("a", "b")
        cached, _ = tools.ours("c", "b")
        assert value == same, "cached statistics gave another figure"
        for name, cost in zip(taken, (theirs, first, again, cached), strict=True):
            taken[name].append(cost)
        print(
            f"round {number}: pytorch-fid {theirs}, ganlet {first}, the same call again {again}, new pictures against "
            f"the cached set {cached}; distance {their_value:.6f} and {value:.6f}",
            flush=True,
        )
    result["value_relative_difference"] = abs(value / their_value - 1)
    for unit in ("clock_s", "processor_s"):
        median = {name: statistics.median(getattr(cost, unit) for cost in costs) for name, costs in taken.items()}
        ratios = {
            "whole": median["first"] / median["theirs"],
            "data cached": median["data cached"] / median["first"],
            "again": median["again"] / median["first"],
        }
        result[unit] = {name: round(seconds, 1) for name, seconds in median.items()}
        result[f"ratios of {unit}"] = {name: round(ratio, 3) for name, ratio in ratios.items()}
        print(
            f"whole, {unit}: {ratios['whole']:.2f} of pytorch-fid's; with the data's statistics cached "
            f"{ratios['data cached']:.2f} of the first call, with those of both sides {ratios['again']:.2f}"
        )
    return kept


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def distance(a: Moments, b: Moments, rounds: int, result: dict[str, Any]) -> None:
    """The distance of two sets of moments, in this process."""
    their_seconds, our_seconds = [], []
    for _ in range(rounds):
        taken, theirs = _timed(
            lambda: float(fid_score.calculate_frechet_distance(a.mean, a.covariance, b.mean, b.covariance))
        )
        their_seconds.append(taken)
        taken, ours = _timed(lambda: frechet_distance(a, b))
        our_seconds.append(taken)
    ratio = statistics.median(our_seconds) / statistics.median(their_seconds)
    result |= {
        "distance_seconds": {
            "theirs": round(statistics.median(their_seconds), 2),
            "ours": round(statistics.median(our_seconds), 2),
        },
        "distance_ratio": round(ratio, 3),
        "distance_relative_difference": abs(ours / theirs - 1),
    }
    print(
        f"distance of {a.count} and {b.count} pictures in {len(a.mean)} features: pytorch-fid "
        f"{statistics.median(their_seconds):.2f} s, ganlet {statistics.median(our_seconds):.2f} s, {ratio:.3f} of it"
    )


def feature_difference(tools: Tools, kept: list[Features]) -> float:
    """Largest difference of a feature of a picture from pytorch-fid's, over the features' largest value."""
    download = published.load_state_dict_from_url
    published.load_state_dict_from_url = lambda *args, **kwargs: torch.load(tools.weights, weights_only=True)
    net = published.InceptionV3([3]).eval()
    published.load_state_dict_from_url = download
    files = sorted((tools.root / "a").glob("*.png"))[:32]
    theirs = fid_score.get_activations(files, net, batch_size=16)
    differences = [np.abs(own[: len(files)] - theirs).max() for own in kept]  # one of the two is a
    return float(min(differences) / np.abs(theirs).max())


def neighbours_in_a_fresh_process(count: int, result: dict[str, Any]) -> None:
    done = subprocess.run([sys.executable, "-c", NEIGHBOURS, str(count)], capture_output=True, text=True, check=True)
    result["neighbours"] = json.loads(done.stdout.splitlines()[-1])
    seconds, peak_mb = result["neighbours"]["seconds"], result["neighbours"]["peak_mb"]
    print(f"precision, recall, density, coverage of {count} against {count}: {seconds:.1f} s, peak {peak_mb:.0f} MB")


def _timed(work: Callable[[], float]) -> tuple[float, float]:
    started = time.perf_counter()
    value = work()
    return time.perf_counter() - started, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="pictures a side")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--neighbours", type=int, default=10_000, help="pictures a side for precision and recall")
    options = parser.parse_args()
    result: dict[str, Any] = {"torch": torch.__version__, "threads": torch.get_num_threads(), "count": options.count}
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.count} pictures a side, {SIZE_PX} px"
    )
    with tempfile.TemporaryDirectory() as folder:
        tools = Tools(Path(folder), options.count)
        kept = whole(tools, options.rounds, result)
        a, b = (moments(features) for features in kept)
        distance(a, b, options.rounds, result)
        result["feature_difference"] = feature_difference(tools, kept)
        print(f"features: {result['feature_difference']:.1e} of the largest apart from pytorch-fid's")
    neighbours_in_a_fresh_process(options.neighbours, result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
