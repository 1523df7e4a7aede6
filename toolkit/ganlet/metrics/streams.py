"""Features of any number of pictures, a chunk at a time."""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from ganlet.metrics.features import FeatureNet


def extract(
    net: FeatureNet, chunks: Iterable[NDArray[np.uint8]], progress: Callable[[int], None] | None = None
) -> NDArray[np.float32]:
    """Features (N, net.dim) float32 of all pictures in `chunks`, each uint8 (n, channels, height, width).

    Only one chunk of pictures is held at a time. `progress` gets the number of pictures done so far after each chunk.
    Raises GanletError like `net.features`.
    """
    parts = [np.zeros((0, net.dim), dtype=np.float32)]
    done = 0
    for chunk in chunks:
        parts.append(net.features(chunk))
        done += len(chunk)
        if progress is not None:
            progress(done)
    return np.concatenate(parts)
