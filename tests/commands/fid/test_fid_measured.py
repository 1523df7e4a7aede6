"""Measuring a source: memory that does not grow with the pictures, and a cache that holds only what is whole."""

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ganlet.commands.fid.measured import Measured, measure
from ganlet.commands.fid.sources import Source
from ganlet.errors import GanletError
from ganlet.metrics import moments

CHUNK = 100


class Rows:
    """A feature net of 256 features: the pixels themselves."""

    name, dim, protocol = "rows", 256, "pixels"

    def features(self, pictures: np.ndarray) -> np.ndarray:
        return pictures.reshape(len(pictures), -1).astype(np.float32)


def chunks(count: int) -> Iterator[np.ndarray]:
    generator = np.random.default_rng(0)
    for start in range(0, count, CHUNK):
        yield generator.integers(0, 256, (min(CHUNK, count - start), 1, 16, 16), dtype=np.uint8)


def source(count: int, really: int | None = None) -> Source:
    return Source("pictures", "folder", count, identity=f"{count:064d}", chunks=lambda: chunks(really or count))


def ignore(done: int, total: int) -> None:
    pass


def peak_bytes(count: int, cache: Path) -> int:
    tracemalloc.start()
    found = measure(source(count), Rows(), cache, ignore)
    assert found.features is not None and found.features.shape == (count, 256)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    few, many = peak_bytes(1000, tmp_path), peak_bytes(8000, tmp_path)
    features_bytes = 7000 * 256 * 4
    assert many - few < 0.05 * features_bytes, (few, many)


def test_what_is_kept_are_the_features_and_their_moments(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = measure(source(250), Rows(), tmp_path, lambda *now: seen.append(now))
    expected = np.concatenate(list(chunks(250))).reshape(250, 256)
    assert isinstance(found, Measured) and not found.cached and found.features is not None
    np.testing.assert_array_equal(found.features, expected)
    known = found.statistics
    np.testing.assert_allclose(known.moments.covariance, np.cov(expected, rowvar=False), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(known.moments.mean, moments(expected).mean, rtol=1e-13)
    assert (known.net, known.protocol, known.moments.count) == ("rows", "pixels", 250)
    assert seen == [(0, 250), (100, 250), (200, 250), (250, 250)]
    assert measure(source(250), Rows(), tmp_path, ignore).cached


def test_pictures_that_change_while_they_are_read_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(GanletError, match="pictures changed while it was read"):
        measure(source(250, really=200), Rows(), tmp_path, ignore)
    assert not list((tmp_path / "features").iterdir())


def test_a_full_disk_and_an_unwritable_cache_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GanletError, match=r"Cannot write to the cache folder .* set GANLET_CACHE"):
        measure(source(250), Rows(), tmp_path / "file", ignore)
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(GanletError, match=r"has 0\.0 MiB free but the features take 0\.2 MiB"):
        measure(source(250), Rows(), tmp_path, ignore)
