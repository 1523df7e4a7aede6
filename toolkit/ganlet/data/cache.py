"""Decode once: pictures as a .npy file on disk, with a JSON file beside it, keyed by what decides the pixels."""

import hashlib
import json
import math
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ganlet.data.pictures import Decoded, Decoder, Labels, PictureSet, Progress
from ganlet.data.reading import remark_sentences
from ganlet.errors import GanletError, words_of
from ganlet.files import FULL, MIB, atomic_path, read_json
from ganlet.leftovers import remove_leftovers

# Raise it whenever the same source would decode to other pixels: old entries are then left alone.
CODE_VERSION = 1
HEADER_BYTES = 128
# Of what counts as damaged. Entries of an earlier reader that left pictures out are made again, all others stay.
READER = 2
REMEDY = "free some space, or set GANLET_CACHE to a folder on another disk"


def default_cache() -> Path:
    """$GANLET_CACHE, else $XDG_CACHE_HOME/ganlet, else ~/.cache/ganlet, else a folder among the temporary ones.

    The last is for users without a home, and with one that cannot be written.
    """
    if named := os.environ.get("GANLET_CACHE"):
        return Path(os.path.expanduser(named))  # noqa: PTH111 - leaves "~nobody" as it is, where Path's own raises
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - the same
    folder = Path(base) / "ganlet"
    return folder if _can_be_made(folder) else _temporary_cache()


def _can_be_made(folder: Path) -> bool:
    """Whether `folder` is there, or was made now, and can be written to."""
    if not folder.is_absolute():  # "~" of a user who is in no list of users
        return False
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _temporary_cache() -> Path:
    """This user's own folder among the temporary files.

    One of that name that belongs to another user is refused: it could hold anything.
    """
    user = os.getuid() if hasattr(os, "getuid") else "user"
    folder = Path(tempfile.gettempdir()) / f"ganlet-cache-{user}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        about = folder.lstat()
    except OSError as error:
        raise _refused(folder, error) from error
    if not stat.S_ISDIR(about.st_mode) or (hasattr(os, "getuid") and about.st_uid != os.getuid()):
        raise GanletError(f"{folder} belongs to another user; set GANLET_CACHE to a folder of your own for the cache.")
    return folder


def entry_key(decoder: Decoder) -> str:
    """Hex SHA-256 over the decoder's identity and the version of this code."""
    identity = {"code": CODE_VERSION, "source": decoder.source, **decoder.identity}
    # ASCII escapes: a file name on Linux need not be valid UTF-8.
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode("ascii")).hexdigest()


def open_or_decode(
    decoder: Decoder, folder: Path, shape: tuple[int, int, int], progress: Progress | None = None
) -> PictureSet:
    """The cached set, or a fresh one: decoded, written and opened. `shape` is (C, H, W) of one picture.

    A missing, truncated or altered entry is made again. Two processes may do so at once: each renames a whole file
    into place, and both hold the same bytes. Raises GanletError when the cache cannot be written, and whatever the
    decoder raises.
    """
    stem = folder / f"{decoder.source}-{entry_key(decoder)[:32]}"
    pixels, meta = stem.with_suffix(".npy"), stem.with_suffix(".json")
    remove_leftovers(folder)
    found = _open(pixels, meta, shape, decoder.credit)
    if found is not None:
        return found
    _preflight(folder, decoder.total * math.prod(shape) + HEADER_BYTES)
    try:
        sha256, count, decoded = _write_pixels(pixels, decoder, shape, progress)
        with atomic_path(meta) as temporary:
            temporary.write_text(json.dumps(_meta(decoder, decoded, sha256, (count, *shape))), encoding="ascii")
    except OSError as error:
        raise _refused(folder, error) from error
    return _picture_set(pixels, _meta(decoder, decoded, sha256, (count, *shape)), decoder.credit)


def npy_header(shape: tuple[int, ...]) -> bytes:
    """A .npy header (format 1.0, uint8, C order) of exactly 128 bytes.

    Its own, since the number of good pictures is known only at the end and the length must not depend on it.
    """
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}"
    body = text.ljust(HEADER_BYTES - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + (HEADER_BYTES - 10).to_bytes(2, "little") + body.encode("ascii")


def _preflight(folder: Path, need_bytes: int) -> None:
    """Find out before the work that the cache cannot take the result."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            free_bytes = shutil.disk_usage(folder).free
    except OSError as error:
        raise _refused(folder, error) from error
    if free_bytes < need_bytes:
        raise GanletError(
            f"The cache folder {folder} has {free_bytes / MIB:.1f} MiB free but these pictures take "
            f"{need_bytes / MIB:.1f} MiB; {REMEDY}."
        )


def _refused(folder: Path, error: OSError) -> GanletError:
    remedy = REMEDY if error.errno in FULL else "set GANLET_CACHE to a folder that can be written"
    return GanletError(f"Cannot write to the cache folder {folder} ({words_of(error)}); {remedy}.")


def _write_pixels(
    path: Path, decoder: Decoder, shape: tuple[int, int, int], progress: Progress | None
) -> tuple[str, int, Decoded]:
    """Stream the decoder's pictures into `path`; returns (sha256, pictures written, what the decoder returned)."""
    digest, count = hashlib.sha256(), 0
    # Written as a stream: a full disk is then an error to report, while a write into a mapped file would be a crash.
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        try:
            stream.write(npy_header((decoder.total, *shape)))
            chunks = decoder.decode()
            while True:
                try:
                    chunk, done = next(chunks)
                except StopIteration as stop:
                    decoded: Decoded = stop.value
                    break
                data = np.ascontiguousarray(chunk).data
                stream.write(data)
                digest.update(data)
                count += len(chunk)
                if progress is not None:
                    progress(done, decoder.total)
            stream.seek(0)
            stream.write(npy_header((count, *shape)))
            stream.flush()
        except OSError as error:
            raise _refused(path.parent, error) from error
    return _finish(digest, (count, *shape), decoded.labels, decoded.label_names), count, decoded


def _finish(digest: Any, shape: tuple[int, ...], labels: Labels | None, label_names: tuple[str, ...]) -> str:
    """Close the digest of the pixels with shape and labels, which belong to the content as well."""
    listed = None if labels is None else labels.tolist()
    digest.update(json.dumps([list(shape), listed, list(label_names)]).encode("ascii"))
    return str(digest.hexdigest())


def _meta(decoder: Decoder, decoded: Decoded, sha256: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {
        "schema": 1,
        "source": decoder.source,
        "sha256": sha256,
        "shape": list(shape),
        "labels": None if decoded.labels is None else decoded.labels.tolist(),
        "label_names": list(decoded.label_names),
        "names": None if decoded.names is None else list(decoded.names),
        "skipped": list(decoded.skipped),
        "remarks": dict(decoded.remarks),
        "reader": READER,
    }


def _open(pixels: Path, meta_path: Path, shape: tuple[int, int, int], credit: str) -> PictureSet | None:
    """The entry where it is whole, else None: a damaged cache is no fault of the user's."""
    try:
        meta = read_json(meta_path)
        if meta["skipped"] and meta.get("reader") != READER:
            return None
        whole = (int(meta["shape"][0]), *shape)
        with pixels.open("rb") as stream:
            if stream.read(HEADER_BYTES) != npy_header(whole):
                return None
            found = _picture_set(pixels, meta, credit)
            sound = _digest(stream, whole, found) == found.sha256
    except (GanletError, OSError, KeyError, IndexError, TypeError, ValueError):
        return None
    return found if sound else None


def _digest(stream: BinaryIO, shape: tuple[int, ...], found: PictureSet) -> str:
    digest = hashlib.sha256()
    while block := stream.read(MIB):
        digest.update(block)
    return _finish(digest, shape, found.labels, found.label_names)


def _picture_set(pixels: Path, meta: Mapping[str, Any], credit: str) -> PictureSet:
    return PictureSet(
        pictures=np.load(pixels, mmap_mode="r", allow_pickle=False),
        labels=None if meta["labels"] is None else np.array(meta["labels"], dtype=np.int64),
        label_names=tuple(meta["label_names"]),
        sha256=str(meta["sha256"]),
        source=str(meta["source"]),
        skipped=tuple(meta["skipped"]),
        credit=credit,
        names=None if meta["names"] is None else tuple(meta["names"]),
        notes=tuple(remark_sentences(meta.get("remarks", {}), int(meta["shape"][0]))),
    )
