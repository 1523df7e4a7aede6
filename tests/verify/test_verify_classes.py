"""Figures by class: against what is known of pictures whose classes are plain to see."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganlet.data import load_pictures
from ganlet.metrics import Interval
from ganlet.metrics.intervals import proportion
from ganlet.verify.classes import Classes, Classifier, learn, measure_classes, reduced
from ganlet.verify.fidelity import Reference, choose_reference


@pytest.fixture(scope="module")
def digits() -> Reference:
    return choose_reference(load_pictures("digits", size=16, channels=1, count=1000), 0.3, 0, 300)


@pytest.mark.parametrize("size", [8, 16, 24, 32, 50])
def test_reduced_pictures_are_those_of_a_box_filter(size: int) -> None:
    pictures = np.random.default_rng(size).integers(0, 256, (3, 3, size, size), dtype=np.uint8)
    rows = (reduced(pictures) + 1) * 127.5
    side = min(size, 16)
    for picture, row in zip(pictures, rows, strict=True):
        for channel, small in zip(picture, row.reshape(3, side, side), strict=True):
            wanted = Image.fromarray(channel.astype(np.float32)).resize((side, side), Image.Resampling.BOX)
            if size % side == 0:  # elsewhere Pillow's box takes whole pixels
                np.testing.assert_allclose(small, np.asarray(wanted), atol=1e-2)
            assert small.mean() == pytest.approx(channel.mean(), abs=1e-2)


def test_the_classifier_is_right_on_most_digits_that_it_did_not_learn(digits: Reference) -> None:
    training, _ = digits.pictures.split(0.3, 0)
    classifier = learn(digits.pictures, training, digits)
    assert classifier.learnt == 700 and classifier.classes == 10
    assert classifier.accuracy.low > 0.85 and classifier.can_judge
    chosen = digits.pictures.pictures[digits.indices]
    mirrored = (classifier.predict([chosen[..., ::-1]]) == classifier.predict([chosen])).mean()
    assert mirrored < 0.8


def known(accuracy: float = 0.9) -> Classifier:
    return Classifier(None, 100, 10, proportion(int(300 * accuracy), 300))


def measured(digits: Reference, drawn: Any, asked: Any, features: Any = None) -> Classes:
    random = np.random.default_rng(0)
    data = random.standard_normal((len(digits.indices), 4)).astype(np.float32)
    given = random.standard_normal((len(asked), 4)).astype(np.float32) if features is None else features
    return measure_classes(
        {"student": drawn}, asked, {"student": given}, digits, known(), net_name="lite0", seed=0, data=data
    )


@pytest.mark.parametrize(("wrong", "status"), [(0, "passed"), (100, "passed"), (160, "undecided"), (290, "failed")])
def test_a_generator_that_does_not_heed_its_label_fails(digits: Reference, wrong: int, status: str) -> None:
    asked = np.arange(300) % 10
    drawn = np.where(np.arange(300) < wrong, (asked + 1) % 10, asked)
    classes = measured(digits, drawn, asked)
    (check,) = classes.checks()
    assert check.name == "label of student" and check.status == status
    assert check.measured == pytest.approx(100 * (300 - wrong) / 300) and check.limit == pytest.approx(50)
    assert classes.row("student")["per_class"]["3"]["count"] == 30 and classes.row("teacher") == {}


def test_a_classifier_that_knows_nothing_judges_nothing(digits: Reference) -> None:
    asked = np.arange(300) % 10
    classes = measured(digits, asked, asked)
    blind = Classes(Classifier(None, 100, 10, Interval(0.2, 0.1, 0.3)), classes.agreement, classes.per_class)
    (check,) = blind.checks()
    assert check.status == "not_verified" and "too near" in check.reason and not blind.warnings()


def test_a_class_that_has_collapsed_is_warned_of(digits: Reference) -> None:
    assert digits.pictures.labels is not None
    asked = np.repeat(np.argmax(np.bincount(digits.pictures.labels[digits.indices])), 60)
    other = np.arange(240) % 10
    whole = np.concatenate([asked, other])
    features = np.random.default_rng(1).standard_normal((300, 4)).astype(np.float32)
    features[whole == asked[0]] *= 0.01
    reference = Reference(digits.kind, digits.pictures, np.tile(digits.indices, 3))
    random = np.random.default_rng(0).standard_normal((900, 4)).astype(np.float32)
    classes = measure_classes(
        {"student": whole}, whole, {"student": features}, reference, known(), net_name="lite0", seed=0, data=random
    )
    (warning,) = classes.warnings()
    assert warning.startswith(f"student: within the class {asked[0]} its pictures differ by less than 25%")


def test_labels_to_ask_for_are_in_the_proportions_of_the_data(digits: Reference) -> None:
    assert digits.pictures.labels is not None
    own = np.bincount(digits.pictures.labels[digits.indices], minlength=10)
    for samples in (300, 600, 1000):
        asked = digits.labels(samples)
        assert asked is not None and asked.dtype == np.int64
        np.testing.assert_allclose(np.bincount(asked, minlength=10), own * samples / 300, atol=1)
        np.testing.assert_array_equal(asked, digits.labels(samples))
        assert len(np.unique(asked[: samples // 4])) == 10  # not sorted, as sub-folders are
