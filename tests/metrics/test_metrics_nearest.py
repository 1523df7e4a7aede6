"""Neighbours against a brute force of one line, and what cannot be searched."""

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics import nearest as module
from ganlet.metrics.nearest import nearest


def brute_force(queries: np.ndarray, base: np.ndarray, k: int, same: bool) -> tuple[np.ndarray, np.ndarray]:
    far = np.sqrt(((queries[:, None].astype(float) - base[None].astype(float)) ** 2).sum(-1))
    if same:
        np.fill_diagonal(far, np.inf)
    order = np.argsort(far, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(far, order, axis=1), order


@pytest.mark.parametrize(("k", "same"), [(1, False), (4, False), (1, True), (3, True)])
def test_neighbours_are_those_of_a_brute_force(monkeypatch: pytest.MonkeyPatch, k: int, same: bool) -> None:
    monkeypatch.setattr(module, "QUERIES", 7)
    monkeypatch.setattr(module, "BASE", 16)
    random = np.random.default_rng(0)
    base = (random.standard_normal((60, 12)) + 100).astype(np.float32)  # far from the origin: float32 would be lost
    queries = base if same else (random.standard_normal((23, 12)) + 100).astype(np.float32)
    distances, indices = nearest(queries, base, k, same=same)
    expected, order = brute_force(queries, base, k, same)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    np.testing.assert_array_equal(indices, order)


def test_a_copy_is_at_exactly_zero_and_equal_ones_come_by_index() -> None:
    base = np.random.default_rng(0).standard_normal((50, 30)).astype(np.float32)
    base[40] = base[3]
    distances, indices = nearest(base[3:4], base, 3)
    assert distances[0, :2].tolist() == [0.0, 0.0] and indices[0, :2].tolist() == [3, 40]
    distances, indices = nearest(base, base, same=True)
    assert (distances[3, 0], indices[3, 0]) == (0.0, 40) and (distances[40, 0], indices[40, 0]) == (0.0, 3)
    assert (distances[[0, 1, 2]] > 0).all()


def test_bytes_are_searched_a_few_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VALUES", 100)  # two rows at a time
    random = np.random.default_rng(0)
    base, queries = (random.integers(0, 256, (n, 48), dtype=np.uint8) for n in (30, 9))
    distances, indices = nearest(queries, base, 2)
    expected, order = brute_force(queries, base, 2, False)
    np.testing.assert_allclose(distances, expected, rtol=1e-12)
    np.testing.assert_array_equal(indices, order)


def test_what_cannot_be_searched_is_refused() -> None:
    rows = np.zeros((3, 2))
    with pytest.raises(GanletError, match="3 pictures to search for 4 neighbours"):
        nearest(rows, rows, 4)
    with pytest.raises(GanletError, match="3 pictures to search for 3 neighbours"):
        nearest(rows, rows, 3, same=True)
    with pytest.raises(GanletError, match="2 and 5 features"):
        nearest(rows, np.zeros((3, 5)))
    with pytest.raises(GanletError, match="not finite"):
        nearest(rows, np.full((3, 2), np.nan))
