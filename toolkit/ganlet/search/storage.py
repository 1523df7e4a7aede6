"""The search's own database: whether it is as it was written, and putting a damaged one aside."""

import hashlib
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

SEAL = "seal"
"""A note of a trial that is over: SHA-256 of what the storage has of it."""
TABLES = {"studies", "trials", "trial_params", "trial_user_attributes", "trial_values"}  # of Optuna
COMPANIONS = ("-journal", "-wal", "-shm")  # SQLite's own files beside a database
BUSY_S = 0.5  # to wait for another process; a database in use is opened by Optuna, which waits longer


def seal_of(trial: Any) -> str:
    """SHA-256 of a trial's parameters, their ranges and its notes, the seal itself left out."""
    notes = {name: value for name, value in trial.user_attrs.items() if name not in (SEAL, "owner")}
    ranges = {name: repr(distribution) for name, distribution in trial.distributions.items()}
    return hashlib.sha256(json.dumps([trial.params, ranges, notes], sort_keys=True).encode()).hexdigest()


def put_aside_damaged(path: Path, say: Callable[[str], None]) -> None:
    """Rename a damaged database, so that a new one takes its place. What its trials trained stays where it is."""
    reason = damage_of(path)
    if reason is None:
        return
    number = 1
    while (aside := path.with_name(f"{path.stem}.damaged{number}{path.suffix}")).exists():
        number += 1
    path.rename(aside)
    for ending in COMPANIONS:
        with suppress(OSError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    say(
        f"search: {path} is damaged ({reason}) and was put aside as {aside.name}; its trials are asked for again, and "
        f"what they trained is taken from {path.parent / 'trials'}"
    )


def damage_of(path: Path) -> str | None:
    """What is wrong with a database of trials, in words; None where nothing is, or where it is not there."""
    if not path.exists():
        return None
    if not path.is_file():
        return "it is no file"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", timeout=BUSY_S, uri=True)) as database:
            (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.Error as error:
        return None if _is_busy(error) else str(error)
    if verdict != "ok":
        return " ".join(str(verdict).split())
    return _damage_of_trials(path, tables) if tables else None


def _damage_of_trials(path: Path, tables: set[str]) -> str | None:
    import optuna

    if missing := TABLES - tables:
        return f"it has no table {min(missing)}"
    try:
        storage = optuna.storages.RDBStorage(
            f"sqlite:///{path.absolute()}", engine_kwargs={"connect_args": {"timeout": BUSY_S}}
        )
        for study in storage.get_all_studies():
            for trial in storage.get_all_trials(study._study_id):
                if SEAL in trial.user_attrs and trial.user_attrs[SEAL] != seal_of(trial):
                    return f"trial {trial.number} is not as it was written"
    except Exception as error:  # Optuna and SQLAlchemy raise anything at values that they did not write
        return None if _is_busy(error) else (str(error).splitlines() or [type(error).__name__])[0]
    return None


def _is_busy(error: Exception) -> bool:
    """Whether another process, the disk or permissions are at fault, and not the bytes."""
    words = ("locked", "busy", "full", "readonly", "unable to open", "permission")
    return any(word in str(error).lower() for word in words)
