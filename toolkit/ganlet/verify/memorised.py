"""Memorisation: whether the exported file repeats its training pictures, and a sheet that shows the nearest ones."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.data import PictureSet
from ganlet.latent import Memorisation, flattened, memorisation, neighbours_sheet, rms_unit
from ganlet.latent.neighbours import NEAR_SHARE
from ganlet.metrics import extract, feature_net
from ganlet.verify.fidelity import CHUNK, FidelityResult, Reference, evenly
from ganlet.verify.store import MeasurementStore

SAMPLES = 1000  # of the artifact's pictures, and of the held-out ones; a rate near 0.05 is then known to 0.014
IN_PIXELS = 20_000  # training pictures that are searched in pixels at most
PER_SAMPLE = 2  # training pictures that are searched in features, per sample of the recipe: each costs the net's time
MOST_RATE = 3 * NEAR_SHARE  # of the pictures that are near to a training picture, beyond which a report warns


@dataclass(frozen=True)
class Memorised:
    """Nearness to training pictures in pixels and in features, with the sheet (H, W, C) that shows it."""

    pixels: Memorisation
    features: Memorisation
    sheet: NDArray[np.uint8]
    training: NDArray[np.float32]
    """Features (t, d) of the training pictures that were searched."""

    def as_json(self) -> dict[str, Any]:
        return {"pixels": self.pixels.as_json(), "features": self.features.as_json()}

    def warnings(self, name: str) -> list[str]:
        """A sentence for each space in which far more pictures than of held-out data are near to a training picture."""
        return [
            f"{name}: {found.rate.value:.0%} of its pictures are as near to a training picture in {space} as the "
            f"nearest {NEAR_SHARE:.0%} of pictures that training never saw; look at samples/neighbours.png."
            for space, found in (("pixels", self.pixels), ("features", self.features))
            if found.rate.low > MOST_RATE
        ]


def searched_in_features(training: int, samples: int) -> int:
    """How many of the training pictures are searched in features."""
    return min(training, PER_SAMPLE * samples)


def measure_memorised(
    drawn: NDArray[np.uint8],
    name: str,
    fidelity: FidelityResult,
    reference: Reference,
    training: NDArray[np.int64],
    *,
    net_name: str,
    samples: int,
    progress: Callable[[int], None] | None = None,
    store: MeasurementStore | None = None,
) -> Memorised:
    """Search the training pictures for the neighbours of `drawn` (n, h, w, C), the first pictures of subject `name`.

    `progress` is told how many training pictures went through the feature net.
    """
    pictures = reference.pictures
    count = min(SAMPLES, len(drawn))
    held = evenly(np.arange(len(reference.indices)), SAMPLES)
    in_pixels, in_features = evenly(training, IN_PIXELS), evenly(training, searched_in_features(len(training), samples))
    rows = _rows(pictures, in_pixels)
    net = (store or MeasurementStore()).net(feature_net(net_name))
    known = extract(net, (_some(pictures, part) for part in _chunks(in_features)), progress)
    pixels = memorisation(
        flattened(drawn[:count].transpose(0, 3, 1, 2)),
        rows,
        _rows(pictures, reference.indices[held]),
        unit=rms_unit(rows),
    )
    features = memorisation(fidelity.features[name][:count], known, fidelity.data[held])
    shown = [_Lazy(pictures, indices) for indices in (in_pixels, in_features)]
    return Memorised(pixels, features, neighbours_sheet(drawn[:count], (pixels, shown[0]), (features, shown[1])), known)


@dataclass(frozen=True)
class _Lazy:
    """Training pictures (t, h, w, C) of which only those that are asked for are read."""

    pictures: PictureSet
    indices: NDArray[np.int64]

    def __getitem__(self, wanted: NDArray[np.int64]) -> NDArray[np.uint8]:
        return np.array(self.pictures.pictures[self.indices[wanted]]).transpose(0, 2, 3, 1)


def _chunks(indices: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [indices[start : start + CHUNK] for start in range(0, len(indices), CHUNK)]


def _some(pictures: PictureSet, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.array(pictures.pictures[indices])


def _rows(pictures: PictureSet, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
    return np.concatenate([flattened(_some(pictures, part)) for part in _chunks(indices)])
