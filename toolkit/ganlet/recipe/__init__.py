"""The recipe: one TOML file that says everything about a job."""

from ganlet.recipe.basis import Basis, is_images
from ganlet.recipe.compressing import Distill, Prune, Quantize, Tune
from ganlet.recipe.read import load_recipe, parse_recipe, save_recipe
from ganlet.recipe.sections import (
    AutoFreeze,
    Budget,
    Critic,
    Data,
    Export,
    Importance,
    Network,
    Run,
    Search,
    Teacher,
    Train,
    Transfer,
    Verify,
)
from ganlet.recipe.whole import Recipe

__all__ = [
    "AutoFreeze",
    "Basis",
    "Budget",
    "Critic",
    "Data",
    "Distill",
    "Export",
    "Importance",
    "Network",
    "Prune",
    "Quantize",
    "Recipe",
    "Run",
    "Search",
    "Teacher",
    "Train",
    "Transfer",
    "Tune",
    "Verify",
    "is_images",
    "load_recipe",
    "parse_recipe",
    "save_recipe",
]
