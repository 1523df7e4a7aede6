"""The space that is searched: a point is what a trial changes of the recipe's [distill]."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ganlet.recipe import Distill, Recipe, Search


class Suggests(Protocol):
    """What is used of an Optuna trial."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = ...) -> float: ...
    def suggest_categorical(self, name: str, choices: Any) -> Any: ...


@dataclass(frozen=True)
class Point:
    """One student: its widths, and how it is taught."""

    widths: tuple[int, ...]
    alpha: float
    lr: float
    features: float
    pixel: Literal["mse", "l1"]
    init: Literal["random", "teacher"]


def suggest(trial: Suggests, search: Search, base: Distill, most: Sequence[int | None] | None) -> Point:
    """Draw a point. `most` is given where a teacher can start a student: how wide each of its layers may then be.

    Widths, rates and weights are drawn on a logarithmic scale, twice and half being equally far; a span that begins at
    0 evenly.
    """
    multiples = [
        trial.suggest_float(f"width{number}", *search.widths, log=True) for number in range(1, len(base.widths) + 1)
    ]
    inits = [init for init in search.init if init != "teacher" or most is not None] or ["random"]
    init = trial.suggest_categorical("init", inits)
    widths = tuple(_rounded(width * by, search.round_to) for width, by in zip(base.widths, multiples, strict=True))
    if init == "teacher" and most is not None:
        widths = tuple(width if limit is None else min(width, limit) for width, limit in zip(widths, most, strict=True))
    return Point(
        widths=widths,
        alpha=trial.suggest_float("alpha", *search.alpha, log=search.alpha[0] > 0),
        lr=trial.suggest_float("lr", *search.lr, log=True),
        features=trial.suggest_float("features", *search.features, log=search.features[0] > 0),
        pixel=trial.suggest_categorical("pixel", list(search.pixel)),
        init=init,
    )


def _rounded(width: float, round_to: int) -> int:
    return max(1, round(width / round_to)) * round_to


def applied(recipe: Recipe, point: Point, images: int | None = None) -> Recipe:
    """The recipe with the point's student, and nothing to search any more; `images` shortens its training."""
    if recipe.distill is None:
        raise ValueError("a search needs [distill]")
    train = recipe.distill.train.model_copy(update={"lr": point.lr} | ({"images": images} if images else {}))
    changes = {name: getattr(point, name) for name in ("widths", "alpha", "features", "pixel", "init")}
    if point.init == "random":  # nothing is chosen from the teacher then
        changes["importance"] = Distill.model_fields["importance"].default
    distill = recipe.distill.model_copy(update=changes | {"train": train})
    return recipe.model_copy(update={"distill": distill, "search": None})
