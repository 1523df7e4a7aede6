"""What this room hands out: a set of decoded pictures, and what a decoder promises to the cache."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ganlet.data.listing import Intake
from ganlet.errors import GanletError

Source = Literal["kittens", "monsters", "robots", "digits", "folder", "idx"]
Crop = Literal["center", "landmarks", "none"]
Pixels = NDArray[np.uint8]  # (N, C, H, W), or (C, H, W) for one picture
Labels = NDArray[np.int64]  # (N,)
Progress = Callable[[int, int], None]  # (pictures done, pictures in all)


@dataclass(frozen=True, eq=False)
class PictureSet:
    """Decoded pictures on disk, mapped read-only into memory.

    `pictures` (N, C, H, W) uint8; `labels` (N,) int64 counting into `label_names`, or None; `sha256` is the hex digest
    of pixels, shape and labels; `skipped` names each picture left out, with the reason; `names` are the paths inside a
    folder, or None; `credit` is the line that must travel with the pictures; `intake` is what the source took and
    passed over, and `notes` are sentences on how its pictures were read.
    """

    pictures: "np.memmap[Any, np.dtype[np.uint8]]"
    labels: Labels | None
    label_names: tuple[str, ...]
    sha256: str
    source: str
    skipped: tuple[str, ...]
    credit: str
    names: tuple[str, ...] | None = None
    intake: Intake = field(default_factory=Intake)
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What was taken and passed over, by kind and number, how many bad pictures were skipped, and the notes."""
        return {**self.intake.as_json(), "skipped": len(self.skipped), "notes": list(self.notes)}

    def __len__(self) -> int:
        return int(self.pictures.shape[0])

    def split(self, holdout: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sorted int64 indices (train, held out): a seeded draw of the fraction `holdout`, at least one left to train.

        Raises GanletError unless 0 <= holdout < 1.
        """
        if not 0.0 <= holdout < 1.0:
            raise GanletError(f"The held-out share is {holdout}; choose a fraction from 0 up to, but not including, 1.")
        held = min(round(len(self) * holdout), len(self) - 1)
        order = permutation(len(self), Draw.SPLIT, seed)
        return np.sort(order[held:]), np.sort(order[:held])


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a decoder knows once its last picture is out; `remarks` counts the pictures of which something is said."""

    labels: Labels | None = None
    label_names: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    skipped: tuple[str, ...] = ()
    remarks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Decoder:
    """One way to make pictures, described before any is made.

    `identity` is JSON and holds everything that decides the pixels: the cache is keyed by it. `decode` yields
    ((k, C, H, W) uint8, pictures looked at so far) and returns `Decoded`; at most `total` pictures come out.
    """

    source: Source
    identity: Mapping[str, Any]
    total: int
    credit: str
    decode: Callable[[], Generator[tuple[Pixels, int], None, Decoded]]
    intake: Intake = field(default_factory=Intake)


class Draw(IntEnum):
    """What random bits are for: first in their key, so that one seed never serves two purposes with the same bits."""

    SPLIT = 1
    ORDER = 2
    MIRROR = 3
    DIGITS = 4
    COMBINATIONS = 5


def random_bits(purpose: Draw, *key: int) -> np.random.Philox:
    """An endless source of uint64 random bits, a function of `purpose` and `key` (non-negative integers) alone.

    Raw Philox output over a SeedSequence: numpy keeps these streams fixed over versions, unlike those of
    Generator.permutation, so that a training run resumes on the same pictures after an upgrade.
    """
    return np.random.Philox(np.random.SeedSequence((int(purpose), *key)))


def permutation(count: int, purpose: Draw, *key: int) -> NDArray[np.int64]:
    """A permutation (count,) int64 of range(count), a function of `purpose` and `key` alone."""
    return np.argsort(random_bits(purpose, *key).random_raw(count), kind="stable").astype(np.int64)
