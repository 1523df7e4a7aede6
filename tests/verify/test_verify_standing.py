"""A generator against the data themselves: staged failures fail whatever their teacher draws, data pass."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from ganlet import metrics
from ganlet.data import PictureSet, load_pictures
from ganlet.device.feed import Feed, z_port
from ganlet.device.latents import latents
from ganlet.report.judgement import basis, closing_words, judge, opening_lines
from ganlet.report.wording import figure, percent
from ganlet.verify.absolute import absolute_checks, doubts, finding
from ganlet.verify.checks import spread_text, verdict_of
from ganlet.verify.fidelity import FidelityResult, Reference, measure_fidelity
from ganlet.verify.parity import check_parity
from ganlet.verify.standing import Standings, measure_standings
from ganlet.verify.variety import measure_variety

Pictures = NDArray[np.uint8]
N = 24


class Coarse:
    """A feature net that costs nothing: the means of 16 squares of a picture, 8 x 8 pixels each."""

    name, dim, protocol, batch = "coarse", 48, "means of squares", 64

    def features(self, pictures: Pictures) -> NDArray[np.float32]:
        n, channels, height, width = pictures.shape
        squares = pictures.reshape(n, channels, height // 8, 8, width // 8, 8)
        return squares.mean(axis=(3, 5)).reshape(n, -1).astype(np.float32) / 255

    def tensors(self) -> list[object]:
        return []


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ganlet.verify.fidelity.feature_net", lambda name: Coarse())
    monkeypatch.setattr("ganlet.metrics.feature_net", lambda name: Coarse())


class Drawer:
    """A runner that draws the pictures of a list, one after the other."""

    provider = "CPUExecutionProvider"
    name = "staged"
    ports = (z_port(4),)

    def __init__(self, pictures: Pictures) -> None:
        self.pictures = pictures
        self.picture_shape = pictures.shape[1:]
        self.order = {row.tobytes(): index for index, row in enumerate(latents(0, 0, len(pictures), 4))}

    def __call__(self, feed: Feed) -> np.ndarray:
        chosen = [self.order.get(row.tobytes(), 0) for row in feed["z"]]
        return (self.pictures[chosen].astype(np.float32) / 127.5 - 1).astype(np.float32)


@pytest.fixture(scope="module")
def kittens() -> Pictures:
    return np.asarray(load_pictures("kittens", size=32, channels=3, count=4 * N, seed=0).pictures)


def as_set(pictures: Pictures) -> PictureSet:
    return PictureSet(pictures, None, (), "", "folder", (), "")


def stand(
    drawn: dict[str, Pictures], data: Pictures, strangers: tuple[str, ...] = ()
) -> tuple[Standings, FidelityResult]:
    """The first quarter of `data` is the reference; the rest is what training saw."""
    pictures = as_set(data)
    reference = Reference("held-out pictures", pictures, np.arange(len(data) // 4))
    runners = {name: Drawer(some) for name, some in drawn.items()}
    fidelity = measure_fidelity(
        runners, reference, net_name="lite0", samples=N, seed=0, progress=lambda done, total: None
    )
    variety = measure_variety(fidelity, runners, reference, 0)
    training = metrics.extract(metrics.feature_net("lite0"), [data[len(data) // 4 :]])
    return measure_standings(fidelity, variety, reference.kind, training, 0, strangers), fidelity


def random() -> np.random.Generator:
    return np.random.default_rng(7)


STAGED: dict[str, tuple[Callable[[Pictures], Pictures], str]] = {
    "dead": (lambda p: np.repeat(p[:1], N, 0), "draws one picture for every latent"),
    "grey": (lambda p: np.full_like(p[:N], 127), "draws one picture for every latent"),
    "two modes": (lambda p: p[random().integers(0, 2, N)], "draws the same few pictures again and again"),
    "few doubles": (lambda p: p[random().integers(0, 8, N)], "draws the same few pictures again and again"),
    "noise": (lambda p: random().integers(0, 256, p[:N].shape).astype(np.uint8), "draws "),
    "colours": (
        lambda p: np.broadcast_to(random().integers(0, 256, (N, 3, 1, 1)), p[:N].shape).astype(np.uint8),
        "draws pictures without content",
    ),
    "faint": (lambda p: (127 + (p[:N] - 127.0) * 0.05).astype(np.uint8), "draws pictures without content"),
    "one and rounding": (
        lambda p: (p[:1] // 2 + random().integers(0, 2, p[:N].shape)).astype(np.uint8),
        "draws nearly the same picture for every latent",
    ),
    "salt": (lambda p: (random().integers(0, 2, p[:N].shape) * 255).astype(np.uint8), "draws nothing like the data"),
}


@pytest.mark.slow
def test_staged_failures_fail_and_data_pass_in_the_features_that_a_verdict_is_measured_in(kittens: Pictures) -> None:
    """Eight staged failures in one measurement: half a minute, most of it the feature net's."""
    drawn = {name: make(kittens[N : 2 * N]) for name, (make, _) in STAGED.items()}
    standings, _ = stand(drawn | {"sound": kittens[2 * N : 3 * N]}, kittens)
    failed = {check.name for check in absolute_checks(standings) if check.status == "failed"}
    for name, (_, expected) in STAGED.items():
        assert {f"variety of {name}", f"distance of {name} to the data"} & failed, name
        alone = replace(standings, subjects={name: standings.subjects[name]})
        assert finding(alone).startswith(f"the {name} {expected}"), (name, finding(alone))
    assert "sound" not in " ".join(failed) and "sound" not in finding(standings)
    assert not doubts(replace(standings, subjects={"sound": standings.subjects["sound"]}))


@pytest.mark.parametrize("staged", ["dead", "grey", "two modes", "colours", "faint"])
def test_a_staged_failure_fails_whatever_its_teacher_draws(staged: str, kittens: Pictures, coarse: None) -> None:
    make, expected = STAGED[staged]
    drawn = make(kittens[N : 2 * N])
    standings, fidelity = stand({"teacher": drawn, "student": drawn}, kittens)
    assert fidelity.change_percent["student"].value == 0  # which was all that a verdict rested on
    assert verdict_of(absolute_checks(standings)) == "failed"
    assert finding(standings) == f"the teacher and the student {expected.replace('draws', 'draw')}"


def test_other_pictures_of_the_data_pass_without_a_warning(kittens: Pictures, coarse: None) -> None:
    standings, _ = stand({"teacher": kittens[N : 2 * N], "generator.onnx": kittens[2 * N : 3 * N]}, kittens)
    checks = absolute_checks(standings)
    assert [check.name for check in checks] == [
        "variety of teacher",
        "distance of teacher to the data",
        "variety of generator.onnx",
        "distance of generator.onnx to the data",
    ]
    assert {check.status for check in checks} == {"passed"} and not finding(standings) and not doubts(standings)
    for standing in standings.subjects.values():
        assert standing.position == pytest.approx(0, abs=0.3)
        assert all(share == pytest.approx(1, abs=0.35) for share in standing.shares.values()), standing


def test_only_what_has_collapsed_is_named(kittens: Pictures, coarse: None) -> None:
    """A collapsed file of a sound student: the file fails, the student does not."""
    dead = np.repeat(kittens[:1], N, 0)
    standings, _ = stand({"student": kittens[N : 2 * N], "generator.int8.onnx": dead}, kittens)
    assert finding(standings) == "generator.int8.onnx draws one picture for every latent"
    status = {check.name: check.status for check in absolute_checks(standings)}
    assert status["variety of student"] == "passed" and status["variety of generator.int8.onnx"] == "failed"


def test_one_picture_is_as_far_as_the_formula_says(kittens: Pictures, coarse: None) -> None:
    """ONE is the mean distance over generators that draw one picture of the reference each."""
    standings, _ = stand({"teacher": kittens[N : 2 * N]}, kittens)
    distances = []
    for index in range(0, N, 2):
        one, _ = stand({"teacher": np.repeat(kittens[index : index + 1], N, 0)}, kittens)
        distances.append(one.subjects["teacher"].distance)
    assert standings.one_picture == pytest.approx(float(np.mean(distances)), rel=0.15)


def test_what_is_doubtful_is_a_warning_that_begins_with_its_name(kittens: Pictures, coarse: None) -> None:
    half = kittens[N : 2 * N].copy()
    half[: 2 * N // 3] = half[0]
    standings, _ = stand({"teacher": half, "student": half}, kittens)
    assert verdict_of(absolute_checks(standings)) == "passed"
    (warning,) = [text for text in doubts(standings) if "without a double" in text]
    assert warning.startswith("teacher: the part of its pictures without a double is ") and "(student " in warning


def test_data_of_one_picture_show_nothing(kittens: Pictures, coarse: None) -> None:
    data = np.repeat(kittens[:1], 4 * N, 0)
    for drawn in (data[:N], kittens[:N]):
        standings, _ = stand({"teacher": drawn, "student": drawn}, data)
        (check,) = absolute_checks(standings)
        assert check.status == "undecided" and verdict_of([check]) == "failed"
        assert "nothing can be shown of a generator" in finding(standings)


def test_data_of_two_pictures_are_told_as_doubles_and_a_generator_of_both_is_no_failure(
    kittens: Pictures, coarse: None
) -> None:
    data = kittens[random().integers(0, 2, 4 * N)]
    standings, _ = stand({"teacher": data[:N]}, data)
    assert verdict_of(absolute_checks(standings)) == "passed"
    assert any(text.startswith("data: 100 % of the pictures have a double") for text in doubts(standings))


def test_a_teacher_of_other_pictures_is_not_held_to_these(kittens: Pictures, coarse: None) -> None:
    noise = random().integers(0, 256, kittens[:N].shape).astype(np.uint8)
    noise[:, :, ::2] //= 2
    standings, _ = stand({"teacher": (noise * np.linspace(0.2, 1, N)[:, None, None, None]).astype(np.uint8),
                          "student": kittens[:N]}, kittens, ("teacher",))  # fmt: skip
    status = {check.name: check.status for check in absolute_checks(standings)}
    assert status["distance of teacher to the data"] == "not_verified"
    assert status["distance of student to the data"] == "passed"


def test_the_first_lines_say_what_failed() -> None:
    checks = [{"name": "variety of teacher", "status": "failed", "measured": 0.0, "limit": 10.0, "unit": "%"}]
    report = {"verdict": "failed", "checks": checks, "finding": "the teacher draws one picture for every latent"}
    report["warnings"] = ["student: look at it."]
    first, second = opening_lines(report)
    assert first == "verdict: failed: the teacher draws one picture for every latent"
    assert second == "warning: student: look at it."
    assert closing_words(report) == "verdict: failed, the teacher draws one picture for every latent"
    sound = {"verdict": "passed", "checks": [{**checks[0], "status": "passed"}], "finding": report["finding"]}
    assert judge(sound).headline == "passed"  # a finding makes no pass of a failure, nor a failure of a pass
    assert judge({**sound, "warnings": ["a", "b"]}).headline == "passed, with 2 warnings"


@pytest.mark.slow
def test_a_run_next_to_untrained_fails_and_the_same_trained_a_little_passes(
    finished_run: Path, decent_run: Path
) -> None:
    untrained, trained = (json.loads((run / "report.json").read_text()) for run in (finished_run, decent_run))
    assert untrained["verdict"] == "failed" and untrained["finding"].startswith("the teacher, the student and generat")
    assert trained["verdict"] == "passed" and trained["finding"] == ""
    assert set(trained["against_data"]["subjects"]) == {"teacher", "student", "generator.onnx"}
    page = (finished_run / "report.html").read_text()
    assert f"Failed: {untrained['finding']}" in page.replace("\n", " ")


@pytest.mark.parametrize(
    ("change", "expected"),
    [((3.2, -1.0, 5.0), "-1.0 to +5.0 %"), ((142432.0, 900.0, 2e5), "+900.0 % to 2,001 times as far"),
     ((5e3, 2e3, 9e3), "21 times as far to 91 times as far")],
)  # fmt: skip
def test_a_change_beyond_sense_is_told_as_a_multiple(change: tuple[float, float, float], expected: str) -> None:
    interval = metrics.Interval(*change)
    assert spread_text(interval) == expected
    report = {
        "stages": {"teacher": {"parameters": 2}, "student": {"parameters": 1, "change_percent": interval.as_json()}}
    }
    told = basis(report)
    assert "142432" not in told and ("times that of the teacher" in told) == (change[0] > 1000), told
    assert "142" not in percent(-142432.0) + figure(142432.0, "%") and percent(-3.2) == "\N{MINUS SIGN}3.2 %"


def test_parity_with_a_network_that_draws_one_picture_explains_nothing_and_is_no_percentage(kittens: Pictures) -> None:
    dead = Drawer(np.repeat(kittens[:1], N, 0))
    assert check_parity(Drawer(np.repeat(kittens[1:2], N, 0)), dead, seed=0).explained is None
