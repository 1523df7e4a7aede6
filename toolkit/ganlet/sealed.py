"""Small JSON files under a hash: results that cost work and that damage must not change."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ganlet.errors import GanletError
from ganlet.files import read_json, write_json

SEAL = "sha256"


def write_sealed(path: Path, value: dict[str, Any]) -> None:
    """Write `value` as `write_json` does, and with it its SHA-256 under "sha256"."""
    write_json(path, value | {SEAL: _seal_of(value)})


def read_sealed(path: Path, keys: Iterable[str]) -> dict[str, Any] | None:
    """What `write_sealed` wrote, {} where there is no such file, None where it is damaged.

    A file of an earlier version has no hash: it is taken where it has exactly these `keys`.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    try:
        value = read_json(path)
        if not isinstance(value, dict):
            return None
        seal = value.pop(SEAL, None)
        whole = value.keys() == set(keys) if seal is None else seal == _seal_of(value)
    except (GanletError, ValueError):
        return None
    return value if whole else None


def _seal_of(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, allow_nan=False).encode()).hexdigest()
