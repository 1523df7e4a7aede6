"""`ganlet likelihood`: figures of a generator whose likelihood is known, what is printed, what is refused."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ganlet.artifact import load_stage
from ganlet.commands import likelihood
from ganlet.data import load_pictures
from ganlet.device.feed import Ports, label_port, z_port
from ganlet.recipe import load_recipe
from support import Answer, expect_refused

torch = pytest.importorskip("torch")

Call = Callable[..., Answer]
LATENT, NOISE = 2, 0.5


class Linear(torch.nn.Module):  # type: ignore[misc,name-defined]
    """x = A z + b, so that pictures with noise are normal: N(b, A A^T + noise^2 I)."""

    ports: Ports = (z_port(LATENT),)

    def __init__(self, channels: int = 1, size_px: int = 16) -> None:
        super().__init__()
        self.config = SimpleNamespace(channels=channels, size_px=size_px, latent=LATENT)
        random = torch.Generator().manual_seed(0)
        self.matrix = torch.nn.Parameter(0.3 * torch.randn(256, LATENT, generator=random))
        self.shift = torch.nn.Parameter(-0.7 * torch.ones(256))

    def forward(self, z: Any) -> Any:
        return (z @ self.matrix.T + self.shift).reshape(-1, 1, 16, 16)


@pytest.fixture
def linear(monkeypatch: pytest.MonkeyPatch) -> Linear:
    generator = Linear()
    monkeypatch.setattr(likelihood, "load_generator", lambda stage: generator)
    return generator


def document(answer: Answer) -> dict[str, Any]:
    code, out, err = answer
    assert code == 0, err
    return dict(json.loads(out.splitlines()[-1]))


@pytest.mark.slow
def test_the_likelihood_of_a_linear_generator_is_that_of_its_normal_distribution(
    ganlet: Call, finished_run: Path, linear: Linear
) -> None:
    words = ("--samples", 6, "--chains", 100, "--steps", 60, "--noise", NOISE)
    found = document(ganlet("likelihood", finished_run, *words, "--json"))
    data = load_recipe(finished_run / "recipe.toml").data
    pictures = load_pictures("digits", size=16, channels=1, count=data.count, seed=data.seed)
    _, held_out = pictures.split(data.holdout, data.seed)
    chosen = [one["picture"] for one in found["each"]]
    assert len(chosen) == found["pictures"] == 6 and set(chosen) <= set(held_out.tolist())
    assert found["held_out"] == len(held_out)
    matrix = linear.matrix.detach().double()
    covariance = matrix @ matrix.T + NOISE**2 * torch.eye(256, dtype=torch.float64)
    truth = torch.distributions.MultivariateNormal(linear.shift.detach().double(), covariance)
    values = torch.from_numpy(np.asarray(pictures.pictures[chosen]).reshape(6, 256) / 127.5 - 1)
    expected = truth.log_prob(values).numpy()
    nats = np.array([one["nats"] for one in found["each"]])
    assert np.abs(nats - expected).max() < 0.3, (nats - expected, found)
    mean, bits = found["log_likelihood_nats"], found["bits_per_dimension"]
    assert mean["value"] == pytest.approx(nats.mean()) and mean["low"] < mean["value"] < mean["high"]
    assert bits["value"] == pytest.approx(math.log2(127.5) - mean["value"] / 256 / math.log(2))
    assert bits["low"] == pytest.approx(math.log2(127.5) - mean["high"] / 256 / math.log(2))
    again = document(ganlet("likelihood", finished_run, *words, "--json"))
    assert again == found
    other = document(ganlet("likelihood", finished_run, *words, "--seed", 1, "--json"))
    assert other["each"] != found["each"] and chosen == [one["picture"] for one in other["each"]]


def test_a_trained_generator_its_bounds_and_what_is_printed(ganlet: Call, finished_run: Path) -> None:
    words = ("likelihood", finished_run, "--stage", "teacher", "--samples", 3, "--chains", 2, "--steps", 3, "--bounds")
    code, out, err = ganlet(*words)
    assert code == 0 and "likelihood: 3/3 pictures" in err
    lines = out.splitlines()
    assert lines[0] == "log-likelihood of 3 held-out pictures under the teacher, with noise 0.2 a pixel in [-1, 1]"
    assert "nats a picture  (95 % " in lines[1] and "bits per dimension  (95 % " in lines[2]
    assert lines[3].startswith("2 chains of 3 steps, standard error ") and "nats apart" in lines[4]
    assert lines[5].startswith("note: the estimate is a lower bound")
    found = document(ganlet(*words, "--json"))
    teacher = load_stage(finished_run / "teacher")
    assert (found["stage"], found["weights_sha256"]) == ("teacher", teacher.weights_sha256)
    assert math.isfinite(found["bounds_gap_nats"])


def test_fewer_held_out_pictures_than_asked_for_are_noted(ganlet: Call, finished_run: Path, linear: Linear) -> None:
    words = ("--samples", 90, "--chains", 2, "--steps", 1, "--noise", NOISE, "--json")
    found = document(ganlet("likelihood", finished_run, *words))
    assert found["stage"] == "student" and found["pictures"] == found["held_out"] == 80
    assert "only 80 pictures are held out, fewer than --samples 90" in found["notes"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--stage", "best"), "--stage best; expected one of teacher, transfer, student"),
        (("--samples", 1), "--samples 1; choose 2 or more"),
        (("--chains", 1), "--chains 1; choose 2 or more"),
        (("--steps", 0), "--steps 0; choose 1 or more"),
        (("--noise", 0), "--noise 0; choose 0.01 to 1"),
        (("--noise", "nan"), "--noise nan; choose 0.01 to 1"),
        (("--seed", -1), "--seed -1; choose 0 to"),
        (("--stage", "pruned"), "pruned does not exist"),
    ],
)
def test_options_out_of_range(ganlet: Call, finished_run: Path, words: tuple[Any, ...], told: str) -> None:
    expect_refused(ganlet("likelihood", finished_run, *words), told)


def test_runs_that_cannot_be_judged(ganlet: Call, finished_run: Path, tmp_path: Path) -> None:
    expect_refused(ganlet("likelihood", tmp_path), "is an empty folder, expected the folder of a run")
    expect_refused(ganlet("likelihood", finished_run / "generator.onnx"), "is an exported file, expected the folder")
    run = Path(shutil.copytree(finished_run, tmp_path / "run"))
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("holdout = 0.2", "holdout = 0.0"))
    expect_refused(
        ganlet("likelihood", run), "holds 0 of its 400 pictures out (data.holdout = 0)", "data.holdout = 0.2"
    )


def test_generators_that_are_too_large_or_conditional(
    ganlet: Call, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wide, heavy, conditional = Linear(3, 64), Linear(), Linear()
    heavy.more = torch.nn.Parameter(torch.zeros(1_000_000))
    conditional.ports = (z_port(LATENT), label_port(10))
    for generator, told in (
        (wide, "have 12,288 numbers, expected at most 3,072"),
        (heavy, "has 1,000,768 parameters, expected at most 1,000,000"),
        (conditional, "takes z and label, expected z alone"),
    ):
        monkeypatch.setattr(likelihood, "load_generator", lambda stage, generator=generator: generator)
        expect_refused(ganlet("likelihood", finished_run), str(finished_run / "student"), told)
