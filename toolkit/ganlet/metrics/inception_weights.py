"""Where the weights of the original FID Inception come from: a file, the cache they share with pytorch-fid, a download.

The file is pytorch-fid's port of TensorFlow's `inception-2015-12-05` (Apache-2.0). Its SHA-256 is checked wherever it
comes from: other weights give other figures, and may only be used under a name of their own.
"""

import hashlib
import os
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from ganlet.errors import GanletError
from ganlet.files import sha256_file, write_bytes

URL = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth"
FILE_NAME = "pt_inception-2015-12-05-6726825d.pth"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
VARIABLE = "GANLET_INCEPTION_WEIGHTS"
TIMEOUT_S = 20.0


@dataclass(frozen=True)
class WeightsFile:
    """A file whose content is known: its path, its SHA-256 and whether it is the original."""

    path: Path
    sha256: str
    original: bool


def find_weights(explicit: Path | None, weights_name: str = "") -> WeightsFile:
    """The weights file: `explicit`, else $GANLET_INCEPTION_WEIGHTS, else the cached file, else its download.

    `weights_name` says that the file holds other weights than the original and what to call them. Raises GanletError
    when the file is missing, has another hash and no such name, is the original under another name, or cannot be
    downloaded: then with the address, the file's name and the folder to put it in.
    """
    named = explicit or (Path(os.environ[VARIABLE]).expanduser() if os.environ.get(VARIABLE) else None)
    if named is None and weights_name:
        raise GanletError(f"Other weights, {weights_name!r}, need their file; give it with --weights or {VARIABLE}.")
    path = named or _cached()
    if path.exists() and not path.is_file():
        raise GanletError(
            f"The Inception weights {path} are no file but a folder, a pipe or a device; give the file "
            f"{FILE_NAME} with --weights or {VARIABLE}."
        )
    try:
        sha256 = sha256_file(path)
    except OSError as error:
        raise GanletError(
            f"The Inception weights {path} cannot be read ({error.strerror or error}); give the file {FILE_NAME} with "
            f"--weights or {VARIABLE}."
        ) from error
    original = sha256 == SHA256
    if not original and not weights_name:
        raise GanletError(
            f"{path} has the SHA-256 {sha256[:16]}..., expected {SHA256[:16]}... of {FILE_NAME} ({URL}); download it "
            "again, or name these weights with --weights-name: the figure is then no FID and carries that name."
        )
    if original and weights_name:
        raise GanletError(f"{path} holds the original Inception weights; leave the name {weights_name!r} out.")
    return WeightsFile(path, sha256, original)


def _cached() -> Path:
    """The file in torch's own cache, where pytorch-fid keeps it too; downloaded where it is missing."""
    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / FILE_NAME
    if not path.is_file():
        _download(path)
    return path


def _download(path: Path) -> None:
    remedy = f"download {URL} yourself and put {FILE_NAME} into {path.parent}, or name its place with --weights"
    try:
        with urllib.request.urlopen(URL, timeout=TIMEOUT_S) as answer:
            content = answer.read()
    except (OSError, HTTPException) as error:  # URLError is an OSError: no network, no such host, refused
        reason = getattr(error, "reason", None) or error
        raise GanletError(
            f"The Inception weights are not here and their download failed ({reason}); {remedy}."
        ) from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != SHA256:
        raise GanletError(f"The downloaded Inception weights have the SHA-256 {sha256[:16]}..., not theirs; {remedy}.")
    write_bytes(path, content)
