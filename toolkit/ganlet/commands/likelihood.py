"""`ganlet likelihood RUN`: how likely held-out pictures are under a small generator."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganlet.artifact import STAGES, Stage, find_stage, load_stage, require_run
from ganlet.commands.open_run import open_pictures
from ganlet.data import PictureSet
from ganlet.errors import GanletError
from ganlet.metrics.intervals import Interval, mean_figure
from ganlet.observer import Observer
from ganlet.recipe import load_recipe
from ganlet.training.load import load_generator
from ganlet.verify.fidelity import evenly

if TYPE_CHECKING:
    from ganlet.metrics.likelihood import Annealing, Draw
    from ganlet.models.base import Generator

SCHEMA = 1
CHUNK = 4  # pictures whose chains run at once
# Eight chains of 500 steps of a picture of 16 x 16 by 34,000 parameters took 19 s on one busy core; time grows with the
# operations of a picture. The largest that is allowed takes some 40 times as long, half a day for 64 pictures.
MOST_NUMBERS = 32 * 32 * 3
MOST_PARAMETERS = 1_000_000
LEAST_NOISE = 0.01  # in [-1, 1]: just above a level of 8 bits, below which the density of a level is not even
ACCEPTED = (0.3, 0.95)  # of the moves: outside it the chains hardly move, or move by too little
LARGEST_ERROR = 0.5  # nats; the error that the chains show cannot exceed 1, however far they are from the truth


@dataclass(frozen=True)
class LikelihoodOptions:
    """What is asked for. `noise` is the standard deviation of the observation noise of a pixel, in [-1, 1]."""

    stage: str | None = None
    samples: int = 16
    chains: int = 8
    steps: int = 500
    noise: float = 0.2
    seed: int = 0
    bounds: bool = False

    def require_valid(self) -> None:
        """Raise GanletError for a value that is out of range."""
        if self.stage is not None and self.stage not in STAGES:
            raise GanletError(f"Got --stage {self.stage}; expected one of {', '.join(STAGES)}.")
        for name, value, least in (("samples", self.samples, 2), ("chains", self.chains, 2), ("steps", self.steps, 1)):
            if value < least:
                raise GanletError(f"Got --{name} {value}; choose {least} or more.")
        if not LEAST_NOISE <= self.noise <= 1:
            raise GanletError(f"Got --noise {self.noise:g}; choose {LEAST_NOISE:g} to 1, of pixels in [-1, 1].")
        if not 0 <= self.seed < 2**32:
            raise GanletError(f"Got --seed {self.seed}; choose 0 to {2**32 - 1}.")


def measure_likelihood(run: Path, options: LikelihoodOptions, observer: Observer) -> dict[str, Any]:
    """The log-likelihood of held-out pictures of RUN under one of its generators, as one JSON document.

    Raises GanletError for a run without held-out pictures, and for a generator that is too large or takes a label.
    """
    from ganlet.metrics.likelihood import Annealing

    options.require_valid()
    require_run(run)
    stage = find_stage(run) if options.stage is None else load_stage(run / options.stage)
    generator = load_generator(stage)
    _require_small(stage, generator)
    recipe = load_recipe(run / "recipe.toml")
    pictures = open_pictures(recipe, observer)
    _, held_out = pictures.split(recipe.data.holdout, recipe.data.seed)
    if len(held_out) < 2:
        raise GanletError(
            f"{run} holds {len(held_out)} of its {len(pictures)} pictures out (data.holdout = {recipe.data.holdout:g}),"
            " expected 2 or more that training never saw; train a run with data.holdout = 0.2."
        )
    chosen = evenly(held_out, options.samples)
    annealing = Annealing(chains=options.chains, temperatures=options.steps, seed=options.seed)
    document: dict[str, Any] = {"schema": SCHEMA, "run": str(run), "stage": stage.name}
    document |= {"weights_sha256": stage.weights_sha256, "pictures": len(chosen), "held_out": len(held_out)}
    document |= {"noise": options.noise, "chains": options.chains, "steps": options.steps, "seed": options.seed}
    document |= _estimated(generator, _values(pictures, chosen), options, annealing, observer)
    document["each"] = [{"picture": int(i)} | one for i, one in zip(chosen, document["each"], strict=True)]
    if len(chosen) < options.samples:
        document["notes"].append(f"only {len(chosen)} pictures are held out, fewer than --samples {options.samples}")
    return document


def _require_small(stage: Stage, generator: "Generator") -> None:
    names = [port.name for port in generator.ports]
    if names != ["z"]:
        raise GanletError(
            f"The generator {stage.folder} takes {' and '.join(names)}, expected z alone; give a run whose generator "
            "is not conditional."
        )
    config = generator.config
    numbers = config.channels * config.size_px**2
    if numbers > MOST_NUMBERS:
        raise GanletError(
            f"The pictures of {stage.folder} have {numbers:,} numbers, expected at most {MOST_NUMBERS:,}, since the "
            "chains would take too long; give a run of smaller pictures."
        )
    parameters = sum(parameter.numel() for parameter in generator.parameters())
    if parameters > MOST_PARAMETERS:
        raise GanletError(
            f"The generator {stage.folder} has {parameters:,} parameters, expected at most {MOST_PARAMETERS:,}, since "
            "the chains would take too long; choose a smaller one with --stage."
        )


def _values(pictures: PictureSet, chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pictures (n, C, H, W) in [-1, 1], as training sees them."""
    return np.asarray(pictures.pictures[chosen]).astype(np.float64) / 127.5 - 1


def _estimated(
    generator: "Generator",
    values: NDArray[np.float64],
    options: LikelihoodOptions,
    annealing: "Annealing",
    observer: Observer,
) -> dict[str, Any]:
    """The figures of `values` (n, C, H, W): means with intervals over the pictures, and each picture's own."""
    import torch

    from ganlet.metrics.likelihood import log_likelihood, simulated_bounds

    latent, draw = generator.config.latent, _draw(generator)
    results = []
    with observer.watch("likelihood", "pictures") as update:
        for start in range(0, len(values), CHUNK):
            own = replace(annealing, seed=annealing.seed + 3 * start)  # the estimate takes three seeds
            some = torch.from_numpy(values[start : start + CHUNK])
            results.append(log_likelihood(draw, some, latent, options.noise, own))
            update(start + len(some), len(values))
    nats = np.concatenate([result.value for result in results])
    errors = np.concatenate([result.standard_error for result in results])
    acceptance = float(np.mean([result.acceptance for result in results]))
    mean = mean_figure(nats, options.seed).interval
    document: dict[str, Any] = {
        "log_likelihood_nats": mean.as_json(),
        "bits_per_dimension": _bits_per_dimension(mean, values[0].size).as_json(),
        "standard_error_nats": float(errors.mean()),
        "acceptance": acceptance,
        "each": [{"nats": float(n), "standard_error_nats": float(e)} for n, e in zip(nats, errors, strict=True)],
        "notes": _notes(acceptance, float(errors.mean())),
    }
    if options.bounds:
        with observer.watch("bounds", "parts") as update:
            document["bounds_gap_nats"] = simulated_bounds(draw, CHUNK, latent, options.noise, annealing).gap
            update(1, 1)
    return document


def _draw(generator: "Generator") -> "Draw":
    double = generator.double().requires_grad_(False)
    return lambda z: double(z=z)


def _bits_per_dimension(nats: Interval, numbers: int) -> Interval:
    """Of pictures of 8 bits, whose levels are 1 / 127.5 apart: -log2 p / numbers + log2 127.5 (Theis et al. 2016)."""
    value, low, high = (math.log2(127.5) - one / (numbers * math.log(2)) for one in (nats.value, nats.high, nats.low))
    return Interval(value, low, high)


def _notes(acceptance: float, error: float) -> list[str]:
    notes = ["the estimate is a lower bound on average: with more --steps it rises to the log-likelihood"]
    if not ACCEPTED[0] <= acceptance <= ACCEPTED[1]:
        notes.append(f"{acceptance:.0%} of the moves were accepted, expected 30 to 95 %: take more --steps")
    if error > LARGEST_ERROR:
        notes.append(f"the chains of a picture differ (standard error {error:.2g} nats): take more --steps")
    return notes


def as_lines(document: dict[str, Any]) -> list[str]:
    """The document for a terminal."""
    nats, bits = document["log_likelihood_nats"], document["bits_per_dimension"]
    lines = [
        f"log-likelihood of {document['pictures']} held-out pictures under the {document['stage']}, with noise "
        f"{document['noise']:g} a pixel in [-1, 1]",
        f"{nats['value']:.1f} nats a picture  (95 % {nats['low']:.1f} to {nats['high']:.1f})",
        f"{bits['value']:.3f} bits per dimension  (95 % {bits['low']:.3f} to {bits['high']:.3f})",
        f"{document['chains']} chains of {document['steps']:,} steps, standard error "
        f"{document['standard_error_nats']:.2g} nats a picture, {document['acceptance']:.0%} of moves accepted",
    ]
    if "bounds_gap_nats" in document:
        gap = document["bounds_gap_nats"]
        lines.append(
            f"of {CHUNK} pictures that it draws itself, the lower and the upper bound are {gap:.2g} nats apart"
        )
    return [*lines, *(f"note: {note}" for note in document["notes"])]
