"""What pictures hold in pixel space: how much they differ from each other, and how much contrast each has."""

import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 16  # pictures that are held as wider numbers


class PixelSpread:
    """Sums over uint8 pictures (n, channels, height, width), taken in a chunk at a time."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: NDArray[np.int64] = np.zeros(1, np.int64)  # of each pixel over the pictures
        self._squares: NDArray[np.int64] = np.zeros(1, np.int64)
        self._within = 0.0  # sum over the pictures of the variance of their pixels, averaged over the channels

    def update(self, pictures: NDArray[np.uint8]) -> None:
        """Take in `pictures` (n, channels, height, width); all chunks must have one shape."""
        self.count += len(pictures)
        for start in range(0, len(pictures), AT_ONCE):
            some = pictures[start : start + AT_ONCE]
            self._sum = self._sum + some.sum(axis=0, dtype=np.int64)
            self._squares = self._squares + np.square(some.astype(np.uint16)).sum(axis=0, dtype=np.int64)
            self._within += float(some.var(axis=(2, 3), dtype=np.float64).mean(axis=1).sum())

    def watch(self, chunks: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
        """The same chunks; each is taken in as it passes."""
        for chunk in chunks:
            self.update(chunk)
            yield chunk

    @property
    def between(self) -> float:
        """Standard deviation of a pixel over the pictures, root mean square over pixels, in levels of 0 to 255.

        Exactly 0 where all pictures are equal: the sums are integers.
        """
        if not self.count:
            return 0.0
        variance = (self.count * self._squares - np.square(self._sum)) / self.count**2
        return math.sqrt(float(variance.mean()))

    @property
    def contrast(self) -> float:
        """Standard deviation of the pixels of one picture, root mean square over pictures, in levels; 0 if uniform."""
        return math.sqrt(self._within / self.count) if self.count else 0.0
