"""Fidelity: how far the pictures of each stage and of the exported file are from the data, on the same latents."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.data import PictureSet
from ganlet.data.pictures import Draw, permutation
from ganlet.device import Sampler
from ganlet.device.feed import feed_at, find_port
from ganlet.device.pictures import to_uint8
from ganlet.device.runner import Runner
from ganlet.errors import GanletError
from ganlet.metrics import Fidelity, Interval, compare, extract, feature_net, paired_change_percent
from ganlet.metrics.contents import PixelSpread
from ganlet.verify.checks import Check, spread_text, surely_at_most
from ganlet.verify.store import MeasurementStore

CHUNK = 256
HELD_OUT, TRAINED_ON = "held-out pictures", "training pictures"
BASELINES = ("teacher", "transfer")  # a transferred GAN is the teacher of a student that is distilled from it
Progress = Callable[[int, int], None]
Features = NDArray[np.float32]


@dataclass(frozen=True)
class Reference:
    """The pictures to be like: those that training never saw, or all of them where none are held out."""

    kind: str
    pictures: PictureSet
    indices: NDArray[np.int64]

    def labels(self, samples: int) -> NDArray[np.int64] | None:
        """Labels (samples,) in the proportions of these pictures, which a conditional generator is asked for.

        None where the pictures have none.
        """
        if self.pictures.labels is None:
            return None
        own = np.sort(self.pictures.labels[self.indices])
        order = permutation(samples, Draw.ORDER, samples)  # some look at the first few alone
        return np.asarray(own[order * len(own) // samples], np.int64)

    def chunks(self) -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(self.indices), CHUNK):
            yield np.asarray(self.pictures.pictures[self.indices[start : start + CHUNK]])


def choose_reference(pictures: PictureSet, holdout: float, seed: int, samples: int) -> Reference:
    """At most `samples` held-out pictures; of the training pictures where the recipe holds none out."""
    train, held = pictures.split(holdout, seed)
    if len(held) >= 2:
        return Reference(HELD_OUT, pictures, evenly(held, samples))
    return Reference(TRAINED_ON, pictures, evenly(train, samples))


def evenly(indices: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most `count` of sorted `indices`, evenly over all: a folder's first pictures may all be of one kind."""
    if len(indices) <= count:
        return indices
    return indices[np.arange(count) * len(indices) // count]


@dataclass(frozen=True)
class FidelityResult:
    """Figures by subject ("teacher", "student", "generator.onnx", ...)."""

    to_data: Mapping[str, Fidelity]
    to_teacher: Mapping[str, Fidelity]
    change_percent: Mapping[str, Interval]
    """Change of the Frechet distance to the data against the baseline's, on paired latents."""
    baseline: str | None
    """The subject that the others are to keep up with, one of BASELINES."""
    features: Mapping[str, Features]
    """Features (samples, d) of every subject's pictures, in the order of their latents."""
    data: Features
    """Features (pictures, d) of the reference."""
    pixels: Mapping[str, PixelSpread]
    """What the pictures of every subject, and of the reference as "data", hold in pixel space."""


def measure_fidelity(
    runners: Mapping[str, Runner],
    reference: Reference,
    *,
    net_name: str,
    samples: int,
    seed: int,
    progress: Progress,
    store: MeasurementStore | None = None,
    drawn_by: Mapping[str, str] | None = None,
) -> FidelityResult:
    """Distances of `samples` pictures of every runner to the data and, where there is one, to the teacher.

    The teacher of a student is the stage "teacher" or, in a run that transfers first, the stage "transfer".
    What `store` holds is not drawn or measured again. `drawn_by` is the hash of the file that each runner is of.
    """
    store, drawn_by = store or MeasurementStore(), drawn_by or {}
    net = store.net(feature_net(net_name))
    in_all = len(reference.indices) + samples * len(runners)
    done = 0

    def tell(now: int) -> None:
        progress(done + now, in_all)

    pixels = {name: PixelSpread() for name in ("data", *runners)}
    data = extract(net, pixels["data"].watch(reference.chunks()), tell)
    done += len(data)
    features: dict[str, Features] = {}
    for name, runner in runners.items():
        pictures = pixels[name].watch(judged(runner, reference, seed, samples, store, drawn_by.get(name)))
        features[name] = extract(net, pictures, tell)
        done += samples
    to_data = {name: compare(f, data, net=net_name, seed=seed) for name, f in features.items()}
    baseline = next((name for name in BASELINES if name in features), None)
    others = [name for name in features if name != baseline] if baseline else []
    to_teacher = {
        n: compare(features[n], features[baseline], net=net_name, seed=seed, same_latents=True)
        for n in others
        if baseline
    }
    changes = {
        n: change for n in others if baseline and (change := distance_change(to_data[n], to_data[baseline], seed))
    }
    return FidelityResult(to_data, to_teacher, changes, baseline, features, data, pixels)


def distance_change(subject: Fidelity, baseline: Fidelity, seed: int) -> Interval | None:
    """Change of the distance in percent; None where the baseline's cannot be told from 0."""
    try:
        return paired_change_percent(subject.fd, baseline.fd, seed=seed)
    except GanletError:
        return None


def fidelity_checks(
    found: FidelityResult, names: Iterable[str], limit_percent: float, samples: int, kind: str
) -> list[Check]:
    """Whether the distance to the data of each of `names` is at most `limit_percent` above its baseline's.

    A statement about the whole interval of the paired change: passed, failed, or undecided with the samples it takes.
    """
    checks = []
    for name in names:
        change = found.change_percent.get(name)
        reason = f"Frechet distance to {kind} against the {found.baseline}'s on the same {samples} latents"
        if change is None:
            why = f"{reason}: the {found.baseline}'s distance cannot be told from 0, so there is no change in percent."
            checks.append(Check(f"fidelity of {name}", "undecided", None, limit_percent, "%", why))
            continue
        reason = f"{reason}, 95 % interval {spread_text(change)}"
        checks.append(surely_at_most(f"fidelity of {name}", change, limit_percent, samples, reason))
    return checks


def first_judged(runner: Runner, reference: Reference, seed: int, samples: int, count: int) -> NDArray[np.uint8]:
    """The first `count` of the `samples` pictures by which a runner is judged, as (count, H, W, C)."""
    chunks: list[NDArray[np.uint8]] = []
    for chunk in judged(runner, reference, seed, samples):
        chunks.append(chunk.transpose(0, 2, 3, 1))
        if sum(map(len, chunks)) >= count:
            break
    return np.concatenate(chunks)[:count]


def picture_identity(file: str | None, seed: int, labels: NDArray[np.int64] | None = None) -> dict[str, Any]:
    """By what the pictures of a runner are kept; nothing of one that draws by no file."""
    if file is None:
        return {}
    asked = {} if labels is None else {"labels": hashlib.sha256(labels.tobytes()).hexdigest()}
    return {"file": file, "seed": seed} | asked


def judged(
    runner: Runner,
    reference: Reference,
    seed: int,
    samples: int,
    store: MeasurementStore | None = None,
    file: str | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """The pictures of `seed` by which a runner is judged, in chunks (n, C, H, W); a conditional one is asked for the
    reference's labels.
    """
    labels = reference.labels(samples) if find_port(runner.ports, "label") is not None else None

    def draw() -> Iterator[NDArray[np.uint8]]:
        sampler = Sampler.of(runner)
        for start in range(0, samples, sampler.batch):
            count = min(sampler.batch, samples - start)
            label = None if labels is None else labels[start : start + count]
            images = sampler.draw(feed_at(runner.ports, seed, start, count, label=label))
            yield to_uint8(images).transpose(0, 3, 1, 2)  # rounded as the PNG files are

    identity = picture_identity(file, seed, labels)
    return (store or MeasurementStore()).pictures(draw, samples, **identity)
