"""Statistics files: mean and covariance of a set's features in an .npz that pytorch-fid reads, and reads of its.

mu (d,), sigma (d, d)            what pytorch-fid, clean-fid and others write and read
count, net, protocol, data_sha256, schema    ours, beside them: figures compare only between equal protocols
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError, words_of
from ganlet.files import atomic_path
from ganlet.metrics.frechet import Moments

SCHEMA = 1
MAX_BYTES = 520 * 2**20  # of what is read of a file, unpacked: 8,192 features in float64
LARGEST = 1e100  # its square is still a float64
SYMMETRY = 1e-6  # allowed relative difference of sigma from its transpose
TEXTS = ("net", "protocol", "data_sha256", "features_sha256")
READ = ("mu", "sigma", "count", *TEXTS)
"""Members that are read; others stay packed."""
UNKNOWN = 0  # count of a file that does not tell it


@dataclass(frozen=True, eq=False)
class Statistics:
    """Moments and where they come from; of a foreign file `moments.count` is 0 and the texts are empty."""

    moments: Moments
    net: str = ""
    protocol: str = ""
    data_sha256: str = ""
    features_sha256: str = ""  # of the .npy file of features beside it, in a cache


def write_statistics(path: Path, statistics: Statistics) -> None:
    """Write the .npz atomically. Raises GanletError when it cannot be written."""
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            mu=statistics.moments.mean,
            sigma=statistics.moments.covariance,
            count=np.int64(statistics.moments.count),
            net=np.array(statistics.net),
            protocol=np.array(statistics.protocol),
            data_sha256=np.array(statistics.data_sha256),
            features_sha256=np.array(statistics.features_sha256),
            schema=np.int64(SCHEMA),
        )


def read_statistics(path: Path) -> Statistics:
    """Read an .npz of ours or of pytorch-fid's. Pickled objects are refused.

    Raises GanletError when the file is missing, damaged, too large or lacks `mu` or `sigma`, and where these have other
    shapes, hold NaN or infinity, or sigma is no covariance.
    """
    held = _load(path)
    mean, covariance = _numbers(path, held["mu"]), _numbers(path, held["sigma"])
    if mean.ndim != 1 or len(mean) == 0 or covariance.shape != (len(mean), len(mean)):
        raise GanletError(
            f"{path} holds mu of the shape {mean.shape} and sigma of {covariance.shape}, expected (d,) and (d, d); "
            "make it again from the pictures."
        )
    scale = float(np.abs(covariance).max())
    skew = float(np.abs(covariance - covariance.T).max())
    if skew > SYMMETRY * scale or float(np.diag(covariance).min()) < -SYMMETRY * scale:
        raise GanletError(
            f"The sigma of {path} is no covariance (it is not symmetric, or has a negative variance); make it again "
            "from the pictures."
        )
    count = held.get("count", np.int64(UNKNOWN))
    if count.shape != () or count.dtype.kind not in "iu" or int(count) < 0:
        raise GanletError(f"{path} holds a count of {count!r}, expected a whole number; make it again.")
    texts = {name: str(held[name]) for name in TEXTS if name in held}
    return Statistics(Moments(mean, (covariance + covariance.T) / 2, int(count)), **texts)


def require_same_protocol(a: Statistics, b: Statistics, name_a: str, name_b: str) -> tuple[str, ...]:
    """Notes on what had to be taken on trust. Raises GanletError when both protocols are known and differ."""
    if a.protocol and b.protocol and a.protocol != b.protocol:
        raise GanletError(
            f"{name_a} was measured by the protocol ({a.protocol}) but {name_b} by ({b.protocol}): their distance "
            "means nothing; measure both with the same --features."
        )
    if len(a.moments.mean) != len(b.moments.mean):
        raise GanletError(
            f"{name_a} has {len(a.moments.mean)} features a picture but {name_b} {len(b.moments.mean)}; measure both "
            "with the same --features."
        )
    return tuple(
        f"protocol unknown: {name} does not say how its features were made"
        for name, side in ((name_a, a), (name_b, b))
        if not side.protocol
    )


def _load(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [(member.filename.removesuffix(".npy"), member.file_size) for member in archive.infolist()]
        names = {name for name, _ in members}
        if not {"mu", "sigma"} <= names:
            raise GanletError(
                f"{path} holds {', '.join(sorted(names)) or 'nothing'}, expected mu and sigma, as `ganlet fid "
                "--save-stats` or pytorch-fid write them."
            )
        unpacked_bytes = sum(size for name, size in members if name in READ)
        if unpacked_bytes > MAX_BYTES:
            raise GanletError(f"{path} unpacks to {unpacked_bytes} bytes, expected at most {MAX_BYTES}; make it again.")
        with np.load(path, allow_pickle=False) as opened:
            return {name: opened[name] for name in opened.files if name in READ}
    except OSError as error:
        raise GanletError(f"Cannot read {path} ({error.strerror or error}); check the path.") from error
    except GanletError:
        raise
    except Exception as error:  # whatever a damaged or a hostile file makes of zip, deflate, numpy and its headers
        raise GanletError(
            f"{path} is not a whole .npz of arrays ({words_of(error)}); copy it again or make it again from the "
            "pictures."
        ) from error


def _numbers(path: Path, array: NDArray[Any]) -> NDArray[np.float64]:
    if array.dtype.kind not in "fiu":
        raise GanletError(f"{path} holds mu and sigma of {array.dtype}, expected floats; make it again.")
    numbers = array.astype(np.float64, copy=False)
    if not np.isfinite(numbers).all():
        raise GanletError(f"{path} holds values that are not finite numbers; make it again from the pictures.")
    if np.abs(numbers).max(initial=0.0) > LARGEST:
        raise GanletError(f"{path} holds values beyond {LARGEST:g}, which no features have; make it again.")
    return numbers
