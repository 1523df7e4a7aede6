"""Draw pictures by (seed, index): as arrays, as a stream, or as PNG files."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ganlet.device import executorch_runner
from ganlet.device.feed import Feed, feed_at, find_port, latent_dim, row_count, rows
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
Label = int | str | None
"""A class by its number or its name; None draws one a picture."""
Code = Sequence[float] | None


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

    def stream(
        self, seed: int, start: int, count: int, label: Label = None, code: Code = None
    ) -> Iterator[NDArray[np.float32]]:
        """Yield float32 (n, C, H, W) in [-1, 1], n <= batch, of the indices `start ... start + count - 1`, in order.

        Memory does not grow with `count`. `label`, by number or by name, is the class of all pictures, `code` the code;
        what is not given is drawn, a function of (seed, index) as latents are.
        Raises GanletError, at once, for a count below 1 and for a label or a code that does not fit.
        """
        _check_positive("a count", count)
        for index in (start, start + count - 1):
            self._feed(seed, index, 1, label, code)  # refuses what does not fit before any work
        return self._chunks(seed, start, count, label, code)

    def floats(
        self, start: int, count: int, seed: int = 0, label: Label = None, code: Code = None
    ) -> NDArray[np.float32]:
        """float32 (count, C, H, W) in [-1, 1]. Labels, codes and errors as `stream`."""
        return np.concatenate(list(self.stream(seed, start, count, label, code)))

    def images(
        self, start: int, count: int, seed: int = 0, label: Label = None, code: Code = None
    ) -> NDArray[np.uint8]:
        """uint8 (count, H, W, C). Labels, codes and errors as `stream`."""
        return np.concatenate([to_uint8(chunk) for chunk in self.stream(seed, start, count, label, code)])

    def pictures(
        self, indices: Iterable[range], *, seed: int = 0, label: Label = None, code: Code = None
    ) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield (index, picture uint8 (H, W, C)) of each index, in order; labels, memory and errors as `stream`."""
        streams = [
            (indices.start, self.stream(seed, indices.start, indices.stop - indices.start, label, code))
            for indices in indices
        ]

        def each() -> Iterator[tuple[int, NDArray[np.uint8]]]:
            for first, chunks in streams:
                yield from enumerate((picture for chunk in chunks for picture in to_uint8(chunk)), first)

        return each()

    def walk(
        self, indices: Iterable[range], *, seed: int = 0, frames: int = 25, label: Label = None, code: Code = None
    ) -> Iterator[NDArray[np.uint8]]:
        """Yield the frames, uint8 (H, W, C), of a closed walk (`device.walk`), `frames` from picture to picture.

        Memory does not grow with the number of frames. Raises GanletError, at once, for a conditional generator without
        a label: a walk stays in one class. A code that is not given is that of picture 0 all the way.
        """
        ports = self.runner.ports
        if label is None and find_port(ports, "label") is not None:
            raise GanletError(f"A walk stays in one class; give {self.runner.name} a label with --label.")
        first = self._feed(seed, 0, 1, label, code)  # refuses what does not fit before any work
        still = {name: array[0] for name, array in first.items() if name == "code"}
        keys = chain.from_iterable(indices)

        def each() -> Iterator[NDArray[np.uint8]]:
            for z in walk(seed, keys, latent_dim(ports), frames, self.batch):  # (n, latent_dim) float32
                yield from to_uint8(self._draw(feed_at(ports, seed, 0, len(z), z=z, label=label, **still)))

        return each()

    def save(
        self,
        out: Path,
        count: int,
        *,
        seed: int = 0,
        start: int = 0,
        grid: bool = False,
        label: Label = None,
        code: Code = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Path]:
        """Write `INDEX.png` (six digits) for the indices `start ... start + count - 1` into the folder `out`.

        Each file is written whole or not at all, and replaces one of the same name. `grid` adds `grid.png`, a sheet of
        the first 64 pictures. `progress(done, count)` is called after every picture.
        Returns the paths written, the sheet last. Raises GanletError as `stream` does and when `out` cannot be written.
        """
        paths: list[Path] = []
        drawn = self.pictures([range(start, start + count)], seed=seed, label=label, code=code)
        for path in write_pictures(out, drawn, grid_sheet=grid):
            paths.append(path)
            if progress is not None and len(paths) <= count:
                progress(len(paths), count)
        return paths

    def draw(self, feed: Feed) -> NDArray[np.float32]:
        """float32 (N, C, H, W) in [-1, 1] of a feed of any length. Raises GanletError as the runner does."""
        parts = [self._draw(rows(feed, slice(i, i + self.batch))) for i in range(0, row_count(feed), self.batch)]
        return np.concatenate(parts)

    def _chunks(self, seed: int, start: int, count: int, label: Label, code: Code) -> Iterator[NDArray[np.float32]]:
        for first in range(start, start + count, self.batch):
            yield self._draw(self._feed(seed, first, min(self.batch, start + count - first), label, code))

    def _draw(self, feed: Feed) -> NDArray[np.float32]:
        """Run the generator: float32 (N, C, H, W), in calls of one fixed number of rows where the backend needs it."""
        if self.runner.provider in _ANY_ROWS:
            return self.runner(feed)
        drawn, count = [], row_count(feed)
        for first in range(0, count, _ROWS_ELSEWHERE):
            # Repeats the last row: a real one, so that padding cannot be what overflows.
            chosen = np.minimum(np.arange(first, first + _ROWS_ELSEWHERE), count - 1)
            drawn.append(self.runner(rows(feed, chosen))[: count - first])
        return np.concatenate(drawn)

    def _feed(self, seed: int, start: int, count: int, label: Label, code: Code) -> Feed:
        try:
            return feed_at(self.runner.ports, seed, start, count, label=label, code=code)
        except GanletError as error:
            raise GanletError(f"{self.runner.name}: {error}") from error


def _check_positive(what: str, value: int) -> None:
    if value < 1:
        raise GanletError(f"Got {what} of {value}; expected 1 or more.")
