"""How a generator stands against the data themselves, whatever its teacher draws.

Variety: five shares of what the data have, at equal numbers of pictures. They are the spread of the features, their
effective rank, the pictures that have no double, the standard deviation of a pixel over the pictures, and the contrast
within a picture.

Distance: the bare Frechet distance to the data depends on the feature net and on N, so it lies between two others.

- DATA: other pictures of the data, at this N.
- ONE: one and the same picture of the data for every latent. On average over the pictures that is |x - m|^2 + tr S,
  about 2 tr S, for any net and any N; it needs no measurement of its own.

The position is (distance - DATA) / (ONE - DATA): 0 is as good as data, 1 is as good as one picture.
`benchmarks/absolute_checks.py` prints these figures of good runs and of staged failures.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.metrics import frechet_distance, moments
from ganlet.metrics.collapse import effective_rank, total_spread
from ganlet.verify.fidelity import FidelityResult
from ganlet.verify.variety import VarietyResult

LEAST_ROOM = 0.25  # of ONE: with less between DATA and ONE nothing can be told from the distance


@dataclass(frozen=True)
class Standing:
    """One generator against the data: its shares of what the data have, and its distance."""

    shares: Mapping[str, float]
    """By "spread", "rank", "distinct", "pixels" and "contrast"; a share of nothing (uniform data) is left out."""
    distinct_at_best: float
    """The share of "distinct" at the far end of its interval: of few pictures a rate of doubles is hardly known."""
    distance: float
    position: float | None
    """Between DATA at 0 and ONE at 1; None where the two are too near, or DATA is not known."""

    def as_json(self) -> dict[str, Any]:
        return {"share_of_data": dict(self.shares), "position": self.position}


@dataclass(frozen=True)
class Standings:
    """Every generator against the data; none where the data are one picture, of which nothing can be shown."""

    subjects: Mapping[str, Standing]
    count: int
    """Pictures on each side where variety is compared."""
    one_picture: float
    data_to_data: float | None
    data_to_data_count: int
    reference: str
    """What the pictures to judge by are: held-out ones, or those of training."""
    data_doubles: float
    strangers: Collection[str]
    """Subjects that learnt other pictures than these: their distance says nothing of them."""

    @property
    def is_one_picture(self) -> bool:
        """Whether all pictures of the data are the same."""
        return not self.subjects

    def as_json(self) -> dict[str, Any]:
        """What report.json holds under "against_data"."""
        return {
            "pictures": self.count,
            "one_picture": self.one_picture,
            "data_to_data": self.data_to_data,
            "data_to_data_pictures": self.data_to_data_count,
            "subjects": {name: standing.as_json() for name, standing in self.subjects.items()},
        }


def measure_standings(
    fidelity: FidelityResult,
    variety: VarietyResult,
    reference: str,
    training: NDArray[np.float32] | None,
    seed: int,
    strangers: Collection[str] = (),
) -> Standings:
    """Every generator of `fidelity` against the data.

    `training`: features of pictures that the reference leaves out; without them the reference's two halves are
    compared, which are further apart, being fewer. `reference` says what the pictures to judge by are.
    """
    data, count = fidelity.data, min(len(fidelity.data), *(len(f) for f in fidelity.features.values()))
    spread = total_spread(data, seed).value
    one_picture = spread + spread * len(data) / (len(data) - 1)
    own, own_count = _data_to_data(data, training, len(next(iter(fidelity.features.values()))))
    room = None if own is None or one_picture - own < LEAST_ROOM * one_picture else one_picture - own
    ranks = {"data": effective_rank(data[:count], seed).value}
    ranks |= {name: effective_rank(features[:count], seed).value for name, features in fidelity.features.items()}
    data_doubles = variety.subjects["data"].duplicates.value

    def standing(name: str) -> Standing:
        of, pixels = variety.subjects[name], fidelity.pixels
        pairs = {
            "spread": (of.smooth["spread"].value, spread),
            "rank": (ranks[name], ranks["data"]),
            "distinct": (1 - of.duplicates.value, 1 - data_doubles),
            "pixels": (pixels[name].between, pixels["data"].between),
            "contrast": (pixels[name].contrast, pixels["data"].contrast),
        }
        distance = fidelity.to_data[name].fd.value
        position = None if own is None or room is None else (distance - own) / room
        shares = {key: got / has for key, (got, has) in pairs.items() if has > 0}
        at_best = (1 - of.duplicates.low) / (1 - data_doubles) if data_doubles < 1 else 1.0
        return Standing(shares, at_best, distance, position)

    is_one_picture = spread == 0.0 or fidelity.pixels["data"].between == 0.0
    subjects = {} if is_one_picture else {name: standing(name) for name in fidelity.features}
    return Standings(subjects, count, one_picture, own, own_count, reference, data_doubles, strangers)


def _data_to_data(
    data: NDArray[np.float32], training: NDArray[np.float32] | None, samples: int
) -> tuple[float | None, int]:
    """Distance of other pictures of the data from `data`, and how many they are; of two halves where there are none."""
    if training is not None and len(training) >= 2:
        count = min(samples, len(training))
        chosen = training[np.arange(count) * len(training) // count]
        return frechet_distance(moments(chosen), moments(data)), count
    if len(data) >= 4:
        return frechet_distance(moments(data[::2]), moments(data[1::2])), len(data) // 2
    return None, 0
