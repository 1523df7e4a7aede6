"""The loop of a search on an objective that is a formula: front, stopping, resuming, sharing, what a stop leaves."""

import math
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ganlet.errors import Diverged, GanletError, Interrupted
from ganlet.recipe import parse_recipe
from ganlet.search import Point, Rules, Trial, applied, front_numbers, open_study, run_search, suggest
from ganlet.training.state import seed_of

optuna = pytest.importorskip("optuna")

RULES = Rules(trials=14, rungs=3, reduction=3, seed_of_trial=lambda number: seed_of(1, number) % 2**32)


class Formula:
    """Smaller models are farther, the best rate is 1e-3, and longer runs come nearer."""

    def __init__(self) -> None:
        self.runs: list[tuple[Point, int]] = []

    def cost(self, point: Point) -> tuple[float, float]:
        size = math.prod(point.widths) / 1000
        return size, math.sqrt(size)

    def distance(self, point: Point, rung: int) -> float:
        self.runs.append((point, rung))
        wrong = abs(math.log(point.lr / 1e-3)) + (point.init == "random")
        return 100 / (1 + self.cost(point)[0]) * (1 + wrong) * (1 + 2.0**-rung)


@pytest.fixture
def ask(tiny_tables: dict[str, Any]) -> Callable[[Any], Point]:
    recipe = parse_recipe(tiny_tables | {"search": {"widths": [0.5, 4.0], "round_to": 2}})
    assert recipe.search is not None and recipe.distill is not None
    return lambda trial: suggest(trial, recipe.search, recipe.distill, None)  # type: ignore[arg-type]


@pytest.fixture
def storage() -> Any:
    """In memory: a file is synced at every note, which is what it is for, and slow."""
    return optuna.storages.InMemoryStorage()


def run(storage: Any, ask: Any, objective: Any, rules: Rules = RULES, name: str = "s") -> list[Trial]:
    return run_search(open_study(storage, name), objective, ask, rules, lambda text: None)


def test_the_front_and_every_note_are_what_brute_force_finds(storage: Any, ask: Any) -> None:
    objective = Formula()
    trials = run(storage, ask, objective)
    assert [t.number for t in trials] == list(range(14)) and {t.state for t in trials} == {"complete", "stopped"}
    for trial in trials:
        assert trial.state == ("complete" if len(trial.distances) == 3 else "stopped")
        again = [run for run in objective.runs if (objective.cost(run[0])[0]) == trial.model_mb]
        assert again and trial.latency_ms == math.sqrt(trial.model_mb or 0)
    done = [t.candidate.values for t in trials if t.candidate]
    study_front = {tuple(t.values) for t in open_study(storage, "s").best_trials}
    assert study_front == {v for v, number in zip(done, front_numbers(done), strict=True) if number == 0}


def test_hopeless_trials_save_runs(storage: Any, ask: Any) -> None:
    objective = Formula()
    trials = run(storage, ask, objective)
    assert len(objective.runs) == sum(len(t.distances) for t in trials) < 3 * 14


class Stops(Formula):
    """Ends like a signal, a fault or a kill, at its n-th run."""

    def __init__(self, at: int, error: BaseException) -> None:
        super().__init__()
        self.left, self.error = at, error

    def distance(self, point: Point, rung: int) -> float:
        self.left -= 1
        if self.left == 0:
            raise self.error
        return super().distance(point, rung)


@pytest.mark.parametrize("error", [Interrupted("stopped"), KeyboardInterrupt(), GanletError("disk full")])
def test_a_search_that_was_stopped_goes_on_as_it_would_have(storage: Any, ask: Any, error: BaseException) -> None:
    whole = run(optuna.storages.InMemoryStorage(), ask, Formula())
    for at in (12, 7):
        with pytest.raises(type(error)):
            run(storage, ask, Stops(at, error))
    parts = run(storage, ask, Formula())
    assert [(params(t), t.state, t.distances) for t in parts] == [(params(t), t.state, t.distances) for t in whole]


def params(trial: Trial) -> tuple[Any, ...]:
    return tuple(sorted(trial.params.items()))


def test_a_trial_whose_process_was_killed_goes_on_another_machines_is_left_alone(tmp_path: Path, ask: Any) -> None:
    storage = f"sqlite:///{tmp_path / 'study.sqlite3'}"
    study = open_study(storage, "s")
    owners = {"dead": f"{socket.gethostname()} {2**22 + 1}", "alive": f"{socket.gethostname()} {os.getppid()}"}
    for owner in (owners["dead"], owners["alive"], "elsewhere 7"):  # and the file outlives them
        trial = study.ask()
        ask(trial)
        trial.set_user_attr("owner", owner)
    said: list[str] = []
    rules = Rules(trials=3, rungs=1, reduction=3, seed_of_trial=RULES.seed_of_trial)
    trials = run_search(open_study(storage, "s"), Formula(), ask, rules, said.append)
    assert said[0] == "search: trial 0 was cut off, it goes on"
    assert [(t.number, t.state) for t in trials] == [(1, "running"), (2, "running"), (3, "complete")]
    assert trials[-1].params == study.get_trials()[0].params


def test_more_trials_continue_the_same_study(storage: Any, ask: Any) -> None:
    few = Rules(trials=4, rungs=3, reduction=3, seed_of_trial=RULES.seed_of_trial)
    first, objective = run(storage, ask, Formula(), few), Formula()
    more = run(storage, ask, objective)
    assert more[:4] == first and len(more) == 14 and len(objective.runs) == sum(len(t.distances) for t in more[4:])
    assert run(storage, ask, objective, name="other", rules=few) != more
    assert more == run(storage, ask, Stops(1, AssertionError()))  # nothing left to do


def test_a_trial_that_diverges_fails_alone_with_its_reason(storage: Any, ask: Any) -> None:
    trials = run(storage, ask, Stops(2, Diverged("loss = nan")))
    failed = [t for t in trials if t.state == "failed"]
    assert len(trials) == 14 and len(failed) == 1 and failed[0].reason == "loss = nan" and failed[0].candidate is None


def test_two_processes_share_the_trials(storage: Any, ask: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one begins while the first is in the middle of a trial."""
    objective, inner = Formula(), Formula()
    rules = Rules(trials=6, rungs=1, reduction=3, seed_of_trial=RULES.seed_of_trial)

    class Meanwhile(Formula):
        def distance(self, point: Point, rung: int) -> float:
            if not self.runs:
                monkeypatch.setattr(os, "getpid", lambda: 1)
                few = Rules(trials=4, rungs=1, reduction=3, seed_of_trial=RULES.seed_of_trial)
                run_search(open_study(storage, "s"), inner, ask, few, lambda text: None)
                monkeypatch.undo()
            return super().distance(point, rung)

    objective = Meanwhile()
    trials = run(storage, ask, objective, rules)
    assert len(trials) == 6 and len(inner.runs) == 3 and len(objective.runs) == 3
    assert len({params(t) for t in trials}) == 6


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////nowhere/at/all.sqlite3", "mysql://secret:word@host/db"])
def test_a_storage_that_cannot_be_opened_is_one_sentence_without_its_password(url: str) -> None:
    with pytest.raises(GanletError, match=r"cannot be opened .* expected an Optuna storage URL") as raised:
        open_study(url, "s")
    assert "secret" not in str(raised.value) and "\n" not in str(raised.value)


def test_a_point_changes_the_student_and_nothing_else(tiny_tables: dict[str, Any]) -> None:
    recipe = parse_recipe(tiny_tables | {"search": {}})
    point = Point((8, 4), 0.2, 1e-3, 3.0, "mse", "random")
    changed = applied(recipe, point, images=64)
    assert changed.distill is not None and recipe.distill is not None and changed.search is None
    assert (changed.distill.widths, changed.distill.train.lr, changed.distill.train.images) == ((8, 4), 1e-3, 64)
    assert changed.distill.critic == recipe.distill.critic and changed.teacher == recipe.teacher
    parse_recipe(changed.model_dump(mode="json", by_alias=True, exclude_none=True))
    kept = applied(recipe, point).distill
    assert kept is not None and kept.train.images == recipe.distill.train.images


def test_a_random_start_has_no_channels_to_choose(tiny_tables: dict[str, Any]) -> None:
    tiny_tables["distill"]["importance"] = "diversity"
    recipe = parse_recipe(tiny_tables | {"search": {}})
    changed = applied(recipe, Point((8, 4), 0.2, 1e-3, 3.0, "mse", "random"))
    parse_recipe(changed.model_dump(mode="json", by_alias=True, exclude_none=True))
    kept = applied(recipe, Point((8, 4), 0.2, 1e-3, 3.0, "mse", "teacher")).distill
    assert kept is not None and kept.importance == "diversity"


def test_a_student_of_the_teachers_channels_is_no_wider_than_it(tiny_tables: dict[str, Any]) -> None:
    recipe = parse_recipe(tiny_tables | {"search": {"widths": [8.0, 8.0], "init": ["teacher"]}})

    class Low:
        def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
            return low

        def suggest_categorical(self, name: str, choices: Any) -> Any:
            return choices[0]

    assert recipe.search is not None and recipe.distill is not None
    assert suggest(Low(), recipe.search, recipe.distill, [12, None]).widths == (12, 32)
    free = suggest(Low(), recipe.search, recipe.distill, None)  # its layers are others than the student's
    assert free.widths == (48, 32) and free.init == "random"


@pytest.mark.parametrize("span", [(0.0, 2.0), (0.0, 0.0)])
def test_what_is_off_by_default_can_stay_off_in_a_search(
    tiny_tables: dict[str, Any], span: tuple[float, float]
) -> None:
    recipe = parse_recipe(tiny_tables | {"search": {"features": span}})
    drawn = {"width1": 1.0, "width2": 1.0, "init": "random", "alpha": 0.1, "lr": 1e-3, "features": 0.0, "pixel": "l1"}
    assert recipe.search is not None and recipe.distill is not None
    assert suggest(optuna.trial.FixedTrial(drawn), recipe.search, recipe.distill, None).features == 0.0
