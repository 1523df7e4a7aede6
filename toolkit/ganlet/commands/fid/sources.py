"""What A and B may be - a generator, a folder or zip of pictures, a statistics file - behind one interface."""

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ganlet.commands.fid.artifacts import is_artifact, open_identified
from ganlet.commands.fid.files import (
    PictureFile,
    Progress,
    check_all,
    chunks_of,
    folder_files,
    look_at,
    values_of,
    zip_files,
)
from ganlet.data.listing import Intake
from ganlet.data.pictures import Pixels
from ganlet.data.reading import count_remarks, remark_sentences
from ganlet.device.pictures import to_uint8
from ganlet.device.sampler import Sampler
from ganlet.errors import GanletError
from ganlet.metrics.statistics import Statistics, read_statistics

CHUNK = 64  # pictures held at once
DRAWN = 5000  # pictures drawn from a generator unless told
READING = 2  # raise it when pictures with transparency, a turn or 16 bits are decoded otherwise
Kind = Literal["generator", "folder", "zip", "statistics"]


@dataclass(frozen=True, eq=False)
class Source:
    """One side of a comparison, opened but not measured.

    `identity` is the hex SHA-256 of all that decides the pictures; `check` decodes them all once, `chunks` yields them
    as uint8 (n, channels, height, width). A statistics file has neither pictures nor an identity.
    """

    label: str
    kind: Kind
    count: int
    identity: str = ""
    shape_px: tuple[int, int] | None = None  # height, width
    prepared: str = "as they are"
    check: Callable[[Progress], None] = lambda progress: None
    chunks: Callable[[], Iterator[Pixels]] = lambda: iter(())
    statistics: Statistics | None = None
    intake: Intake = field(default_factory=Intake)
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """What a reader needs to know of this side."""
        sha256 = self.statistics.data_sha256 if self.statistics else self.identity
        told: dict[str, Any] = {"source": self.label, "kind": self.kind, "pictures": self.count, "sha256": sha256}
        if self.shape_px:
            told |= {"height_px": self.shape_px[0], "width_px": self.shape_px[1], "prepared": self.prepared}
        return told | (self.intake.as_json() if self.intake.taken else {})


def open_source(
    path: Path, *, samples: int | None, seed: int, size_px: int | None, exact: bool, progress: Progress
) -> Source:
    """Open A or B.

    `samples` is how many pictures a generator draws (5,000 unless told), and the most that are taken of a folder or
    zip, by a seeded draw; `exact` refuses fewer. `size_px` brings the pictures of a folder or zip to one size.
    Raises GanletError when there is nothing there, it is none of these kinds, or its pictures cannot be used.
    """
    if samples is not None and samples < 2:
        raise GanletError(f"Got --samples {samples}; a distance needs at least 2 pictures a side.")
    if size_px is not None and not 1 <= size_px <= 2048:
        raise GanletError(f"Got --size {size_px}; choose 1 to 2048 pixels.")
    if not _exists(path):
        raise GanletError(f"{path} does not exist; give a run, an .onnx file, a folder or zip of pictures, or an .npz.")
    if not path.is_dir() and not path.is_file():
        raise GanletError(
            f"{path} is no file and no folder, but a pipe or a device; give a run, an .onnx file, a folder or zip of "
            "pictures, or an .npz."
        )
    if path.suffix.lower() == ".npz":
        statistics = read_statistics(path)
        if exact and statistics.moments.count != samples:
            raise GanletError(
                f"{path} holds statistics of {statistics.moments.count or 'an unknown number of'} pictures, expected "
                f"{samples}; give the pictures themselves."
            )
        return Source(str(path), "statistics", statistics.moments.count, statistics=statistics)
    if is_artifact(path):
        return _generator(path, samples or DRAWN, seed)
    if path.is_dir():
        return _files(path, "folder", *folder_files(path), samples, seed, size_px, exact, progress)
    if path.suffix.lower() == ".zip":
        return _files(path, "zip", *zip_files(path), samples, seed, size_px, exact, progress)
    raise GanletError(
        f"{path} is none of: a run, an .onnx file, a folder or zip of pictures, an .npz; give one of them."
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:  # a folder above it may not be looked into, or its name is too long
        raise GanletError(f"{path} cannot be opened ({error.strerror}); check its path and permissions.") from error


def _generator(path: Path, count: int, seed: int) -> Source:
    sampler, weights = open_identified(path)
    _, height, width = sampler.runner.picture_shape
    return Source(
        str(path),
        "generator",
        count,
        identity=_digest({"weights": weights, "seed": seed, "count": count}),
        shape_px=(height, width),
        prepared=f"drawn with seed {seed}, rounded to 8 bits",
        chunks=partial(_drawn, sampler, seed, count),
    )


def _drawn(sampler: Sampler, seed: int, count: int) -> Iterator[Pixels]:
    for images in sampler.stream(seed, 0, count):
        yield to_uint8(images).transpose(0, 3, 1, 2)  # (n, C, H, W), rounded as the PNG files are


def _files(
    path: Path,
    kind: Kind,
    files: list[PictureFile],
    intake: Intake,
    samples: int | None,
    seed: int,
    size_px: int | None,
    exact: bool,
    progress: Progress,
) -> Source:
    label = str(path)
    if len(files) < (samples if exact and samples else 2):
        raise GanletError(
            f"{label} holds {len(files)} pictures, expected at least {samples if exact else 2}; add pictures."
        )
    if samples is not None and samples < len(files):
        files = [files[index] for index in _draw(len(files), samples, seed)]
    looks = look_at(files, label, size_px, progress)
    first = looks[0].header
    shape = (size_px, size_px) if size_px else (first.height_px, first.width_px)
    remarks = count_remarks(look.header.remarks for look in looks)
    # Of other pictures than these the identity is what it was before they were read as training reads them.
    reading = {} if all(look.header.plain for look in looks) else {"reading": READING}
    return Source(
        label,
        kind,
        len(files),
        identity=_digest({"files": [look.sha256 for look in looks], "size_px": size_px} | reading),
        shape_px=shape,
        prepared=f"centre square, Lanczos to {size_px}x{size_px}" if size_px else "as they are, RGB",
        check=partial(check_all, files, label, size_px, shape),
        chunks=partial(chunks_of, files, label, size_px, shape, CHUNK),
        intake=intake,
        notes=(*remark_sentences(remarks, len(looks)), *values_of(files, looks, size_px, shape)),
    )


def _draw(count: int, samples: int, seed: int) -> list[int]:
    """Sorted indices of a seeded draw without replacement; raw Philox bits stay the same over numpy's versions."""
    if seed < 0:
        raise GanletError(f"Got --seed {seed}; choose a seed from 0 on.")
    order = np.argsort(np.random.Philox(np.random.SeedSequence(seed)).random_raw(count), kind="stable")
    return sorted(int(index) for index in order[:samples])


def _digest(identity: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode("ascii")).hexdigest()
