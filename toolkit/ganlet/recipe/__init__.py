"""The recipe: one TOML file that says everything about a job."""

from ganlet.recipe.read import load_recipe, parse_recipe, save_recipe
from ganlet.recipe.sections import (
    Budget,
    Critic,
    Data,
    Distill,
    Export,
    Importance,
    Network,
    Prune,
    Recipe,
    Run,
    Search,
    Teacher,
    Train,
    Transfer,
    Tune,
    Verify,
)

__all__ = [
    "Budget",
    "Critic",
    "Data",
    "Distill",
    "Export",
    "Importance",
    "Network",
    "Prune",
    "Recipe",
    "Run",
    "Search",
    "Teacher",
    "Train",
    "Transfer",
    "Tune",
    "Verify",
    "load_recipe",
    "parse_recipe",
    "save_recipe",
]
