"""The faults of pictures and feature arrays, checked in one place before any arithmetic."""

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError

ROWS = 4096  # looked at at a time


def require_features(features: NDArray[np.generic], least: int) -> None:
    """Check that `features` is (n, d), finite, with n >= `least` and d >= 1.

    Raises GanletError otherwise: one non-finite feature would silently turn a whole figure into NaN.
    """
    if features.ndim != 2 or features.shape[1] == 0:
        raise GanletError(f"Features have the shape {features.shape}, expected (pictures, features); use `extract`.")
    if len(features) < least:
        raise GanletError(f"A distance needs at least {least} pictures a side, got {len(features)}; add pictures.")
    # A chunk at a time: features may be mapped from a disk and larger than memory.
    chunks = (features[start : start + ROWS] for start in range(0, len(features), ROWS))
    bad = sum(int((~np.isfinite(chunk)).any(axis=1).sum()) for chunk in chunks)
    if bad:
        raise GanletError(
            f"The features of {bad} of {len(features)} pictures are not finite numbers; check that the generator's "
            "output is finite."
        )


def require_same_width(a: int, b: int) -> None:
    """Check that both sides have the same number of features. Raises GanletError otherwise."""
    if a != b:
        raise GanletError(f"The two sides have {a} and {b} features a picture; measure both with the same feature net.")


def require_pictures(pictures: NDArray[np.generic]) -> None:
    """Check that `pictures` is uint8 (n, 1 or 3, height, width); n may be 0. Raises GanletError otherwise."""
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[1] not in (1, 3) or 0 in pictures.shape[2:]:
        raise GanletError(
            f"Pictures for a feature net must be uint8 (n, 1 or 3, height, width), got {pictures.dtype} "
            f"{pictures.shape}; convert them first."
        )
