"""Notes on figures that invite a wrong reading: few pictures, the same pictures on both sides, intervals of no use."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.commands.fid.measured import Measured

VERY_FEW = 20  # pictures of a side: fewer say next to nothing, in however few features
SAME = 1e-5  # of the spread of a projection: features of one picture differ by rounding between batches
LEAST_OVERLAP = 0.01  # of either side's pictures that are on the other side too, from which a note says so


def reading_notes(a: Measured, b: Measured, figures: dict[str, dict[str, Any]], same_latents: bool) -> list[str]:
    """A sentence for each reason why a figure or its interval does not mean what it seems to."""
    notes = list(dict.fromkeys(note for side in (a, b) if (note := _few(side, a, b))))
    kid = next((figure for name, figure in figures.items() if name.startswith("kid_")), None)
    shared_of_a, shared_of_b = _shared(a, b)
    if not same_latents and min(shared_of_a, shared_of_b) == 1.0:
        note = "A and B are the same pictures, so their distance is 0"
        if kid is not None:
            note += (
                "; KID is below 0 by construction, since it leaves out the pairs of a picture with itself within a "
                "set and counts them between the sets"
            )
            note += ", and its interval does not hold 0" if kid["high"] < 0 else ""
        return [*notes, note]
    if not same_latents and max(shared_of_a, shared_of_b) >= LEAST_OVERLAP:
        notes.append(
            f"{shared_of_a:.0%} of A's pictures are in B too and {shared_of_b:.0%} of B's in A: every distance comes "
            "out too small, and KID may fall below 0"
        )
    elif kid is not None and kid["high"] < 0:
        notes.append("KID is below 0 with its whole interval, which no distance is: read it as 0, or use more pictures")
    return notes + _without_width(figures)


def _few(side: Measured, a: Measured, b: Measured) -> str:
    """Why the number of pictures of a side is too small for its figures; empty where it is not, or is unknown."""
    counts, width = [known.statistics.moments.count for known in (a, b)], len(side.statistics.moments.mean)
    count = side.statistics.moments.count
    enough = max(width + 1, VERY_FEW)
    if not 0 < count < enough:
        return ""
    who = "A and B have" if counts == [count, count] else "A has" if side is a else "B has"
    very = f", and {count} pictures say next to nothing" if count < VERY_FEW else ""
    return (
        f"{who} {count:,} pictures, few for {width:,} features{very}: the Frechet distance is too large by an amount "
        f"that its interval leaves out; compare it only with figures of the same numbers of pictures, or use at least "
        f"{enough:,}"
    )


def _without_width(figures: dict[str, dict[str, Any]]) -> list[str]:
    """A note on shares that all pictures agree on: a bootstrap then gives an interval without a width."""
    named = [
        name.split("_")[0]
        for name, figure in figures.items()
        if name.startswith(("precision_", "recall_", "coverage_", "density_")) and figure["low"] == figure["high"]
    ]
    if not named:
        return []
    return [
        f"the interval of {', '.join(named)} has no width since all pictures here agree; it does not hold what more "
        "pictures would show"
    ]


def _shared(a: Measured, b: Measured) -> tuple[float, float]:
    """Shares of A's pictures that are in B too, and of B's in A; 0 where a side has no features of single pictures."""
    if a.features is None or b.features is None:
        return 0.0, 0.0
    first, second = _projected(a.features, b.features)
    return float(_has_twin(first, second).mean()), float(_has_twin(second, first).mean())


def _projected(a: NDArray[np.float32], b: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sides (n, 2) on two random directions, in units of their spread: equal pictures have equal places."""
    directions = np.random.default_rng(0).standard_normal((a.shape[1], 2))
    places = [np.concatenate([part @ directions for part in _chunks(side)]) for side in (a, b)]
    spread = np.concatenate(places).std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    return places[0] / scale, places[1] / scale


def _chunks(features: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    return [features[start : start + 4096].astype(np.float64) for start in range(0, len(features), 4096)]


def _has_twin(places: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether each of `places` (n, 2) has one of `others` (m, 2) at the same place but for rounding."""
    ordered = others[np.argsort(others[:, 0], kind="stable")]
    starts = np.searchsorted(ordered[:, 0], places[:, 0] - SAME)
    ends = np.searchsorted(ordered[:, 0], places[:, 0] + SAME, side="right")
    return np.array(
        [
            bool((np.abs(ordered[start:end, 1] - place[1]) <= SAME).any())
            for place, start, end in zip(places, starts, ends, strict=True)
        ]
    )
