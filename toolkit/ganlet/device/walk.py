"""Walking from latent to latent without leaving the sphere that the generator knows."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice, pairwise

import numpy as np
from numpy.typing import NDArray

from ganlet.device.feed import z_port
from ganlet.errors import GanletError

_STRAIGHT = 1e-6  # a sine below which two latents lie on one line, and the straight way is taken


def slerp(a: NDArray[np.float32], b: NDArray[np.float32], t: NDArray[np.float64]) -> NDArray[np.float32]:
    """Spherical interpolation: a, b float32 (latent,) and t float64 (n,) in [0, 1] -> float32 (n, latent).

    sin((1 - t) w) / sin(w) a + sin(t w) / sin(w) b with w the angle between a and b (Shoemake 1985, "Animating rotation
    with quaternion curves", section 3.3; for latents White 2016, "Sampling generative networks", section 2.1). t = 0 is
    a and t = 1 is b. A straight line instead passes nearer to the origin than any latent that was trained with; it is
    taken only where the angle is not defined: a or b zero, or both on one line.
    Raises GanletError for two latents of different lengths.
    """
    if a.ndim != 1 or a.shape != b.shape:
        raise GanletError(f"Got latents of the shapes {a.shape} and {b.shape} to walk between; expected one length.")
    start, end = a.astype(np.float64), b.astype(np.float64)
    t = np.asarray(t, dtype=np.float64)[:, None]
    norms = np.linalg.norm(start) * np.linalg.norm(end)
    cosine = float(np.clip(start @ end / norms, -1.0, 1.0)) if norms > 0 else 1.0
    angle = np.arccos(cosine)
    if np.sin(angle) < _STRAIGHT:
        return ((1 - t) * start + t * end).astype(np.float32)
    weight_a, weight_b = np.sin((1 - t) * angle) / np.sin(angle), np.sin(t * angle) / np.sin(angle)
    return np.asarray(weight_a * start + weight_b * end, dtype=np.float32)


def walk(
    seed: int, indices: Iterable[int], latent_dim: int, frames: int, batch: int = 32
) -> Iterator[NDArray[np.float32]]:
    """Latents of a closed walk: from each index's latent to the next in `frames` equal steps, the last to the first.

    Yields float32 (n, latent_dim), n <= batch; `frames` rows an index in all, the first of them the index's own latent.
    Memory does not grow with the number of indices or frames.
    Raises GanletError, once asked for rows, for fewer than one frame or two indices, and as `Port.draw` does.
    """
    if frames < 1:
        raise GanletError(f"Got {frames} frames from picture to picture; expected 1 or more.")
    keys = iter(indices)
    head = list(islice(keys, 2))
    if len(head) < 2:
        raise GanletError("A walk needs two pictures or more to go between; ask for more with -n or --indices.")
    for here, there in pairwise(chain(head, keys, head[:1])):
        a, b = (z_port(latent_dim).draw(seed, index, 1)[0] for index in (here, there))  # (latent_dim,) float32 each
        for first in range(0, frames, batch):
            yield slerp(a, b, np.arange(first, min(first + batch, frames)) / frames)
