"""The trials of a search: asked of Optuna, kept in its storage after every rung, stopped, resumed, shared.

Optuna's own pruners know one value only, so the stopping is ours (`goes_on`). What a trial has reached is a note in the
storage after every rung. A trial whose process died, or was stopped, goes back to the queue with the same parameters:
the objective finds what it had made of them.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ganlet.errors import Diverged, GanletError, words_of
from ganlet.search.front import Candidate, Values, goes_on
from ganlet.search.space import Point, Suggests
from ganlet.search.storage import SEAL, seal_of

Say = Callable[[str], None]
State = Literal["complete", "stopped", "failed", "running"]
STARTUP = 10  # trials that are drawn at random before the sampler learns from them
RUNG, REPLACES = "rung{}", "replaces"  # notes of a trial in the storage


class Objective(Protocol):
    """What a point costs, known before any training, and how far its pictures are after the run of a rung."""

    def cost(self, point: Point) -> tuple[float, float]:
        """(model MB, latency ms)"""
        ...

    def distance(self, point: Point, rung: int) -> float: ...


@dataclass(frozen=True)
class Rules:
    """How many trials, how they are stopped, and the seed of the sampler for the trial of a number."""

    trials: int
    rungs: int
    reduction: int
    seed_of_trial: Callable[[int], int]


@dataclass(frozen=True)
class Trial:
    """A trial as the storage has it. `distances` are those of the rungs that it reached."""

    number: int
    state: State
    params: dict[str, Any]
    model_mb: float | None
    latency_ms: float | None
    distances: tuple[float, ...]
    reason: str = ""

    @property
    def candidate(self) -> Candidate | None:
        """The values of a trial that ran to its end."""
        if self.state != "complete" or self.model_mb is None or self.latency_ms is None:
            return None
        return Candidate(self.number, self.model_mb, self.distances[-1], self.latency_ms)

    def values_at(self, rung: int) -> Values | None:
        if self.model_mb is None or self.latency_ms is None or rung >= len(self.distances):
            return None
        return self.model_mb, self.distances[rung], self.latency_ms


def require_optuna() -> None:
    """Raise GanletError when Optuna is not installed."""
    try:
        import optuna  # noqa: F401
        import sqlalchemy  # noqa: F401
    except ImportError as error:
        raise GanletError(
            f'A search needs {error.name}, not installed here; run `pip install "ganlet[search]"` first.'
        ) from error


def open_study(storage: str, name: str) -> Any:
    """The Optuna study of that name, made where there is none.

    Raises GanletError when Optuna is not installed, or the storage cannot be reached.
    """
    require_optuna()
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with _opening(storage):
        return optuna.create_study(storage=storage, study_name=name, directions=["minimize"] * 3, load_if_exists=True)


def check_storage(storage: str) -> None:
    """Raise GanletError where the storage cannot be reached, before anything is trained for it."""
    import optuna

    with _opening(storage):
        optuna.storages.get_storage(storage)


@contextlib.contextmanager
def _opening(storage: str) -> Iterator[None]:
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, ImportError, ValueError, OSError, optuna.exceptions.OptunaError) as error:
        raise GanletError(
            f"The storage of the search ({_kind(storage)}) cannot be opened ({_why(error)}); expected an Optuna "
            "storage URL such as sqlite:///search.sqlite3 or mysql://user@host/db, with its driver installed."
        ) from error


@contextlib.contextmanager
def using(storage: str) -> Iterator[None]:
    """Turn a storage that fails while a search runs into a sentence."""
    import optuna
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        raise GanletError(
            f"The storage of the search ({_kind(storage)}) failed ({_why(error)}); what was trained is kept, run the "
            "same command again when it can be reached."
        ) from error


def _kind(storage: str) -> str:
    return storage.partition("://")[0]  # the rest may hold a password


def _why(error: Exception) -> str:
    return words_of(error)


def run_search(
    study: Any, objective: Objective, suggest: Callable[[Suggests], Point], rules: Rules, say: Say
) -> list[Trial]:
    """Run trials until there are `rules.trials` of them, those of other processes included. Returns them all.

    Raises what the objective raises, but for Diverged, which fails the trial alone; the trial is then queued again.
    """
    _queue_abandoned(study, say)
    while _begun(study) < rules.trials or _waiting(study):
        _run_one(study, objective, suggest, rules, say)
    return trials_of(study)


def _run_one(study: Any, objective: Objective, suggest: Callable[[Suggests], Point], rules: Rules, say: Say) -> None:
    import optuna

    trial = study.ask()
    trial.set_user_attr("owner", _owner())
    # A sampler of its own for each trial: a search that was stopped goes on as it would have.
    seed = rules.seed_of_trial(_place_of(study, trial.number))
    study.sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=STARTUP, constant_liar=True)
    try:
        point = suggest(trial)
        stopped_at = _climb(study, trial, objective, point, rules)
    except Diverged as error:
        trial.set_user_attr("reason", str(error))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        say(f"search: trial {trial.number} failed, {error}")
        return
    except BaseException:
        _queue_again(study, study.trials[trial.number])
        raise
    found = _read(study.trials[trial.number])
    told = f"search: trial {trial.number}, {found.model_mb:.3g} MB, {found.latency_ms:.3g} ms, "
    told += f"distance {found.distances[-1]:.4g}"
    trial.set_user_attr(SEAL, seal_of(study.trials[trial.number]))
    if stopped_at is None:
        study.tell(trial, (found.model_mb, found.distances[-1], found.latency_ms))
        say(told)
    else:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        say(f"{told} after run {stopped_at + 1} of {rules.rungs}: stopped, others are ahead")


def _climb(study: Any, trial: Any, objective: Objective, point: Point, rules: Rules) -> int | None:
    """Measure a trial rung by rung; the rung at which it was stopped, or None."""
    model_mb, latency_ms = objective.cost(point)
    trial.set_user_attr("model_mb", model_mb)
    trial.set_user_attr("latency_ms", latency_ms)
    for rung in range(rules.rungs):
        distance = float(objective.distance(point, rung))
        trial.set_user_attr(RUNG.format(rung), distance)
        others = [t.values_at(rung) for t in trials_of(study) if t.number != trial.number]
        mine = (model_mb, distance, latency_ms)
        if rung < rules.rungs - 1 and not goes_on(mine, [v for v in others if v is not None], rules.reduction):
            return rung
    return None


def trials_of(study: Any) -> list[Trial]:
    """All trials but those that wait, and those that were queued again under another number."""
    found = study.get_trials(deepcopy=False)
    replaced = _replaced(found)
    return [_read(trial) for trial in found if trial.state.name != "WAITING" and trial.number not in replaced]


def _read(found: Any) -> Trial:
    states: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "stopped", "FAIL": "failed", "RUNNING": "running"}
    notes = found.user_attrs
    reached = [notes[RUNG.format(r)] for r in range(len(notes)) if RUNG.format(r) in notes]
    return Trial(
        number=found.number,
        state=states[found.state.name],
        params=dict(found.params),
        model_mb=notes.get("model_mb"),
        latency_ms=notes.get("latency_ms"),
        distances=tuple(reached),
        reason=notes.get("reason", ""),
    )


# ---------------------------------------------------------------- what was left behind


def _owner() -> str:
    return f"{socket.gethostname()} {os.getpid()}"


def _is_gone(owner: str) -> bool:
    """Whether a process of this machine has ended; of another machine nothing is known, nor on Windows."""
    host, _, number = owner.rpartition(" ")
    if host != socket.gethostname() or os.name != "posix":  # there os.kill ends the process that it asks after
        return False
    if int(number) == os.getpid():  # the numbers of processes come round
        return True
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _queue_abandoned(study: Any, say: Say) -> None:
    running = [t for t in study.get_trials(deepcopy=False) if t.state.name == "RUNNING"]
    for trial in running:
        if _is_gone(trial.user_attrs.get("owner", "")):
            _queue_again(study, trial)
            say(f"search: trial {trial.number} was cut off, it goes on")


def _queue_again(study: Any, trial: Any) -> None:
    """The same parameters once more, under another number; the old one counts no longer."""
    import optuna

    if trial.number not in _replaced(study.get_trials(deepcopy=False)):
        study.enqueue_trial(trial.params, user_attrs={REPLACES: trial.number})
    with contextlib.suppress(ValueError):  # another process has told it at this very moment
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _replaced(trials: Sequence[Any]) -> set[int]:
    return {trial.user_attrs[REPLACES] for trial in trials if REPLACES in trial.user_attrs}


def _place_of(study: Any, number: int) -> int:
    """The number that a trial would have had if none before it had been queued again."""
    return number - sum(REPLACES in trial.user_attrs for trial in study.get_trials(deepcopy=False)[:number])


def _begun(study: Any) -> int:
    return len(trials_of(study))


def _waiting(study: Any) -> bool:
    return any(found.state.name == "WAITING" for found in study.get_trials(deepcopy=False))
