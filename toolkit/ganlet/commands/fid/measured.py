"""Features and statistics of a source, kept on disk by what the pictures are and how they were measured.

Features are written as they come and mapped afterwards, so that memory does not grow with the number of pictures; the
statistics beside them are an ordinary statistics file.
"""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ganlet.commands.fid.sources import Source
from ganlet.errors import GanletError
from ganlet.files import MIB, atomic_path, sha256_file
from ganlet.leftovers import remove_leftovers
from ganlet.metrics.features import FeatureNet
from ganlet.metrics.frechet import MomentsAccumulator
from ganlet.metrics.statistics import Statistics, read_statistics, write_statistics

# Raise it whenever the same pictures would give other features under an unchanged protocol: old entries are left alone.
CODE_VERSION = 1
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Measured:
    """`features` (N, d) float32, mapped read-only from disk; None of a statistics file, which has none."""

    source: Source
    statistics: Statistics
    features: NDArray[np.float32] | None
    cached: bool


def measure(source: Source, net: FeatureNet | None, cache: Path, progress: Progress) -> Measured:
    """The features and statistics of `source` in `net`, from the folder `cache` where they are known and whole.

    Raises GanletError for damaged pictures, features that are not finite, and a cache that cannot be written.
    """
    if source.statistics is not None:
        return Measured(source, source.statistics, None, cached=True)
    assert net is not None, "only statistics files do without a net"
    identity = json.dumps({"code": CODE_VERSION, "data": source.identity, "protocol": net.protocol}, sort_keys=True)
    stem = cache / "features" / hashlib.sha256(identity.encode("ascii")).hexdigest()[:32]
    features, statistics = stem.with_suffix(".npy"), stem.with_suffix(".npz")
    remove_leftovers(stem.parent)
    found = _open(source, net, features, statistics)
    if found is not None:
        return found
    _preflight(stem.parent, source.count * net.dim * 4)
    source.check(progress)
    _extract(source, net, features, statistics, progress)
    found = _open(source, net, features, statistics)
    if found is None:
        raise GanletError(
            f"What was just written to {stem.parent} reads back otherwise; check that disk, or set GANLET_CACHE."
        )
    return Measured(source, found.statistics, found.features, cached=False)


def _extract(source: Source, net: FeatureNet, features: Path, statistics: Path, progress: Progress) -> None:
    accumulator, digest = MomentsAccumulator(net.dim), hashlib.sha256()
    # Written as a stream: a full disk is then an error to report, while a write into a mapped file would be a crash.
    with atomic_path(features) as temporary:
        with temporary.open("wb") as stream:
            header = {"descr": "<f4", "fortran_order": False, "shape": (source.count, net.dim)}
            np.lib.format.write_array_header_1_0(stream, header)
            progress(0, source.count)
            for chunk in source.chunks():
                found = np.ascontiguousarray(net.features(chunk), dtype="<f4")
                accumulator.update(found)
                stream.write(found.data)
                progress(accumulator.count, source.count)
        if accumulator.count != source.count:
            raise GanletError(f"{source.label} changed while it was read; measure it again.")
        with temporary.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256")
        moments = accumulator.moments()
    write_statistics(
        statistics, Statistics(moments, net.name, net.protocol, source.identity, features_sha256=digest.hexdigest())
    )


def _open(source: Source, net: FeatureNet, features: Path, statistics: Path) -> Measured | None:
    """The entry where it is whole, else None: a damaged cache is no fault of the user's."""
    try:
        known = read_statistics(statistics)
        mapped = np.load(features, mmap_mode="r", allow_pickle=False)
        sound = (
            mapped.shape == (source.count, net.dim)
            and mapped.dtype == np.float32
            and known.moments.count == source.count
            and (known.protocol, known.data_sha256) == (net.protocol, source.identity)
            and known.features_sha256 == sha256_file(features)
        )
    except (GanletError, OSError, ValueError):
        return None
    return Measured(source, known, mapped, cached=True) if sound else None


def _preflight(folder: Path, need_bytes: int) -> None:
    """Find out before the work that the cache cannot take the features."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise GanletError(
            f"Cannot write to the cache folder {folder} ({error.strerror or error}); set GANLET_CACHE to another."
        ) from error
    if free_bytes < need_bytes:
        raise GanletError(
            f"The cache folder {folder} has {free_bytes / MIB:.1f} MiB free but the features take "
            f"{need_bytes / MIB:.1f} MiB; free some space, or set GANLET_CACHE to a folder on another disk."
        )
