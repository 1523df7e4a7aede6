"""The recipe: one TOML file that says everything about a job."""

from ganlet.recipe.basis import Basis, is_images
from ganlet.recipe.compressing import Distill, Lessons, Prune, Quantize, Tune
from ganlet.recipe.networks import distill_section, teacher_section
from ganlet.recipe.read import load_recipe, parse_recipe, save_recipe
from ganlet.recipe.sections import (
    AutoFreeze,
    Budget,
    Data,
    Export,
    Importance,
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
    "Data",
    "Distill",
    "Export",
    "Importance",
    "Lessons",
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
    "distill_section",
    "is_images",
    "load_recipe",
    "parse_recipe",
    "save_recipe",
    "teacher_section",
]
