"""Endless seeded batches, each a pure function of its position: to resume, keep one integer."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.data.pictures import Draw, PictureSet, permutation, random_bits
from ganlet.errors import GanletError


@dataclass(frozen=True, eq=False)
class Batch:
    """Some pictures of the data and what belongs to each: numpy arrays, or the tensors of a forecast.

    `pictures` float32 (N, C, H, W) in [-1, 1]; `label` int64 (N,), None where the set has none.
    """

    pictures: Any
    label: Any = None


class Batches:
    """Batches over `indices` of a picture set: every epoch is a new permutation, and nothing is dropped.

    Batch `position` holds the samples position * batch ... (position + 1) * batch - 1 of the endless stream of epochs,
    so that a batch runs over the end of an epoch, or over several where it is larger than the set. Only the current
    epoch's order is kept in memory: 9 bytes a picture.
    """

    def __init__(
        self, pictures: PictureSet, indices: NDArray[np.int64], *, batch: int, seed: int, flip: bool = False
    ) -> None:
        """`indices` (n,) int64 into `pictures`; `flip` mirrors each sample left to right with probability 1/2.

        Raises GanletError for a batch or a set without pictures.
        """
        if len(indices) == 0:
            raise GanletError("There are no pictures to make batches of; hold out fewer, or give more pictures.")
        if batch < 1:
            raise GanletError(f"A batch of {batch} pictures was asked for; choose 1 or more.")
        self._pictures = pictures
        self._indices = np.asarray(indices, dtype=np.int64)
        self._batch = batch
        self._seed = seed
        self._flip = flip
        self._epoch: tuple[int, NDArray[np.int64], NDArray[np.bool_]] | None = None

    def indices_at(self, position: int) -> NDArray[np.int64]:
        """(batch,) int64: which pictures of the set make up batch `position` (0, 1, ... without end)."""
        return self._select(position)[0]

    def at(self, position: int) -> Batch:
        """Batch `position`, its pictures as (batch, C, H, W) float32 in [-1, 1]: 0 becomes -1, 255 becomes 1."""
        chosen, mirrored = self._select(position)
        pixels = np.asarray(self._pictures.pictures[chosen])  # (batch, C, H, W) uint8, a copy
        if self._flip:
            pixels[mirrored] = pixels[mirrored, ..., ::-1]
        batch = pixels.astype(np.float32)
        batch /= np.float32(127.5)
        batch -= np.float32(1.0)
        labels = self._pictures.labels
        return Batch(batch, None if labels is None else labels[chosen])

    def _select(self, position: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The pictures of a batch (batch,) int64, and which of them are mirrored (batch,) bool."""
        if position < 0:
            raise ValueError(f"position {position} is negative: the stream starts at 0")
        count = len(self._indices)
        start, stop = position * self._batch, (position + 1) * self._batch
        orders, mirrors = [], []
        while start < stop:
            epoch, first = divmod(start, count)
            last = min(first + stop - start, count)
            order, mirrored = self._order(epoch)
            orders.append(order[first:last])
            mirrors.append(mirrored[first:last])
            start += last - first
        return self._indices[np.concatenate(orders)], np.concatenate(mirrors)

    def _order(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        kept = self._epoch
        if kept is None or kept[0] != epoch:
            count = len(self._indices)
            bits = random_bits(Draw.MIRROR, self._seed, epoch).random_raw(count)
            mirrored = (bits >> np.uint64(63)).astype(np.bool_)
            kept = self._epoch = (epoch, permutation(count, Draw.ORDER, self._seed, epoch), mirrored)
        return kept[1], kept[2]
