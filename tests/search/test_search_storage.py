"""A damaged study is put aside, and the trials of the next one find what these trained."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ganlet.recipe import parse_recipe
from ganlet.search import Point, Rules, Trial, open_study, put_aside_damaged, run_search, suggest
from ganlet.search.storage import damage_of
from ganlet.training.state import seed_of
from support import Silent

pytest.importorskip("optuna")

RULES = Rules(trials=3, rungs=2, reduction=2, seed_of_trial=lambda number: seed_of(1, number) % 2**32)


class Formula:
    def cost(self, point: Point) -> tuple[float, float]:
        return sum(point.widths) / 1000, 1.0

    def distance(self, point: Point, rung: int) -> float:
        return 100 * point.lr + 2.0**-rung


def trials(path: Path, tables: dict[str, Any]) -> list[Trial]:
    recipe = parse_recipe(tables | {"search": {"widths": [0.5, 4.0], "round_to": 2}})
    search, distill = recipe.search, recipe.distill
    assert search is not None and distill is not None
    ask: Callable[[Any], Point] = lambda trial: suggest(trial, search, distill, None)  # noqa: E731
    return run_search(open_study(f"sqlite:///{path}", "s"), Formula(), ask, RULES, lambda text: None)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[Trial]]:
    import copy

    from support import TINY

    path = tmp_path_factory.mktemp("study") / "study.sqlite3"
    done = trials(path, copy.deepcopy(TINY))
    return path.read_bytes(), done


def test_a_whole_study_and_a_missing_one_stay(study: tuple[bytes, list[Trial]], tmp_path: Path) -> None:
    path, observer = tmp_path / "study.sqlite3", Silent()
    put_aside_damaged(path, observer.say)
    path.write_bytes(study[0])
    put_aside_damaged(path, observer.say)
    assert path.read_bytes() == study[0] and not observer.said


@pytest.mark.parametrize("damage", ["header", "cut short", "empty text", "schema", "value", "state", "folder"])
def test_a_damaged_study_is_put_aside_with_one_sentence(
    study: tuple[bytes, list[Trial]], tmp_path: Path, damage: str, tiny_tables: dict[str, Any]
) -> None:
    path, observer = tmp_path / "study.sqlite3", Silent()
    path.write_bytes(study[0])
    if damage == "header":
        path.write_bytes(b"X" + study[0][1:])
    elif damage == "cut short":
        path.write_bytes(study[0][: len(study[0]) // 2])
    elif damage == "empty text":
        path.write_text("hello")
    elif damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        change = {
            "schema": "ALTER TABLE trials RENAME TO trialt",
            "value": "UPDATE trial_params SET param_value = param_value + 1e-9",
            "state": "UPDATE trials SET state = 'COMPLETF'",
        }[damage]
        with closing(sqlite3.connect(path)) as database, database:
            database.execute(change)
    put_aside_damaged(path, observer.say)
    assert not path.exists() and path.with_name("study.damaged1.sqlite3").exists()
    assert len(observer.said) == 1 and "is damaged (" in observer.said[0] and "\n" not in observer.said[0]
    if damage == "value":
        assert trials(path, tiny_tables) == study[1]  # the same trials are asked for again


def test_random_bytes_are_noticed_or_change_no_trial(study: tuple[bytes, list[Trial]], tmp_path: Path) -> None:
    import optuna

    from ganlet.search import trials_of

    path, draw, noticed = tmp_path / "study.sqlite3", random.Random(4), 0
    used = [place for place, byte in enumerate(study[0]) if byte]
    for _ in range(30):
        content = bytearray(study[0])
        content[draw.choice(used)] ^= 1 << draw.randrange(8)
        path.write_bytes(content)
        if damage_of(path) is not None:
            noticed += 1
        elif optuna.study.get_all_study_names(f"sqlite:///{path}") == ["s"]:
            assert trials_of(open_study(f"sqlite:///{path}", "s")) == study[1]
    assert noticed >= 10


def test_a_study_that_is_in_use_is_not_damaged(study: tuple[bytes, list[Trial]], tmp_path: Path) -> None:
    path = tmp_path / "study.sqlite3"
    path.write_bytes(study[0])
    with closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert damage_of(path) is None
        database.rollback()
