"""What a Frechet distance of N pictures can tell: its bias, its interval, and which changes it detects.

    OMP_NUM_THREADS=1 nice python benchmarks/fidelity_power.py            # the same command again resumes
    OMP_NUM_THREADS=1 nice python benchmarks/fidelity_power.py --draws 5  # a quick look

The data are 32 x 32 kittens. The "teacher" is exported/kittens/generator.onnx, its 64 x 64 pictures halved by averaging
2 x 2 pixels. A "student" is the same pictures on the same latents, of which a fraction p is blurred (Gaussian, radius 1
pixel, Pillow): picture i is blurred where u_i < p, with u_i uniform and drawn once. p is found by bisection such that
the distance of the whole pool to the data is 5, 10 or 20 % above the teacher's: this is the true change. Every picture
is sent through the feature net once; then N latents and N pictures of the data are drawn from the pools, again and
again, each time without putting back. A change is detected where the whole 95 % interval of the paired change lies
above zero. Unpaired is the same with the student's pictures in another order, as if it had drawn other latents.

Read with care: (1) this student shares most of its pictures with its teacher to the bit, which is where pairing gains
most; a distilled student differs in all of them, so its interval lies between the paired and the unpaired one. (2) Both
distances of a change carry the same bias of small N, so the change in percent reads too low there. (3) Draws of 5,000
from a pool of 16,000 overlap: their standard deviation is 0.83 of what fresh pictures would show.

Extrapolation (Chong and Forsyth 2020): a line in 1/n through the distances at n = N, N/2 (mean of 2 parts) and N/4 (of
4 parts), read at 1/n = 0.
"""

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from ganlet.data import load_pictures
from ganlet.device import Sampler
from ganlet.files import write_bytes
from ganlet.metrics import (
    FeatureNet,
    Figure,
    extract,
    feature_net,
    frechet_distance,
    kernel_distance,
    moments,
    paired_change_percent,
)
from ganlet.metrics.frechet import frechet_influence
from ganlet.metrics.intervals import figure

Features = NDArray[np.float32]
Pictures = NDArray[np.uint8]
COUNTS = (250, 500, 1000, 2500, 5000)
CHANGES = (5, 10, 20)  # percent
BASE_WORK = 500  # the base work judged 500 pictures against 500
EXTRAPOLATED = 5  # draws of each N that are extrapolated: each costs seven more distances
POOL, CHUNK = 16_000, 500
SIDE = 32
GENERATOR = Path("exported/kittens/generator.onnx")


def halved(pictures: Pictures) -> Pictures:
    """uint8 (n, 3, 64, 64) -> (n, 3, 32, 32), the mean of 2 x 2 pixels."""
    n, channels, height, width = pictures.shape
    parts = pictures.reshape(n, channels, height // 2, 2, width // 2, 2).astype(np.float32)
    mean: Pictures = np.rint(parts.mean(axis=(3, 5))).astype(np.uint8)
    return mean


def blurred(pictures: Pictures) -> Pictures:
    """Gaussian blur, radius 1 pixel."""
    drawn = [Image.fromarray(p.transpose(1, 2, 0)).filter(ImageFilter.GaussianBlur(1)) for p in pictures]
    return np.stack([np.asarray(picture) for picture in drawn]).transpose(0, 3, 1, 2)


def sources() -> dict[str, Callable[[int], Pictures]]:
    """The three pools: CHUNK pictures (n, 3, 32, 32) from an index on."""
    data = load_pictures("kittens", size=SIDE, channels=3, count=2 * POOL, seed=1)
    sampler = Sampler(GENERATOR)

    def drawn(start: int) -> Pictures:
        return halved(sampler.images(start, CHUNK, 0).transpose(0, 3, 1, 2))

    return {
        "data": lambda start: np.asarray(data.pictures[start : start + CHUNK]),
        "data-2": lambda start: np.asarray(data.pictures[POOL + start : POOL + start + CHUNK]),
        "teacher": drawn,
        "blurred": lambda start: blurred(drawn(start)),
    }


def pools(cache: Path) -> dict[str, Features]:
    """Features (POOL, d) of every pool, kept in `cache` a chunk at a time."""
    found: dict[str, Features] = {}
    net: FeatureNet | None = None
    draw: dict[str, Callable[[int], Pictures]] = {}
    for name in ("data", "data-2", "teacher", "blurred"):
        parts = []
        for start in range(0, POOL, CHUNK):
            path = cache / f"{name}-{start}.npy"
            if not path.is_file():
                net, draw = net or feature_net("lite0"), draw or sources()
                cache.mkdir(parents=True, exist_ok=True)
                temporary = path.with_suffix(".part.npy")
                np.save(temporary, extract(net, [draw[name](start)]))
                temporary.replace(path)
            parts.append(np.load(path, allow_pickle=False))
        found[name] = np.concatenate(parts)
        print(f"# features of {name}: {found[name].shape}", flush=True)
    return found


def calibrated(pool: dict[str, Features], mixed: Callable[[float], Features]) -> dict[str, Any]:
    """For every change the fraction that is blurred, with the distances of whole pools."""
    data = moments(pool["data"])
    teacher = frechet_distance(moments(pool["teacher"]), data)
    fractions = {}
    for change in CHANGES:
        low, high = 0.0, 1.0
        whole = 100 * (frechet_distance(moments(mixed(high)), data) / teacher - 1)
        if whole < change:
            raise SystemExit(f"blurring every picture changes the distance by {whole:.1f} % only")
        for _ in range(9):
            middle = (low + high) / 2
            got = 100 * (frechet_distance(moments(mixed(middle)), data) / teacher - 1)
            low, high = (middle, high) if got < change else (low, middle)
        fraction = (low + high) / 2
        got = 100 * (frechet_distance(moments(mixed(fraction)), data) / teacher - 1)
        fractions[str(change)] = [fraction, got]
    none = frechet_distance(moments(pool["data-2"]), data)
    return {"teacher": teacher, "data-2": none, "fractions": fractions}


def interval_of(a: Features, b: Features, seed: int) -> Figure:
    return figure(*frechet_influence(a, b), seed=seed, least=0.0)


def extrapolated(a: Features, b: Features) -> float:
    """The distance at 1/n = 0 of the line through those at n = N, N/2 and N/4."""
    inverse, values = [], []
    for parts in (1, 2, 4):
        pairs = zip(np.array_split(a, parts), np.array_split(b, parts), strict=True)
        values.append(np.mean([frechet_distance(moments(x), moments(y)) for x, y in pairs]))
        inverse.append(parts / len(a))
    _, at_zero = np.polyfit(inverse, values, 1)
    return float(at_zero)


def one_draw(pool: dict[str, Features], students: dict[str, Features], count: int, draw: int) -> dict[str, Any]:
    """All figures of one draw of `count` latents and `count` pictures of the data."""
    rng = np.random.default_rng([count, draw])
    picked, real = rng.permutation(POOL)[:count], rng.permutation(POOL)[:count]
    data = pool["data"][real]
    teacher = interval_of(pool["teacher"][picked], data, draw)
    row: dict[str, Any] = {"count": count, "draw": draw, "teacher": teacher.interval.as_json()}
    for change, features in students.items():
        student = interval_of(features[picked], data, draw)
        order = rng.permutation(count)
        shuffled = replace(student, a_influence=student.a_influence[order])
        row[f"paired {change}"] = paired_change_percent(student, teacher, draw).as_json()
        row[f"unpaired {change}"] = paired_change_percent(shuffled, teacher, draw).as_json()
    row["none"] = frechet_distance(moments(pool["data-2"][picked]), moments(data))
    row["kid"] = kernel_distance(pool["teacher"][picked], data)
    if draw < EXTRAPOLATED:
        row["extrapolated"] = extrapolated(pool["teacher"][picked], data)
        row["none extrapolated"] = extrapolated(pool["data-2"][picked], data)
    return row


def tables(rows: list[dict[str, Any]], truth: dict[str, Any]) -> None:
    """Print what the draws say."""
    of = {count: [row for row in rows if row["count"] == count] for count in COUNTS}
    print("\nDistance of the teacher to the data, and of data to other data; lite0 features; mean over draws (SD)")
    print(f"all {POOL:,} against {POOL:,}: {truth['teacher']:.1f}; data to data: {truth['data-2']:.2f} (truly 0)\n")
    print(f"{'N':>5} {'draws':>5} {'distance':>9} {'SD':>6} {'95 % interval, mean':>21} {'bias':>7} {'1/N to 0':>9} "
          f"{'SD':>6} {'data to data':>13} {'1/N to 0':>9} {'KID':>7}")  # fmt: skip
    for count, found in of.items():
        if not found:
            continue
        value, low, high = (np.array([row["teacher"][key] for row in found]) for key in ("value", "low", "high"))
        line, none_line = ([r[key] for r in found if key in r] for key in ("extrapolated", "none extrapolated"))
        none, kid = (np.mean([row[key] for row in found]) for key in ("none", "kid"))
        print(f"{count:5} {len(found):5} {value.mean():9.1f} {value.std(ddof=1):6.1f} {low.mean():9.1f} to "
              f"{high.mean():8.1f} {value.mean() - truth['teacher']:+7.1f} {np.mean(line):9.1f} "
              f"{np.std(line, ddof=1):6.1f} {none:13.1f} {np.mean(none_line):9.1f} {kid:7.3f}")  # fmt: skip
    print("\nHow often a true change is detected (the whole paired 95 % interval above 0), the mean half width of the")
    print("interval, how often it holds the true change, and the same on other latents (unpaired)\n")
    print(f"{'N':>5} {'true change':>12} {'reads':>8} {'detected':>9} {'half width':>11} {'holds truth':>12} "
          f"{'unpaired: detected':>19} {'half width':>11}")  # fmt: skip
    for count, found in of.items():
        for change, (_, true) in truth["fractions"].items() if found else ():
            paired, unpaired = ([row[f"{kind} {change}"] for row in found] for kind in ("paired", "unpaired"))
            detected, alone = (sum(i["low"] > 0 for i in intervals) for intervals in (paired, unpaired))
            half, wide = (np.mean([(i["high"] - i["low"]) / 2 for i in some]) for some in (paired, unpaired))
            reads = np.mean([i["value"] for i in paired])
            holds = sum(i["low"] <= true <= i["high"] for i in paired)
            print(f"{count:5} {true:10.1f} % {reads:+6.1f} % {detected:4}/{len(found):<4} {half:9.2f} % "
                  f"{holds:7}/{len(found):<4} "
                  f"{alone:14}/{len(found):<4} {wide:9.2f} %")  # fmt: skip
    first = next((row for row in of[BASE_WORK] if row["draw"] == 0), None)
    if first:
        known = first["teacher"]
        print(f"\nThe base work's protocol, {BASE_WORK} against {BASE_WORK} (lite0 here), first draw:")
        print(f"  {known['value']:.1f} ({known['low']:.1f} to {known['high']:.1f})")
        for change in truth["fractions"]:
            paired = first[f"paired {change}"]
            told = "detected" if paired["low"] > 0 else "not told from none"
            print(f"  a true change of {change} % reads {paired['value']:+.1f} % ({paired['low']:+.1f} to "
                  f"{paired['high']:+.1f}): {told}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = Path(os.environ.get("GANLET_CACHE", Path.home() / ".cache" / "ganlet"))
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--cache", type=Path, default=home / "fidelity_power", help="folder that makes it resumable")
    options = parser.parse_args()
    pool = pools(options.cache)
    u = np.random.default_rng(0).random(POOL)

    def mixed(fraction: float) -> Features:
        return np.where((u < fraction)[:, None], pool["blurred"], pool["teacher"])

    path = options.cache / "truth.json"
    if not path.is_file():
        write_bytes(path, json.dumps(calibrated(pool, mixed)).encode())
    truth = json.loads(path.read_text())
    for change, (fraction, got) in truth["fractions"].items():
        print(f"# a change of {change} %: {fraction:.2%} of the pictures blurred; on the whole pool {got:+.2f} %")
    students = {change: mixed(fraction) for change, (fraction, _) in truth["fractions"].items()}
    log = options.cache / "draws.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    known = {(row["count"], row["draw"]) for row in rows}
    for draw in range(options.draws):
        for count in COUNTS:
            if (count, draw) not in known:
                rows.append(one_draw(pool, students, count, draw))
                with log.open("a") as stream:
                    stream.write(json.dumps(rows[-1]) + "\n")
        print(f"# draw {draw + 1} of {options.draws} is complete", flush=True)
    rows = [row for row in rows if row["draw"] < options.draws]
    tables(rows, truth)
    weakest = {str(n): sum(r["paired 5"]["low"] > 0 for r in rows if r["count"] == n) for n in COUNTS}
    print(json.dumps({"draws": options.draws, "pool": POOL, "five_percent_detected": weakest}))


if __name__ == "__main__":
    main()
