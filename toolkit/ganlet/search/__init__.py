"""Which small generators are worth their bytes: many short trials, hopeless ones stopped, what is left on a front."""

from ganlet.search.front import Candidate, choose, front_numbers, goes_on
from ganlet.search.space import Point, applied, suggest
from ganlet.search.study import Objective, Rules, Trial, open_study, require_optuna, run_search, trials_of

__all__ = [
    "Candidate",
    "Objective",
    "Point",
    "Rules",
    "Trial",
    "applied",
    "choose",
    "front_numbers",
    "goes_on",
    "open_study",
    "require_optuna",
    "run_search",
    "suggest",
    "trials_of",
]
