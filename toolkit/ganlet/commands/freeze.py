"""`freeze_generator = "auto"`: short runs of a transfer find how many layers may stay frozen, and what that costs."""

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ganlet.artifact import Stage
from ganlet.commands.preflight import with_feature_net
from ganlet.compress.freeze import freezable, transfer_plan
from ganlet.data import PictureSet
from ganlet.memory.forecast import forecast, place_of
from ganlet.metrics import Figure
from ganlet.observer import Observer
from ganlet.recipe import AutoFreeze, Recipe, Transfer
from ganlet.sealed import read_sealed, write_sealed
from ganlet.search.freezing import Freezing, Rules, best_of, change_percent, choose, search_freezing
from ganlet.training.load import load_generator
from ganlet.training.loop import pick_device
from ganlet.verify import DistanceToData

FOLDER = "freezing"  # of the short runs, in the run's folder
RESULT = "freezing.json"  # of what they came to, in the stage's folder

DOCUMENT = frozenset(
    [
        "schema",
        "key",
        "features",
        "samples",
        "images",
        "tolerance_percent",
        "limit_mib",
        "candidates",
        "chosen",
        "why",
    ]
)
"""Keys of RESULT."""

Train = Callable[[Recipe, Path, str], Stage]
"""Transfers by a recipe into a run's folder; the last word is shown meanwhile."""


def with_freezing(recipe: Recipe, freezing: Freezing, **train: Any) -> Recipe:
    """The recipe with these numbers of layers given, as if nobody had searched, and other values in its train table."""
    transfer = _section(recipe)
    changes: dict[str, Any] = {"freeze_generator": freezing.generator, "freeze_critic": freezing.critic}
    changes |= {"auto": AutoFreeze(), "train": transfer.train.model_copy(update=train)}
    return recipe.model_copy(update={"transfer": transfer.model_copy(update=changes)})


def find_freezing(
    recipe: Recipe, source: Stage, run: Path, pictures: PictureSet, train: Train, observer: Observer
) -> tuple[Freezing, dict[str, Any]]:
    """The numbers of layers to freeze, and the document of how they were found.

    Every candidate is transferred for a short time in RUN/freezing, and its distance to the training pictures is kept
    there: the same call again goes on with what is missing, bit by bit as if it had not stopped.
    """
    found = Finder(recipe, source, run, pictures, train, observer)
    done = run / "transfer" / RESULT
    known = _known(done, DOCUMENT, observer)
    if known.get("key") != found.key:
        known = found.document()
    chosen = Freezing(**known["chosen"])
    observer.say(f"transfer: frozen layers: {chosen} ({known['why']})")
    return chosen, known


class Finder:
    """The short runs of one search, each measured once."""

    def __init__(
        self, recipe: Recipe, source: Stage, run: Path, pictures: PictureSet, train: Train, observer: Observer
    ) -> None:
        self.recipe, self.source, self.run, self.train, self.observer = recipe, source, run, train, observer
        self.auto = _section(recipe).auto
        self.device = pick_device(recipe.run.device)
        limits = (self.auto.memory_mib, recipe.budget.training_memory_mib)
        self.rules = Rules(self.auto.tolerance_percent, min((mib for mib in limits if mib is not None), default=None))
        features = recipe.verify.features
        self.made_of = {"data_sha256": pictures.sha256, "features": features, **source.as_input}
        indices, _ = pictures.split(recipe.data.holdout, recipe.data.seed)
        self.distance = DistanceToData(
            pictures, indices, net_name=features, samples=self.auto.samples, seed=recipe.run.seed
        )

    @property
    def key(self) -> str:
        """What the choice depends on."""
        place, limit = place_of(self.device), str(self.rules.limit_mib)
        return self.recipe.key("data", "transfer", place=place, limit_mib=limit, **self.made_of)

    def memory_mib(self, freezing: Freezing) -> float:
        """Of the whole transfer with these layers frozen, by forecast."""
        recipe = with_freezing(self.recipe, freezing)
        plan = with_feature_net(transfer_plan(recipe, self.source), recipe)
        return forecast(plan, place_of(self.device)).peak_mib

    def measure(self, freezing: Freezing) -> Figure:
        """The distance to the training pictures after a short run, or what is known of it."""
        recipe = with_freezing(self.recipe, freezing, images=self.auto.images, evaluate_steps=0, patience=0)
        key = recipe.key("data", "transfer", samples=str(self.auto.samples), **self.made_of)
        name = f"generator{freezing.generator}-critic{freezing.critic}"
        kept, folder = self.run / FOLDER / f"{name}.json", self.run / FOLDER / name
        known = _known(kept, ("key", "distance", "influence", "seconds"), self.observer)
        if known.get("key") != key:
            stage = self.train(recipe, folder, f"freezing {freezing}")
            found = self.distance.figure(load_generator(stage))
            influence = {"pictures": found.a_influence.tolist(), "data": found.b_influence.tolist()}
            known = {"key": key, "distance": found.interval.as_json(), "influence": influence}
            known |= {"seconds": stage.training["seconds"]}
            write_sealed(kept, known)
        shutil.rmtree(folder, ignore_errors=True)  # its weights have served
        sides = [np.array(known["influence"][side]) for side in ("pictures", "data")]
        figure = Figure(**known["distance"], a_influence=sides[0], b_influence=sides[1])
        self.observer.say(
            f"freezing {freezing}: distance {figure.value:.4g} ({figure.low:.4g} to {figure.high:.4g}), "
            f"{self.auto.samples} samples"
        )
        return figure

    def document(self) -> dict[str, Any]:
        """Search, and say what came of it."""
        section = _section(self.recipe)
        generators, critics = freezable(section, self.source)
        tried = search_freezing(generators, critics, self.memory_mib, self.measure, self.rules)
        best, chosen = best_of(tried), choose(tried, self.rules)
        limit = "" if self.rules.limit_mib is None else f" of what fits {self.rules.limit_mib:.4g} MiB"
        rows = []
        for one in tried:
            change = change_percent(one, best)
            rows.append(
                {
                    "generator": one.freezing.generator,
                    "critic": one.freezing.critic,
                    "memory_mib": round(one.memory_mib, 3),
                    "distance": None if one.distance is None else one.distance.interval.as_json(),
                    "change_percent": None if change is None else change.as_json(),
                    "note": "best" if one is best else one.note,
                }
            )
        return {
            "schema": 1,
            "key": self.key,
            "features": self.recipe.verify.features,
            "samples": self.auto.samples,
            "images": self.auto.images,
            "tolerance_percent": self.auto.tolerance_percent,
            "limit_mib": self.rules.limit_mib,
            "candidates": rows,
            "chosen": {"generator": chosen.freezing.generator, "critic": chosen.freezing.critic},
            "why": f"the least memory, {chosen.memory_mib:.4g} MiB,{limit} whose distance is not measurably more than "
            f"{self.auto.tolerance_percent:g} % above the best, {best.freezing}",
        }


def _known(path: Path, keys: Iterable[str], observer: Observer) -> dict[str, Any]:
    """What was kept at `path`; where it is damaged that is said, and it is found again."""
    known = read_sealed(path, keys)
    if known is None:
        observer.say(f"transfer: {path} is damaged, what it held is found again")
    return known or {}


def _section(recipe: Recipe) -> Transfer:
    assert recipe.transfer is not None
    return recipe.transfer
