"""What verification drew and measured before, in the cache folder: what has not changed is not done again.

Pictures are kept by what drew them, features by the bytes of the pictures that they are of, the time and memory of a
file by its hash; all by this machine. So an artifact that is added costs its own time, and the figures are the same to
the bit as if all were measured anew. The folder holds `MOST_BYTES` at most; what was used last stays.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganlet.data.cache import default_cache
from ganlet.errors import GanletError
from ganlet.files import MIB, atomic_path, read_json, sha256_file, write_json
from ganlet.metrics.features import FeatureNet

if TYPE_CHECKING:
    from torch import Tensor

REVISION = 1  # raise it when the same pictures would be drawn or measured otherwise
MOST_BYTES = 2048 * MIB
LEAST_FREE_BYTES = 2 * MOST_BYTES  # of the disk: nothing is kept on a fuller one
Pictures = NDArray[np.uint8]


@dataclass
class MeasurementStore:
    """A store in `folder`; without one nothing is kept. `machine` is what the figures depend on beside their subject.

    `measured` counts the pictures that went through the feature net, `reused` those that did not have to.
    """

    folder: Path | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
    measured: int = 0
    reused: int = 0

    @classmethod
    def here(cls, machine: Mapping[str, Any]) -> "MeasurementStore":
        """The store of this user's cache; one that keeps nothing where the disk is nearly full."""
        folder = default_cache() / "verify"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            roomy = shutil.disk_usage(folder).free > LEAST_FREE_BYTES
        except OSError:
            roomy = False
        return cls(folder if roomy else None, machine)

    def has(self, **identity: Any) -> bool:
        """Whether the pictures of this identity are there."""
        if self.folder is None:
            return False
        path = self._path("pictures", identity)
        return path.with_suffix(".npy").is_file() and path.with_suffix(".json").is_file()

    def pictures(self, chunks: Callable[[], Iterable[Pictures]], samples: int, **identity: Any) -> Iterator[Pictures]:
        """The uint8 chunks (n, C, H, W), `samples` in all: as they were drawn before, else as `chunks` gives them."""
        if self.folder is None or not identity:
            yield from chunks()
            return
        identity |= {"samples": samples}
        path = self._path("pictures", identity)
        known = self._read(path)
        if known is not None:
            array, sizes = known
            yield from (np.array(array[a:b]) for a, b in pairwise([0, *np.cumsum(sizes)]))
            return
        yield from self._written(path, chunks(), samples)

    def net(self, net: FeatureNet) -> FeatureNet:
        """The same net, which measures only pictures that it has not measured on this machine."""
        return _StoredNet(net, self)

    def value(self, measure: Callable[[], dict[str, Any]], **identity: Any) -> dict[str, Any]:
        """A JSON object that was measured before, or `measure`'s."""
        if self.folder is None:
            return measure()
        path = self._path("value", identity).with_suffix(".json")
        with suppress(GanletError, KeyError, TypeError):
            value = read_json(path)["value"]
            os.utime(path)
            return dict(value)
        value = measure()
        with suppress(GanletError, OSError):
            write_json(path, {"value": value})
        return value

    def trim(self) -> None:
        """Remove what was used the longest ago until the folder holds `MOST_BYTES` at most."""
        if self.folder is None:
            return
        with suppress(OSError):
            files = sorted(self.folder.glob("*.*"), key=lambda path: path.stat().st_mtime, reverse=True)
            total = 0
            for path in files:
                total += path.stat().st_size
                if total > MOST_BYTES:
                    path.unlink(missing_ok=True)

    def _path(self, kind: str, identity: Mapping[str, Any]) -> Path:
        assert self.folder is not None
        whole = {"revision": REVISION, "kind": kind, "machine": dict(self.machine), **identity}
        digest = hashlib.sha256(json.dumps(whole, sort_keys=True).encode("ascii")).hexdigest()
        return self.folder / f"{kind}-{digest[:32]}"

    def _read(self, path: Path) -> "tuple[NDArray[Any], list[int]] | None":
        """The array and its note where both are whole: a damaged cache is no fault of the user's."""
        content, about = path.with_suffix(".npy"), path.with_suffix(".json")
        if not content.is_file() or not about.is_file():
            return None
        with suppress(GanletError, OSError, ValueError, KeyError, TypeError):
            note = read_json(about)
            if note["sha256"] == sha256_file(content):
                os.utime(content)
                os.utime(about)
                return np.load(content, mmap_mode="r", allow_pickle=False), [int(size) for size in note["sizes"]]
        return None

    def _written(self, path: Path, chunks: Iterable[Pictures], samples: int) -> Iterator[Pictures]:
        """The chunks; each is written as it passes, so that memory does not grow with their number."""
        sizes: list[int] = []
        whole, temporary = False, None
        try:
            with suppress(OSError), tempfile.NamedTemporaryFile(dir=self.folder, suffix=".tmp", delete=False) as stream:
                temporary = Path(stream.name)
            for chunk in chunks:
                sizes.append(len(chunk))
                if temporary is not None and not _append(temporary, chunk, samples, first=len(sizes) == 1):
                    temporary.unlink(missing_ok=True)
                    temporary = None
                yield chunk
            whole = temporary is not None and sum(sizes) == samples
        finally:
            if temporary is not None:
                if whole:
                    with suppress(GanletError, OSError):
                        temporary.replace(path.with_suffix(".npy"))
                        note = {"sha256": sha256_file(path.with_suffix(".npy")), "sizes": sizes}
                        write_json(path.with_suffix(".json"), note)
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)

    def _write(self, path: Path, array: NDArray[Any], sizes: list[int]) -> None:
        """Keep an array. That it cannot be kept is nothing that verification has to stop for."""
        with suppress(GanletError, OSError):
            content = path.with_suffix(".npy")
            with atomic_path(content) as temporary, temporary.open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
            write_json(path.with_suffix(".json"), {"sha256": sha256_file(content), "sizes": sizes})


def _append(path: Path, chunk: Pictures, samples: int, first: bool) -> bool:
    """Whether a chunk could be written to the end of a .npy file of `samples` pictures."""
    try:
        with path.open("ab") as stream:
            if first:
                header = {"descr": "|u1", "fortran_order": False, "shape": (samples, *chunk.shape[1:])}
                np.lib.format.write_array_header_1_0(stream, header)
            stream.write(np.ascontiguousarray(chunk).data)
    except OSError:
        return False
    return True


class _StoredNet:
    """A feature net behind the store: features by the bytes of the pictures."""

    def __init__(self, net: FeatureNet, store: MeasurementStore) -> None:
        self._net, self._store = net, store
        self.name, self.dim, self.protocol, self.batch = net.name, net.dim, net.protocol, net.batch

    def features(self, pictures: Pictures) -> NDArray[np.float32]:
        if self._store.folder is None:
            return self._measured(pictures)
        content = np.ascontiguousarray(pictures)
        identity = {
            "protocol": self.protocol,
            "shape": list(content.shape),
            "sha256": hashlib.sha256(content.data).hexdigest(),
        }
        path = self._store._path("features", identity)
        known = self._store._read(path)
        if known is not None and known[0].shape == (len(pictures), self.dim) and known[0].dtype == np.float32:
            self._store.reused += len(pictures)
            return np.array(known[0])
        features = self._measured(pictures)
        self._store._write(path, features, [len(features)])
        return features

    def _measured(self, pictures: Pictures) -> NDArray[np.float32]:
        self._store.measured += len(pictures)
        return self._net.features(pictures)

    def tensors(self) -> "Iterable[Tensor]":
        return self._net.tensors()


class Forecast:
    """Says once, by the rate of the first pictures, how many verification draws and measures and how long it takes."""

    def __init__(self, in_all: int, known: int, store: MeasurementStore, say: Callable[[str], None]) -> None:
        self.in_all, self.known, self.store, self.say = in_all, known, store, say
        self.started, self.measured, self.said = time.monotonic(), store.measured, False

    def update(self) -> None:
        done = self.store.measured - self.measured
        if self.said or done == 0:
            return
        self.said = True
        rate = done / max(time.monotonic() - self.started, 1e-9)
        to_do = max(self.in_all - self.known, done)
        before = f", {self.in_all - to_do:,} are known from before" if self.known else ""
        self.say(
            f"verify: about {to_do:,} pictures to draw and measure, roughly {_duration(to_do / rate)} at the rate of "
            f"the first {done:,}{before}"
        )


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
