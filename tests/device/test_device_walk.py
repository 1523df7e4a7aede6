"""Spherical interpolation by its defining properties, and the closed walk."""

from itertools import count, islice

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ganlet.device.latents import latents
from ganlet.device.walk import slerp, walk
from ganlet.errors import GanletError

seeds = st.integers(0, 2**32)


def angle(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(np.arccos(np.clip(a @ b / np.linalg.norm(a) / np.linalg.norm(b), -1, 1)))


def test_slerp_by_hand() -> None:
    x, y = np.array([1, 0], np.float32), np.array([0, 1], np.float32)
    got = slerp(x, y, np.array([0, 1 / 3, 0.5, 1]))
    assert got.dtype == np.float32 and got.shape == (4, 2)
    np.testing.assert_allclose(got, [[1, 0], [np.sqrt(3) / 2, 0.5], [np.sqrt(0.5)] * 2, [0, 1]], atol=1e-7)


@given(seeds, st.integers(2, 200))
def test_slerp_between_equal_lengths_turns_at_one_speed_on_the_sphere(seed: int, latent: int) -> None:
    a, b = latents(seed, 0, 2, latent)
    a, b = (row / np.linalg.norm(row) for row in (a, b))
    assume(0.05 < angle(a, b) < np.pi - 0.05)  # next to a line there is no telling which way round, in float32
    t = np.linspace(0, 1, 9)
    way = slerp(a, b, t)
    np.testing.assert_allclose(np.linalg.norm(way, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose([angle(a, row) for row in way[1:]], t[1:] * angle(a, b), atol=2e-3)
    np.testing.assert_allclose(slerp(b, a, 1 - t), way, atol=1e-5)


@given(seeds, st.integers(1, 200))
def test_slerp_begins_and_ends_at_its_latents(seed: int, latent: int) -> None:
    a, b = latents(seed, 0, 2, latent)
    got = slerp(a, b, np.array([0.0, 1.0]))
    assert np.array_equal(got[0], a)
    np.testing.assert_allclose(got[1], b, atol=1e-6)


@pytest.mark.parametrize("other", [[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0], [3.0, 6.0]])
def test_latents_on_one_line_are_joined_straight(other: list[float]) -> None:
    a, b = np.array([1, 2], np.float32), np.array(other, np.float32)
    np.testing.assert_allclose(slerp(a, b, np.array([0, 0.5, 1])), [a, (a + b) / 2, b], atol=1e-6)


def test_the_walk_is_closed_and_passes_every_latent() -> None:
    rows = np.concatenate(list(walk(3, [5, 2, 9], 10, frames=7, batch=4)))
    assert rows.shape == (21, 10) and rows.dtype == np.float32
    for step, index in enumerate((5, 2, 9)):
        assert np.array_equal(rows[7 * step], latents(3, index, 1, 10)[0])
    steps = np.linalg.norm(np.diff(np.concatenate([rows, rows[:1]]), axis=0), axis=1)
    assert steps.max() < 3 * steps.min(), "no jump, the one from the last to the first included"
    for batch in (1, 7, 100):
        assert np.array_equal(np.concatenate(list(walk(3, [5, 2, 9], 10, frames=7, batch=batch))), rows)


def test_the_walk_is_lazy() -> None:
    assert len(list(islice(walk(0, count(), 4, frames=10**9, batch=5), 3))) == 3


@pytest.mark.parametrize(
    ("indices", "frames", "words"), [([4], 5, "two pictures"), ([], 5, "two"), ([1, 2], 0, "0 fr")]
)
def test_walks_that_go_nowhere_are_refused(indices: list[int], frames: int, words: str) -> None:
    with pytest.raises(GanletError, match=words):
        next(walk(0, indices, 4, frames))
    with pytest.raises(GanletError, match="one length"):
        slerp(np.zeros(2, np.float32), np.zeros(3, np.float32), np.zeros(1))
