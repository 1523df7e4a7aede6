"""Parity: the exported file draws the same pictures as the network it was made from."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ganlet.device.latents import latents
from ganlet.device.runner import Runner
from ganlet.verify.checks import Check, Status, at_most

BATCHES = (1, 4, 7, 64)
RANGE = 2.0  # of a pixel, from -1 to 1


@dataclass(frozen=True)
class Parity:
    """Largest and mean-square difference of pixels in [-1, 1] over several batch sizes."""

    status: Status
    reason: str
    max_abs: float
    psnr_db: float | None
    batches: dict[str, float]
    """Largest difference per batch size."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def check(self, name: str, limit: float) -> Check:
        return at_most(f"parity of {name}", self.max_abs, limit, "of [-1, 1]", self.reason)


def check_parity(artefact: Runner, reference: Runner, *, limit: float, seed: int) -> Parity:
    """Compare both on the same latents at batch 1, 4, 7 and 64.

    psnr_db is 10 log10(4 / mean square), None where the pictures are equal to the bit.
    """
    largest: dict[str, float] = {}
    squares: list[float] = []
    start = 0
    for batch in BATCHES:
        z = latents(seed, start, batch, reference.latent_dim)  # (batch, latent) float32
        difference = artefact(z).astype(np.float64) - reference(z).astype(np.float64)
        largest[str(batch)] = float(np.abs(difference).max())
        squares.append(float(np.square(difference).mean()))
        start += batch
    worst, square = max(largest.values()), float(np.mean(squares))
    return Parity(
        status="passed" if worst <= limit else "failed",
        reason=f"{artefact.name} against {reference.name}, batches {', '.join(largest)}",
        max_abs=worst,
        psnr_db=10 * math.log10(RANGE**2 / square) if square else None,
        batches=largest,
    )
