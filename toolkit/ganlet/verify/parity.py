"""Parity: the exported file draws the same pictures as the network it was made from."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ganlet.device.feed import feed_at
from ganlet.device.runner import Runner
from ganlet.verify.checks import Check, Status, at_least, at_most

BATCHES = (1, 4, 7, 64)
RANGE = 2.0  # of a pixel, from -1 to 1
LEAST_VARIANCE = (RANGE / 255) ** 2 / 12  # of rounding to 8 bits


@dataclass(frozen=True)
class Parity:
    """Largest and mean-square difference of pixels in [-1, 1] over several batch sizes."""

    status: Status
    reason: str
    max_abs: float
    psnr_db: float | None
    """10 log10(4 / mean square); None where the pictures are equal to the bit."""
    explained: float | None
    """1 - mean square / variance of the network's pictures over latents: at most 0 of a grey, or constant, picture.

    None where the network's own pictures differ by less than rounding: there is nothing to explain.
    """
    batches: dict[str, float]
    """Largest difference per batch size."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def check(self, name: str, limit: float) -> Check:
        """Whether the worst pixel is within its limit."""
        return at_most(f"parity of {name}", self.max_abs, limit, "of [-1, 1]", self.reason)

    def likeness(self, name: str, least_psnr_db: float) -> Check:
        """Whether the pictures as a whole are as near as asked; passed without a figure where they are equal."""
        return at_least(f"PSNR of {name}", self.psnr_db, least_psnr_db, "dB", self.reason)


def check_parity(
    artifact: Runner, reference: Runner, *, seed: int, limit: float | None = None, least_psnr_db: float | None = None
) -> Parity:
    """Compare both on the same feeds at batch 1, 4, 7 and 64; passed within whichever limits are given.

    `limit`: of the largest difference of a pixel in [-1, 1].
    """
    largest: dict[str, float] = {}
    squares, spread, start = 0.0, 0.0, 0
    for batch in BATCHES:
        feed = feed_at(reference.ports, seed, start, batch)
        expected = reference(feed).astype(np.float64)
        difference = artifact(feed).astype(np.float64) - expected
        largest[str(batch)] = float(np.abs(difference).max())
        squares += batch * float(np.square(difference).mean())
        start += batch
        spread = float(expected.var(axis=0).mean())  # of the last batch, the largest
    worst, square = max(largest.values()), squares / start
    psnr_db = 10 * math.log10(RANGE**2 / square) if square else math.inf
    passed = worst <= (math.inf if limit is None else limit)
    passed &= psnr_db >= (-math.inf if least_psnr_db is None else least_psnr_db)
    return Parity(
        status="passed" if passed else "failed",
        reason=f"{artifact.name} against {reference.name}, batches {', '.join(largest)}",
        max_abs=worst,
        psnr_db=psnr_db if square else None,
        explained=1 - square / spread if spread > LEAST_VARIANCE else None,
        batches=largest,
    )
