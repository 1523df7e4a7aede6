"""Draw pictures by (seed, index): as arrays, as a stream, or as PNG files."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ganlet.device import executorch_runner
from ganlet.device.latents import labels, latents
from ganlet.device.onnx_session import CPU
from ganlet.device.open import open_runner
from ganlet.device.pictures import to_uint8, write_pictures
from ganlet.device.profiles import choose_profile
from ganlet.device.runner import Runner
from ganlet.device.walk import walk
from ganlet.errors import GanletError

# The same pictures whatever the batch. With ONNX Runtime on the CPU nothing is needed: it sums each output in an order
# that does not depend on the number of rows (seen bit-equal for batch 1 to 70 and 1 to 3 threads, over ConvTranspose,
# Conv, Gemm, normalisation, and static int8). ExecuTorch's runner draws one picture a call anyway. cuDNN, cuBLAS and
# OpenVINO choose an algorithm by the shape, batch included, and these differ in the last bits; so everywhere else every
# call has this one number of rows, the last one repeated.
_ROWS_ELSEWHERE = 32
_ANY_ROWS = {CPU, executorch_runner.PROVIDER}


class Sampler:
    """Pictures of one generator. Picture `i` of a seed is the same in every call, batch size and order."""

    runner: Runner

    def __init__(
        self,
        path: Path | str,
        *,
        provider: str = "auto",
        threads: int | None = None,
        batch: int | None = None,
        profile: str = "fast",
    ) -> None:
        """Load the generator at `path`; `provider`, `threads` and `profile` as for `open_runner`.

        `batch` pictures at a time, the profile's number unless told.
        Raises GanletError as `open_runner` does, and for a batch below 1.
        """
        self.batch = choose_profile(profile).batch if batch is None else batch
        _check_positive("a batch", self.batch)
        self.runner = open_runner(path, provider=provider, threads=threads, profile=profile)

    @classmethod
    def of(cls, runner: Runner, *, batch: int = 32) -> Self:
        """A sampler of a runner that is already loaded, of any backend. Raises GanletError for a batch below 1."""
        _check_positive("a batch", batch)
        sampler = cls.__new__(cls)
        sampler.runner, sampler.batch = runner, batch
        return sampler

    def stream(self, seed: int, start: int, count: int, label: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Yield float32 (n, C, H, W) in [-1, 1], n <= batch, of the indices `start ... start + count - 1`, in order.

        Memory does not grow with `count`. A conditional generator draws `label`, or a label a picture if None, which is
        also a function of (seed, index). Raises GanletError, at once, for a count below 1 or a label that does not fit.
        """
        _check_positive("a count", count)
        for index in (start, start + count - 1):
            latents(seed, index, 1, self.runner.latent_dim)  # refuses a bad seed or start before any work
        self._labels(seed, start, 1, label)
        return self._chunks(seed, start, count, label)

    def floats(self, start: int, count: int, seed: int = 0, label: int | None = None) -> NDArray[np.float32]:
        """float32 (count, C, H, W) in [-1, 1]. Labels and errors as `stream`."""
        return np.concatenate(list(self.stream(seed, start, count, label)))

    def images(self, start: int, count: int, seed: int = 0, label: int | None = None) -> NDArray[np.uint8]:
        """uint8 (count, H, W, C). Labels and errors as `stream`."""
        return np.concatenate([to_uint8(chunk) for chunk in self.stream(seed, start, count, label)])

    def pictures(
        self, indices: Iterable[range], *, seed: int = 0, label: int | None = None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (index, picture uint8 (H, W, C)) of each index, in order; labels, memory and errors as `stream`."""
        streams = [
            (indices.start, self.stream(seed, indices.start, indices.stop - indices.start, label))
            for indices in indices
        ]

        def each() -> Iterator[tuple[int, NDArray[np.uint8]]]:
            for first, chunks in streams:
                yield from enumerate((picture for chunk in chunks for picture in to_uint8(chunk)), first)

        return each()

    def walk(
        self, indices: Iterable[range], *, seed: int = 0, frames: int = 25, label: int | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames, uint8 (H, W, C), of a closed walk (`device.walk`), `frames` from picture to picture.

        Memory does not grow with the number of frames. Raises GanletError, at once, for a conditional generator without
        a label: a walk stays in one class.
        """
        if label is None and self.runner.classes is not None:
            raise GanletError(f"A walk stays in one class; give {self.runner.name} a label with --label.")
        self._labels(seed, 0, 1, label)
        latents(seed, 0, 1, self.runner.latent_dim)  # refuses a bad seed before any work
        keys = chain.from_iterable(indices)

        def each() -> Iterator[NDArray[np.uint8]]:
            for z in walk(seed, keys, self.runner.latent_dim, frames, self.batch):  # (n, latent_dim) float32
                yield from to_uint8(self._draw(z, self._labels(seed, 0, len(z), label)))

        return each()

    def save(
        self,
        out: Path,
        count: int,
        *,
        seed: int = 0,
        start: int = 0,
        grid: bool = False,
        label: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Path]:
        """Write `INDEX.png` (six digits) for the indices `start ... start + count - 1` into the folder `out`.

        Each file is written whole or not at all, and replaces one of the same name. `grid` adds `grid.png`, a sheet of
        the first 64 pictures. `progress(done, count)` is called after every picture.
        Returns the paths written, the sheet last. Raises GanletError as `stream` does and when `out` cannot be written.
        """
        paths: list[Path] = []
        drawn = self.pictures([range(start, start + count)], seed=seed, label=label)
        for path in write_pictures(out, drawn, grid_sheet=grid):
            paths.append(path)
            if progress is not None and len(paths) <= count:
                progress(len(paths), count)
        return paths

    def _chunks(self, seed: int, start: int, count: int, label: int | None) -> Iterator[NDArray[np.float32]]:
        for first in range(start, start + count, self.batch):
            rows = min(self.batch, start + count - first)
            z = latents(seed, first, rows, self.runner.latent_dim)  # (rows, latent_dim) float32
            yield self._draw(z, self._labels(seed, first, rows, label))

    def _draw(self, z: NDArray[np.float32], label: NDArray[np.int64] | None) -> NDArray[np.float32]:
        """Run the generator: float32 (N, C, H, W), in calls of one fixed number of rows where the backend needs it."""
        if self.runner.provider in _ANY_ROWS:
            return self.runner(z, label)
        drawn = []
        for first in range(0, len(z), _ROWS_ELSEWHERE):
            # Repeats the last row: a real latent, so that padding cannot be what overflows.
            rows = np.minimum(np.arange(first, first + _ROWS_ELSEWHERE), len(z) - 1)
            pictures = self.runner(z[rows], None if label is None else label[rows])
            drawn.append(pictures[: len(z) - first])
        return np.concatenate(drawn)

    def _labels(self, seed: int, start: int, count: int, label: int | None) -> NDArray[np.int64] | None:
        """int64 (count,), or None for a generator without labels."""
        classes = self.runner.classes
        if classes is None:
            if label is not None:
                raise GanletError(f"Got label {label}, but {self.runner.name} is not conditional; leave the label out.")
            return None
        if label is None:
            return labels(seed, start, count, classes)
        if not 0 <= label < classes:
            raise GanletError(f"Got label {label}; {self.runner.name} has the labels 0 to {classes - 1}.")
        return np.full(count, label, dtype=np.int64)


def _check_positive(what: str, value: int) -> None:
    if value < 1:
        raise GanletError(f"Got {what} of {value}; expected 1 or more.")
