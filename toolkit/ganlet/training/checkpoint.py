"""Checkpoints on disk: the newest and the one before it, each under a SHA-256 over all of its bytes.

A checkpoint is one safetensors file. Its header holds a note: the key of the stage, the step, and the hash, which is
taken while its own digits are zeros. A new checkpoint is read back before it takes the place of the last one, and the
last one stays as previous.safetensors until the next is written.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganlet.artifact import read_tensors, save_tensors
from ganlet.errors import GanletError
from ganlet.files import MIB, atomic_path

if TYPE_CHECKING:
    from torch import Tensor

NEWEST, BEFORE, ASIDE = "state.safetensors", "previous.safetensors", "damaged.safetensors"
DIGITS = 64  # of a SHA-256 in hex
NOTE_WITHOUT_HASH = {"key", "step", "scale", "best"}  # what earlier versions wrote
MOST_HEADER_BYTES = 100 * MIB

Say = Callable[[str], None]


class Damaged(GanletError):
    """A checkpoint that cannot be used. `cut_short`: it ends early, as after a power failure, but is not altered."""

    def __init__(self, text: str, cut_short: bool = False) -> None:
        super().__init__(text)
        self.cut_short = cut_short


@dataclass(frozen=True)
class Checkpoint:
    """A whole checkpoint. `lost` says what is wrong with the newest one where this is the one before it."""

    path: Path
    note: dict[str, Any]
    lost: Damaged | None = None

    @property
    def key(self) -> str:
        return str(self.note["key"])

    @property
    def step(self) -> int:
        return int(self.note["step"])

    @property
    def has_hash(self) -> bool:
        return "sha256" in self.note

    def tensors(self) -> "dict[str, Tensor]":
        return read_tensors(self.path)


def find_checkpoint(folder: Path) -> Checkpoint | None:
    """The newest whole checkpoint in `folder`, or None where there is none at all. Changes nothing.

    Raises Damaged where files of a checkpoint are there and none is whole.
    """
    newest, before = folder / NEWEST, folder / BEFORE
    if not _exists(newest) and not _exists(before):
        if _exists(folder) and not folder.is_dir():
            raise Damaged(f"{folder} is a file where a folder of checkpoints is expected; delete it and run again.")
        return None
    try:
        return Checkpoint(newest, read_checked(newest))
    except Damaged as error:
        lost = error
    try:
        return Checkpoint(before, read_checked(before), lost)
    except Damaged:
        raise Damaged(
            f"Checkpoint {newest} is damaged ({lost}) and there is no whole one before it; delete {folder} to begin "
            "this stage again from step 0, or restore that file."
        ) from lost


def open_checkpoint(folder: Path, say: Say) -> Checkpoint | None:
    """As `find_checkpoint`, and says which one is used where that is not the newest.

    A newest checkpoint that is missing or cut short is what a power failure leaves: the one before is used at once. One
    that was altered means that a disk or memory fails: it is put aside, and Damaged tells of it; the next call uses the
    one before.
    """
    checkpoint = find_checkpoint(folder)
    if checkpoint is None:
        return None
    newest = folder / NEWEST
    if checkpoint.lost is not None and not checkpoint.lost.cut_short:
        aside = folder / ASIDE
        with suppress(OSError):
            newest.rename(aside)
        raise Damaged(
            f"Checkpoint {newest} is damaged ({checkpoint.lost}), so its disk or the memory may fail: it was put aside "
            f"as {aside.name}; run the same command again to go on from the one before, of step {checkpoint.step}."
        )
    if checkpoint.lost is not None:
        say(f"checkpoint {newest}: {checkpoint.lost}; going on from the one before, of step {checkpoint.step}")
    elif not checkpoint.has_hash:
        say(f"checkpoint {newest}: it has no hash, an earlier version wrote it; damage in it would not be noticed")
    return checkpoint


def write_checkpoint(folder: Path, tensors: "Mapping[str, Tensor]", note: dict[str, Any]) -> None:
    """Write the newest checkpoint; what was the newest is then the one before it.

    Raises GanletError where it cannot be written, or reads back otherwise.
    """
    newest = folder / NEWEST
    data_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    with atomic_path(newest) as temporary:
        save_tensors(temporary, tensors, json.dumps(note | {"bytes": data_bytes, "sha256": "0" * DIGITS}))
        _write_hash(temporary)
        try:
            read_checked(temporary)
        except Damaged as error:
            raise GanletError(
                f"Checkpoint {newest} reads back otherwise than it was written; check that disk and the memory, the "
                "checkpoint before is kept."
            ) from error
        if newest.is_file():
            _keep(newest, folder / BEFORE)


def _keep(newest: Path, before: Path) -> None:
    """Give the newest checkpoint its second name, where the system has links, so that it is never without the first."""
    before.unlink(missing_ok=True)
    try:
        os.link(newest, before)
    except OSError:
        newest.replace(before)


def read_checked(path: Path) -> dict[str, Any]:
    """The note of a checkpoint whose bytes are those that were written. Raises Damaged."""
    if not path.is_file():
        missing = not _exists(path)
        raise Damaged("it is missing" if missing else "it is no regular file", cut_short=missing)
    try:
        with path.open("rb") as stream:
            length = path.stat().st_size
            header_bytes = int.from_bytes(stream.read(8), "little")
            if length < 8 or length - 8 < header_bytes <= MOST_HEADER_BYTES:
                raise Damaged("it is cut short", cut_short=True)
            header = stream.read(min(header_bytes, MOST_HEADER_BYTES))
            note = _note_of(header, length - 8 - header_bytes)
            if "sha256" in note and _digest(path, header, note["sha256"]) != note["sha256"]:
                raise Damaged("its SHA-256 is another than when it was written")
            return note
    except OSError as error:
        raise Damaged(f"it cannot be read, {error.strerror or error}") from error


def _note_of(header: bytes, data_bytes: int) -> dict[str, Any]:
    """The note in a header. Raises Damaged where it is none, or `data_bytes` are less than the header lists."""
    try:
        table = json.loads(header)
        listed_bytes = max(about["data_offsets"][1] for name, about in table.items() if name != "__metadata__")
        note = json.loads(table["__metadata__"]["ganlet"])
        valid = isinstance(note["key"], str) and _is_step(note["step"]) and isinstance(note["scale"], int | float)
        valid &= _is_hash(note["sha256"]) if "sha256" in note else note.keys() <= NOTE_WITHOUT_HASH
        is_short = listed_bytes > data_bytes
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise Damaged("its header is not that of a checkpoint") from error
    if is_short:
        # The header lists what the note counts: both cannot be altered alike, so it is the end that is missing.
        raise Damaged("it is cut short", cut_short=note.get("bytes") == listed_bytes)
    if not valid:
        raise Damaged("its note is not that of a checkpoint")
    return dict(note)


def _is_step(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and len(value) == DIGITS


def _digest(path: Path, header: bytes, written: str) -> str:
    """SHA-256 of the file with the digits of its own hash as zeros."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        digest.update(stream.read(8))
        stream.seek(8 + len(header))
        digest.update(header.replace(written.encode("utf-8", "replace"), b"0" * DIGITS, 1))
        while block := stream.read(MIB):
            digest.update(block)
    return digest.hexdigest()


def _write_hash(path: Path) -> None:
    """Put the hash in the place that `write_checkpoint` left for it."""
    with path.open("r+b") as stream:
        header = stream.read(int.from_bytes(stream.read(8), "little"))
        digest = _digest(path, header, "0" * DIGITS)
        stream.seek(8 + header.index(b"0" * DIGITS))
        stream.write(digest.encode("ascii"))


def _exists(path: Path) -> bool:
    """Whether anything is there, a link to nothing included."""
    return path.exists() or path.is_symlink()
