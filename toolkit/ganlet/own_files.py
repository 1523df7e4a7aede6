"""Which JSON files are Ganlet's: config.json, manifest.json and report.json are names that many programs use.

A file is told by what is in it. A damaged one is Ganlet's where parts of it, or the files beside it, still say so.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ganlet.errors import GanletError, words_of
from ganlet.files import MIB

MAX_BYTES = 16 * MIB  # the largest of ours has some 100 kB
BEGINNING = b'{\n  "schema":'  # of each of them


@dataclass(frozen=True)
class Kind:
    """A kind of JSON file. One of Ganlet's has `least` of the `keys`.

    A damaged one is Ganlet's if it begins as one, has all of the `marks` somewhere, or lies beside one of the files
    `beside`.
    """

    name: str
    keys: frozenset[str]
    least: int
    marks: tuple[bytes, ...]
    beside: tuple[str, ...]
    remedy: str


STAGE = Kind(
    "stage",
    frozenset({"schema", "stage", "generator", "files", "provenance"}),
    least=3,
    marks=(b'"stage"', b'"provenance"'),
    beside=("weights.safetensors",),
    remedy="restore it, or move its folder away and run the stage again",
)
MANIFEST = Kind(
    "manifest",
    frozenset({"files"}),
    least=1,
    marks=(b'"bytes"', b'"sha256"'),
    beside=("expected.npz", "recipe.toml"),
    remedy="restore it, or move it away and export again with `ganlet export`",
)
REPORT = Kind(
    "report",
    frozenset({"schema", "run", "verdict", "stages", "artifacts", "checks", "budget"}),
    least=3,
    marks=(b'"verdict"', b'"stages"'),
    beside=("report.html", "recipe.toml"),
    remedy="make it again with `ganlet verify`",
)


def read_own(path: Path, kind: Kind, lists: str = "") -> dict[str, Any] | None:
    """The content of `path`; None where there is no such file, or one of another program.

    A manifest that says more than a word of the file `lists` is taken for Ganlet's as well.
    Raises GanletError where it is Ganlet's and cannot be read.
    """
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            return None
        content = path.read_bytes()
    except OSError as error:
        if _is_beside(path, kind):
            raise GanletError(f"{path} cannot be read ({error.strerror or error}); check its permissions.") from error
        return None
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        begins = content.startswith(BEGINNING) or (content != b"" and BEGINNING.startswith(content))
        has_marks = begins or all(mark in content for mark in kind.marks)
        if has_marks or _is_beside(path, kind):
            raise GanletError(
                f"{path}, a {kind.name} of Ganlet, is damaged ({words_of(error)}); {kind.remedy}."
            ) from error
        return None
    if isinstance(value, dict) and _is_of(value, kind, lists):
        return value
    if content.startswith(BEGINNING) and all(mark in content for mark in kind.marks):
        raise GanletError(f"{path}, a {kind.name} of Ganlet, is damaged (keys are missing); {kind.remedy}.")
    return None


def is_own(path: Path, kind: Kind) -> bool:
    """Whether `path` is a file of Ganlet, whole or damaged."""
    try:
        return read_own(path, kind) is not None
    except GanletError:
        return True


def check_not_foreign(path: Path, kind: Kind) -> None:
    """Raise GanletError where something else than a file of Ganlet stands in the place of one: it is not replaced."""
    if path.exists() and not is_own(path, kind):
        raise GanletError(
            f"{path} is no {kind.name} of Ganlet and would be replaced; move it away, or take another folder for the "
            "run."
        )


def _is_of(value: Mapping[str, Any], kind: Kind, lists: str) -> bool:
    if len(kind.keys & value.keys()) < kind.least:
        return False
    if kind is not MANIFEST:
        return True
    files = value["files"]
    entries = files.values() if isinstance(files, dict) else ()
    listed = any(isinstance(entry, dict) and {"bytes", "sha256"} <= entry.keys() for entry in entries)
    named = lists in files and not isinstance(files[lists], str) if isinstance(files, dict) else False
    return isinstance(files, dict) and ("schema" in value or listed or named)


def _is_beside(path: Path, kind: Kind) -> bool:
    try:
        return any((path.parent / name).is_file() for name in kind.beside)
    except OSError:
        return False
