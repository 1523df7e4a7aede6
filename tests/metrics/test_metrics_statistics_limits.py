"""Statistics files that ask for more memory than statistics take."""

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics.statistics import MAX_BYTES, read_statistics


def add_zeros(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> None:
    """A member of float64 zeros, written piece by piece; deflate makes it small."""
    with archive.open(name, "w", force_zip64=True) as stream:
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": shape})
        left = int(np.prod(shape)) * 8
        while left:
            left -= stream.write(bytes(min(left, 2**24)))


@pytest.mark.parametrize("sigma", ["sigma.npy", "sigma"])
def test_a_covariance_beyond_any_feature_net_is_refused_unread(sigma: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        add_zeros(archive, "mu.npy", (8400,))
        add_zeros(archive, sigma, (8400, 8400))
    tracemalloc.start()
    with pytest.raises(GanletError, match="expected at most"):
        read_statistics(path)
    assert tracemalloc.get_traced_memory()[1] < MAX_BYTES / 100
    tracemalloc.stop()


def test_members_that_are_not_read_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "more.npz"
    np.savez(path, mu=np.zeros(3), sigma=np.eye(3))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        add_zeros(archive, "features.npy", (10**7,))
    tracemalloc.start()
    assert len(read_statistics(path).moments.mean) == 3
    assert tracemalloc.get_traced_memory()[1] < 10**7
    tracemalloc.stop()


def test_a_file_without_a_covariance_names_what_it_holds(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", mu=np.zeros(3), features=np.zeros(3))
    with pytest.raises(GanletError, match="holds features, mu, expected mu and sigma"):
        read_statistics(tmp_path / "other.npz")
