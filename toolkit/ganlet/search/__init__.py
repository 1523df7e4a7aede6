"""Which small generators are worth their bytes: many short trials, hopeless ones stopped, what is left on a front."""

from ganlet.search.front import Candidate, choose, front_numbers, goes_on
from ganlet.search.space import Point, applied, suggest
from ganlet.search.storage import put_aside_damaged
from ganlet.search.study import (
    Objective,
    Rules,
    Trial,
    check_storage,
    open_study,
    require_optuna,
    run_search,
    trials_of,
    using,
)

__all__ = [
    "Candidate",
    "Objective",
    "Point",
    "Rules",
    "Trial",
    "applied",
    "check_storage",
    "choose",
    "front_numbers",
    "goes_on",
    "open_study",
    "put_aside_damaged",
    "require_optuna",
    "run_search",
    "suggest",
    "trials_of",
    "using",
]
