"""Statistics files: what is written is read back, and what is no statistics file is refused in a sentence."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics import Moments
from ganlet.metrics.statistics import Statistics, read_statistics, require_same_protocol, write_statistics

MOMENTS = Moments(np.array([1.0, 2.0]), np.array([[2.0, 0.5], [0.5, 1.0]]), 30)
KNOWN = Statistics(MOMENTS, "lite0", "its protocol", "ab" * 32)


def test_what_is_written_is_read_back_and_the_bytes_are_the_same(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        write_statistics(tmp_path / name, KNOWN)
    found = read_statistics(tmp_path / "one.npz")
    np.testing.assert_array_equal(found.moments.mean, MOMENTS.mean)
    np.testing.assert_array_equal(found.moments.covariance, MOMENTS.covariance)
    assert (found.moments.count, found.net, found.protocol, found.data_sha256) == (
        30,
        "lite0",
        "its protocol",
        "ab" * 32,
    )
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"mu": np.zeros(2)}, "holds mu, expected mu and sigma"),
        ({}, "holds nothing, expected mu and sigma"),
        ({"mu": np.zeros(2), "sigma": np.eye(3)}, r"shape \(2,\) and sigma of \(3, 3\)"),
        ({"mu": np.zeros((2, 2)), "sigma": np.eye(2)}, r"expected \(d,\) and \(d, d\)"),
        ({"mu": np.zeros(0), "sigma": np.zeros((0, 0))}, r"expected \(d,\) and \(d, d\)"),
        ({"mu": np.array([0.0, np.nan]), "sigma": np.eye(2)}, "not finite"),
        ({"mu": np.zeros(2), "sigma": np.full((2, 2), np.inf)}, "not finite"),
        ({"mu": np.zeros(2), "sigma": np.array([[1.0, 0.5], [0.0, 1.0]])}, "not symmetric"),
        ({"mu": np.zeros(2), "sigma": -np.eye(2)}, "negative variance"),
        ({"mu": np.zeros(2, dtype=complex), "sigma": np.eye(2)}, "complex128, expected floats"),
        ({"mu": np.array(["a", "b"]), "sigma": np.eye(2)}, "expected floats"),
        ({"mu": np.zeros(2), "sigma": np.eye(2), "count": np.array(2.5)}, "expected a whole number"),
        ({"mu": np.array([{}, {}], dtype=object), "sigma": np.eye(2)}, "not a whole .npz of arrays"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "odd.npz", **arrays)
    with pytest.raises(GanletError, match=words):
        read_statistics(tmp_path / "odd.npz")


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    write_statistics(tmp_path / "whole.npz", KNOWN)
    whole = (tmp_path / "whole.npz").read_bytes()
    flipped = bytearray(whole)
    flipped[150] ^= 0xFF  # inside mu: the archive's own checksum tells
    for name, content in (("cut", whole[:-40]), ("text", b"mu"), ("empty", b""), ("flipped", bytes(flipped))):
        (tmp_path / f"{name}.npz").write_bytes(content)
        with pytest.raises(GanletError, match=rf"{name}\.npz is not a whole"):
            read_statistics(tmp_path / f"{name}.npz")
    with pytest.raises(GanletError, match="Cannot read"):
        read_statistics(tmp_path / "none.npz")


def test_figures_need_equal_protocols() -> None:
    assert require_same_protocol(KNOWN, KNOWN, "A", "B") == ()
    with pytest.raises(GanletError, match=r"A was measured by the protocol \(its protocol\) but B by \(another\)"):
        require_same_protocol(KNOWN, replace(KNOWN, protocol="another"), "A", "B")
    foreign = Statistics(Moments(np.zeros(2), np.eye(2), 0))
    assert require_same_protocol(KNOWN, foreign, "A", "B") == (
        "protocol unknown: B does not say how its features were made",
    )
    with pytest.raises(GanletError, match="A has 2 features a picture but B 3"):
        require_same_protocol(KNOWN, Statistics(Moments(np.zeros(3), np.eye(3), 0)), "A", "B")
