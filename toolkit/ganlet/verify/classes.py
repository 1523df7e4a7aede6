"""Whether a conditional generator draws the class that it is asked for, and how good each class is.

An independent classifier (a support vector machine on pixels, which no loss and no distance knows) learns the training
pictures; its accuracy on the pictures to judge by is told beside the agreement of its answers with the labels that
generators were asked for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.data import PictureSet
from ganlet.metrics import Fidelity, Interval, compare
from ganlet.metrics.collapse import total_spread
from ganlet.metrics.intervals import proportion
from ganlet.verify.checks import Check
from ganlet.verify.fidelity import Features, Reference, evenly

SIDE_PX = 16  # that the classifier sees pictures at
LEARNT = 5000  # training pictures at most: the machine's time grows with their square
LEAST_TO_COMPARE = 50  # pictures of a class on each side of a distance
LEAST_SPREAD = 0.25  # of the data's spread within the class, below which the class has collapsed
LEAST_SKILL = 0.2  # accuracy above chance from which the classifier can judge anything
Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Classifier:
    """Tells the class of a picture. `accuracy`: its right answers on pictures that it did not learn."""

    machine: Any
    learnt: int
    classes: int
    accuracy: Interval

    def predict(self, chunks: Iterable[Pictures]) -> NDArray[np.int64]:
        """The class of each picture of chunks uint8 (n, C, H, W): int64 (N,)."""
        return np.concatenate([np.asarray(self.machine.predict(reduced(chunk)), np.int64) for chunk in chunks])

    @property
    def can_judge(self) -> bool:
        """Whether it knows the classes clearly better than chance."""
        return self.accuracy.low > 1 / self.classes + LEAST_SKILL

    @property
    def least_agreement(self) -> float:
        """Halfway from chance to its accuracy: below it most pictures are of another class than was asked for."""
        return (1 / self.classes + self.accuracy.value) / 2

    def as_json(self) -> dict[str, Any]:
        return {
            "what": f"support vector machine on pixels at {SIDE_PX} x {SIDE_PX}",
            "learnt": self.learnt,
            "accuracy": self.accuracy.as_json(),
        }


def learn(pictures: PictureSet, training: NDArray[np.int64], reference: Reference) -> Classifier:
    """A classifier of the labels of `training`, and its accuracy on the reference."""
    from sklearn.svm import SVC

    assert pictures.labels is not None
    some = evenly(training, LEARNT)
    machine = SVC(C=10.0, gamma="scale", cache_size=500)
    machine.fit(reduced(np.asarray(pictures.pictures[some])), pictures.labels[some])
    classes = len(pictures.label_names) or int(pictures.labels.max()) + 1
    known = Classifier(machine, len(some), classes, Interval(0.0, 0.0, 1.0))
    right = int((known.predict(reference.chunks()) == pictures.labels[reference.indices]).sum())
    return Classifier(machine, len(some), classes, proportion(right, len(reference.indices)))


def reduced(pictures: Pictures) -> NDArray[np.float32]:
    """Pictures uint8 (n, C, H, W) as rows float32 (n, C x side x side) in [-1, 1], by areas, at SIDE_PX at most."""
    size = pictures.shape[-1]
    side = min(size, SIDE_PX)
    edges = np.arange(side + 1) * size / side
    places = np.arange(size)[None]
    least, most = np.maximum(edges[:-1, None], places), np.minimum(edges[1:, None], places + 1)
    cover = np.clip(most - least, 0, 1) * side / size  # (side, size): the part of each pixel in each smaller one
    small = np.einsum("ih,nchw,jw->ncij", cover, pictures.astype(np.float32), cover, optimize=True)
    return np.asarray(small.reshape(len(pictures), -1) / 127.5 - 1, np.float32)


@dataclass(frozen=True)
class OneClass:
    """One class of one generator's pictures."""

    count: int
    agreement: Interval
    quality: Fidelity | None
    """Distance to the data's pictures of the class; None where there are too few on a side."""
    spread_share: float | None
    """Spread of its features over that of the data's pictures of the class."""

    def as_json(self) -> dict[str, Any]:
        return {
            "count": self.count,
            "agreement": self.agreement.as_json(),
            "quality": {} if self.quality is None else self.quality.as_json(),
            "spread_share": self.spread_share,
        }


@dataclass(frozen=True)
class Classes:
    """Figures of every conditional generator: agreement with the labels asked for, and each class by its name."""

    classifier: Classifier
    agreement: Mapping[str, Interval]
    per_class: Mapping[str, Mapping[str, OneClass]]

    def row(self, name: str) -> dict[str, Any]:
        """What the row of a stage or an artifact says of its classes; nothing of one without."""
        if name not in self.agreement:
            return {}
        classes = {kind: figures.as_json() for kind, figures in self.per_class[name].items()}
        return {"agreement": self.agreement[name].as_json(), "per_class": classes}

    def checks(self) -> list[Check]:
        """Whether each generator heeds its label; not verified where the classifier knows the classes too badly."""
        judge, made = self.classifier, []
        limit = 100 * judge.least_agreement
        about = (
            f"pictures that an independent classifier takes for the class asked for; it is right on "
            f"{judge.accuracy.value:.0%} of real pictures, and chance is {1 / judge.classes:.0%}"
        )
        for name, share in self.agreement.items():
            title = f"label of {name}"
            if not judge.can_judge:
                made.append(Check(title, "not_verified", None, limit, "%", f"{about}, which is too near to judge by"))
                continue
            percent = Interval(100 * share.value, 100 * share.low, 100 * share.high)
            status = "passed" if percent.low >= limit else "failed" if percent.high < limit else "undecided"
            made.append(Check(title, status, percent.value, limit, "%", about, percent, is_least=True))  # type: ignore[arg-type]
        return made

    def warnings(self) -> list[str]:
        """A sentence for each class of a generator that has collapsed, or that is drawn as others."""
        told = []
        for name, classes in self.per_class.items():
            collapsed = [
                kind for kind, c in classes.items() if c.spread_share is not None and c.spread_share < LEAST_SPREAD
            ]
            if collapsed:
                told.append(
                    f"{name}: within the class {_listed(collapsed)} its pictures differ by less than "
                    f"{LEAST_SPREAD:.0%} of what the data's do; look at samples/{name}.png for collapse."
                )
            missed = [kind for kind, c in classes.items() if c.agreement.high < self.classifier.least_agreement]
            if missed and self.classifier.can_judge:
                told.append(
                    f"{name}: most pictures of the class {_listed(missed)} look like another class; train longer, or "
                    "look at the labels of the data."
                )
        return told


def measure_classes(
    drawn: Mapping[str, NDArray[np.int64]],
    asked: NDArray[np.int64],
    features: Mapping[str, Features],
    reference: Reference,
    classifier: Classifier,
    *,
    net_name: str,
    seed: int,
    data: Features,
) -> Classes:
    """The figures by class. `drawn`: what the classifier takes each generator's pictures for; `asked`: their labels.

    `features` (samples, d) of the same pictures, `data` (pictures, d) of the reference.
    """
    pictures = reference.pictures
    assert pictures.labels is not None
    real = pictures.labels[reference.indices]
    names = pictures.label_names or tuple(str(number) for number in range(classifier.classes))
    real_spread = [_spread(data[real == number], seed) for number in range(classifier.classes)]
    agreement, per_class = {}, {}
    for subject, answers in drawn.items():
        agreement[subject] = proportion(int((answers == asked).sum()), len(asked))
        found = {}
        for number, name in enumerate(names):
            chosen, own = asked == number, real == number
            if not chosen.any():
                continue
            enough = min(chosen.sum(), own.sum()) >= LEAST_TO_COMPARE
            spread = _spread(features[subject][chosen], seed)
            known = real_spread[number]
            found[name] = OneClass(
                count=int(chosen.sum()),
                agreement=proportion(int((answers[chosen] == number).sum()), int(chosen.sum())),
                quality=compare(features[subject][chosen], data[own], net=net_name, seed=seed) if enough else None,
                spread_share=spread / known if enough and spread is not None and known else None,
            )
        per_class[subject] = found
    return Classes(classifier, agreement, per_class)


def _spread(features: Features, seed: int) -> float | None:
    return float(total_spread(features, seed).value) if len(features) >= 2 else None


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
