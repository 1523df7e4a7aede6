"""The content of a file of weights. Files are untrusted: no object is made of them but tensors and plain values."""

import argparse
import collections
import datetime
import pathlib
import re
import types
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ganlet.artifact import read_tensors
from ganlet.errors import GanletError

SAVE = "save model.state_dict() with torch.save"
NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")  # by the version of NumPy that wrote the file
HEADS = (
    (b"version https://git-lfs", "a Git-LFS pointer, not the weights", "fetch the file itself with `git lfs pull`"),
    (b"\x89HDF", "an HDF5 file, such as Keras writes", SAVE),
    (b"\x93NUMPY", "a NumPy array", SAVE),
    (b"\x89PNG", "a picture", "give the weights"),
    (b"\xff\xd8\xff", "a picture", "give the weights"),
    (b"\x1f\x8b", "a gzip archive", "unpack it and give the weights in it"),
    (b"7z\xbc\xaf", "a 7z archive", "unpack it and give the weights in it"),
    (b"Rar!", "a RAR archive", "unpack it and give the weights in it"),
    (b"{", "a JSON text", "give the weights"),
)


def read_content(path: Path) -> Any:
    """What was saved in a .safetensors file or by torch.save: tensors, in dicts as they were saved.

    Raises GanletError for everything else, with what the file is.
    """
    if not path.is_file():
        kind = "is a folder" if path.is_dir() else "is no file" if path.exists() else "does not exist"
        raise GanletError(f"{path} {kind}; give the path of a .pt or .safetensors state dict.")
    kind, remedy = kind_of(path)
    if kind:
        raise GanletError(f"{path} is not a plain PyTorch state dict ({kind}); {remedy}.")
    if path.suffix == ".safetensors" or _is_safetensors(path):
        return read_tensors(path)
    try:
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, on what other programs have saved
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged byte leads the unpickler to errors of any class
        raise GanletError(
            f"{path} is not a plain PyTorch state dict ({_reason(error)}); whole pickled modules are "
            "not loaded, save model.state_dict() instead."
        ) from error


def kind_of(path: Path) -> tuple[str, str]:
    """What a file is that is no file of weights, and the remedy; empty where it may be one."""
    try:
        with path.open("rb") as stream:
            head = stream.read(512)
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}", "check its permissions"
    if not head:
        return "an empty file", "copy or download it again"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "an HTML page, as a failed download leaves", "download the file itself"
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it and give the weights in it"
    for beginning, kind, remedy in HEADS:
        if head.startswith(beginning):
            return kind, remedy
    return _kind_of_zip(path) if head.startswith(b"PK") else ("", "")


def _kind_of_zip(path: Path) -> tuple[str, str]:
    """torch.save writes a zip with NAME/data.pkl; TorchScript has code and constants beside it."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "cut short or damaged", "copy or download it again"
    if any(name.endswith("/constants.pkl") for name in names):
        return "a TorchScript archive", "save the state_dict() of the module that it was made of"
    if any(name.endswith("data.pkl") for name in names):
        return "", ""
    if names and all(name.endswith(".npy") for name in names):
        return "a NumPy archive (.npz)", SAVE
    return "a zip archive of something else", "unpack it and give the weights in it"


def _is_safetensors(path: Path) -> bool:
    """A safetensors file begins with the length of its header, 8 bytes, then the header, a JSON object."""
    with path.open("rb") as stream:
        head = stream.read(9)
    return head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def _harmless() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Types that checkpoints hold beside tensors, and that do nothing but hold values."""
    multiarray = np._core.multiarray  # type: ignore[attr-defined]
    named = [(multiarray.scalar, "scalar"), (multiarray._reconstruct, "_reconstruct")]
    plain = (int, float, str, list, dict, set, frozenset, complex)
    return [
        *((function, f"{module}.{name}") for module in NUMPY for function, name in named),
        *(getattr(np.dtypes, name) for name in np.dtypes.__all__),
        *((kind, f"{module}.{kind.__name__}") for kind in plain for module in ("builtins", "__builtin__")),
        *(np.dtype, np.ndarray, argparse.Namespace, types.SimpleNamespace, pathlib.PosixPath, pathlib.PurePosixPath),
        *(datetime.datetime, datetime.date, datetime.timedelta),
        # As a dict that may be filled: torch's reader fills no defaultdict.
        (lambda *default: collections.OrderedDict(), "collections.defaultdict"),
    ]


def _reason(error: Exception) -> str:
    """What stopped the reader, in a few words and without its advice to load the file as code."""
    text = str(error) or type(error).__name__
    if match := re.search(r"GLOBAL (\S+)", text):
        return f"it holds an object of {match[1]}"
    match = re.search(r"WeightsUnpickler error:\s*(.+)", text)
    return (match[1] if match else text.splitlines()[0])[:120]
