"""`ganlet search`: students around the recipe's own are trained for a short time, and the best one is written out."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ganlet.artifact import Stage, find_stage
from ganlet.commands.open_run import OpenRun
from ganlet.commands.run import STEPS, distill
from ganlet.device.footprint import measure
from ganlet.errors import Busy, GanletError
from ganlet.files import MB, claimed, read_json, write_bytes, write_json, write_text
from ganlet.observer import Hushed, Observer
from ganlet.recipe import Recipe, Search, save_recipe
from ganlet.report import search_png, search_svg
from ganlet.sealed import read_sealed, write_sealed
from ganlet.search import (
    Candidate,
    Point,
    Rules,
    Trial,
    applied,
    check_storage,
    choose,
    front_numbers,
    open_study,
    put_aside_damaged,
    require_optuna,
    run_search,
    suggest,
    trials_of,
    using,
)

FOLDER = "search"
BEST = "best.toml"
WAIT_S = 1.0


class Proxy:
    """The objective: what a student costs as an ONNX file here, and its distance after a short distillation."""

    def __init__(self, place: OpenRun, source: Stage) -> None:
        from ganlet.verify import DistanceToData

        recipe = place.recipe
        assert recipe.search is not None
        self.place, self.source, self.search = place, source, recipe.search
        indices, _ = place.pictures.split(recipe.data.holdout, recipe.data.seed)
        self.measure_distance = DistanceToData(
            place.pictures,
            indices,
            net_name=recipe.verify.features,
            samples=self.search.samples,
            seed=recipe.run.seed,
        )

    def folder(self, point: Point) -> Path:
        """Named by what the point is: a trial that is queued again finds what there is of it."""
        digest = hashlib.sha256(json.dumps(asdict(point), sort_keys=True).encode()).hexdigest()
        return self.place.run / FOLDER / "trials" / digest[:12]

    def cost(self, point: Point) -> tuple[float, float]:
        """Size of generator.onnx and median time of one picture: neither depends on what the weights are."""
        from ganlet.compress.distill import distill_plan
        from ganlet.export.onnx_export import onnx_bytes
        from ganlet.models.families import build_generator

        plan = distill_plan(self._recipe(point, 0, 0), self.source)
        known, of = self.folder(point) / "cost.json", plan.generator.model_dump(mode="json")
        found = self._known(known, "generator", "model_mb", "latency_ms")
        if found.get("generator") == of:
            return float(found["model_mb"]), float(found["latency_ms"])
        path = self.folder(point) / "untrained.onnx"
        write_bytes(path, onnx_bytes(build_generator(plan.generator), ""))
        model_mb, latency_ms = path.stat().st_size / MB, measure(path).latency_p50_ms
        path.unlink()
        write_sealed(known, {"generator": of, "model_mb": model_mb, "latency_ms": latency_ms})
        return model_mb, latency_ms

    def distance(self, point: Point, rung: int) -> float:
        """Of the last rung the mean over its seeds."""
        seeds = self.search.seeds if rung == self.search.rungs - 1 else 1
        return sum(self._distance(point, rung, number) for number in range(seeds)) / seeds

    def _distance(self, point: Point, rung: int, number: int) -> float:
        from ganlet.training.load import load_generator

        folder = self.folder(point) / f"rung{rung}-seed{number}"
        recipe = self._recipe(point, rung, number)
        stage = distill(replace(self.place, recipe=recipe, run=folder, observer=self._hushed(point, rung)))
        known = folder / "distance.json"
        of = {"key": stage.key, "samples": self.search.samples, "net": self.place.recipe.verify.features}
        found = self._known(known, *of, "distance")
        if of.items() <= found.items():
            return float(found["distance"])
        distance = self.measure_distance(load_generator(stage))
        write_sealed(known, of | {"distance": distance})
        shutil.rmtree(stage.folder / "checkpoint", ignore_errors=True)  # a proxy run is never trained on
        return distance

    def _known(self, path: Path, *keys: str) -> dict[str, Any]:
        """What was kept of a trial; where it is damaged that is said, and it is made again."""
        found = read_sealed(path, keys)
        if found is None:
            self.place.observer.say(f"search: {path} is damaged, it is measured again")
        return found or {}

    def _recipe(self, point: Point, rung: int, number: int) -> Recipe:
        """A recipe that distils the source alone, for a part of the pictures."""
        recipe = applied(self.place.recipe, point, self.search.images_at(rung))
        assert recipe.distill is not None
        run = recipe.run.model_copy(update={"seed": recipe.run.seed + number})
        alone = recipe.distill.model_copy(update={"teacher_run": str(self.source.folder)})
        changes = {"run": run, "teacher": None, "transfer": None, "distill": alone, "compress": ()}
        return recipe.model_copy(update=changes)

    def _hushed(self, point: Point, rung: int) -> Hushed:
        return Hushed(self.place.observer, f"{'-'.join(map(str, point.widths))} {rung + 1}/{self.search.rungs}")


def search_recipe(
    recipe: Recipe,
    run: Path,
    observer: Observer,
    *,
    storage: str | None = None,
    target_mb: float | None = None,
    pick: int | None = None,
) -> dict[str, Any]:
    """Search around the recipe's student; the same call again goes on, and with more trials goes further.

    Writes RUN/search/search.json, front.svg, front.png and best.toml, the recipe of the chosen trial: the one numbered
    `pick`, else the nearest to the data of at most `target_mb` and within the recipe's budgets. Returns search.json.
    """
    search = recipe.search
    if search is None or recipe.distill is None:
        raise GanletError(f"Recipe {recipe.run.name} has no [search] section; add one, it may be empty.")
    require_optuna()  # before all pictures are read
    place = OpenRun.open(recipe, run, observer)
    from ganlet.training.state import seed_of

    if storage is not None:
        check_storage(storage)
    planned = _planned_source(recipe)
    asker(with_widths(recipe, planned), search, planned)  # what is refused is refused before anything is written
    place.keep_recipe()
    (run / FOLDER).mkdir(parents=True, exist_ok=True)
    if storage is None:
        own = run / FOLDER / "study.sqlite3"
        put_aside_damaged(own, observer.say)
        storage = f"sqlite:///{own.absolute()}"
    check_storage(storage)
    made = _made(place, [name for name in ("teacher", "transfer") if getattr(recipe, name) is not None])
    source = made[-1] if made else place.source(recipe.distill.teacher_run)
    study = open_study(storage, study_name(recipe, place, source))
    recipe = with_widths(recipe, source)
    place = replace(place, recipe=recipe)
    ask = asker(recipe, search, source)
    rules = Rules(
        trials=search.trials,
        rungs=search.rungs,
        reduction=search.reduction,
        seed_of_trial=lambda number: seed_of(recipe.run.seed, "search", number) % 2**32,
    )
    with using(storage):
        try:
            run_search(study, Proxy(place, source), ask, rules, observer.say)
        finally:
            document = write_document(recipe, run, trials_of(study), ask)
    return write_choice(recipe, run, document, target_mb, pick)


def _planned_source(recipe: Recipe) -> Stage:
    """The stage that students are to be tried from, with its networks but perhaps without weights."""
    from ganlet.compress.freeze import transfer_plan
    from ganlet.training.plan import planned_stage, teacher_plan

    assert recipe.distill is not None
    if recipe.distill.teacher_run is not None:
        return find_stage(Path(recipe.distill.teacher_run))
    if recipe.transfer is not None:
        return planned_stage(transfer_plan(recipe, find_stage(Path(recipe.transfer.source_run))))
    return planned_stage(teacher_plan(recipe))


def _made(place: OpenRun, sections: list[str]) -> list[Stage]:
    """The stages that students are tried from. Of searches that begin together one makes them, the others wait."""
    told = False
    while True:
        try:
            with claimed(place.run):
                return [STEPS[section](place) for section in sections]
        except Busy:
            if not told:
                place.observer.say(f"search: another ganlet works in {place.run}, waiting until it is done")
            told = True
            time.sleep(WAIT_S)


def with_widths(recipe: Recipe, source: Stage) -> Recipe:
    """The recipe with its student's widths, where it gives them as a fraction of its teacher's."""
    from ganlet.compress.distill import student_config
    from ganlet.training.load import generator_config_of

    distill = recipe.distill
    if distill is None or distill.width is None:
        return recipe
    student = student_config(distill, generator_config_of(source))
    return recipe.model_copy(update={"distill": distill.model_copy(update=student.shape | {"width": None})})


def study_name(recipe: Recipe, place: OpenRun, source: Stage) -> str:
    """Trials of another teacher, space or other pictures are never mixed with these; more of them are."""
    sections = ("data", "teacher", "transfer", "distill", "search", "verify")
    sources = {"data_sha256": place.pictures.sha256, **source.as_input}
    return f"{recipe.run.name}-{recipe.key(*sections, **sources)[:16]}"


def asker(recipe: Recipe, search: Search, source: Stage) -> Callable[[Any], Point]:
    """What draws a point of a trial. Raises GanletError where students can start as the recipe wants in no way."""
    from ganlet.compress.distill import distill_plan
    from ganlet.models.config import partners
    from ganlet.models.init import can_start_from
    from ganlet.training.load import generator_config_of

    base, teacher = recipe.distill, generator_config_of(source)
    assert base is not None
    narrow = base.model_copy(update={"widths": (1,) * len(base.widths), "init": "random"})
    student = distill_plan(recipe.model_copy(update={"distill": narrow}), source).generator
    obstacle = can_start_from(student, teacher)
    if obstacle and "random" not in search.init:
        raise GanletError(f'search.init = ["teacher"] is not possible: {obstacle}; add "random".')
    most = [None if p is None else teacher.widths[p] for p in partners(student, teacher)[:-1]]
    return lambda trial: suggest(trial, search, base, None if obstacle else most)


# ---------------------------------------------------------------- results


class Fixed:
    """Suggests what a trial was: its parameters as the storage has them."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        return float(self.params[name])

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        return self.params[name]


def write_document(recipe: Recipe, run: Path, trials: list[Trial], ask: Callable[[Any], Point]) -> dict[str, Any]:
    """RUN/search/search.json and the picture of the front, of whatever trials there are."""
    done = [candidate for trial in trials if (candidate := trial.candidate) is not None]
    fronts = front_numbers([candidate.values for candidate in done])
    on_front = {candidate.number for candidate, number in zip(done, fronts, strict=True) if number == 0}
    rows = []
    for trial in trials:
        whole = trial.state in ("complete", "stopped")
        row = asdict(trial) | {"front": trial.number in on_front}
        row |= {"distance": trial.distances[-1] if trial.distances else None}
        rows.append(row | {"point": asdict(ask(Fixed(trial.params))) if whole else None})
    document = {
        "schema": 1,
        "run": recipe.run.name,
        "features": recipe.verify.features,
        "samples": recipe.search.samples if recipe.search else 0,
        "trials": rows,
        "chosen": _chosen_before(run / FOLDER / "search.json", {row["number"] for row in rows}),
    }
    write_json(run / FOLDER / "search.json", document)
    return document


def _chosen_before(path: Path, numbers: Collection[int]) -> int | None:
    """The trial that an earlier call chose, whose recipe is in best.toml: a refused --pick leaves it chosen."""
    with suppress(GanletError, TypeError, KeyError):
        chosen = read_json(path)["chosen"]
        return chosen if chosen in numbers else None
    return None


def write_choice(
    recipe: Recipe, run: Path, document: dict[str, Any], target_mb: float | None, pick: int | None
) -> dict[str, Any]:
    """best.toml and the chosen trial's number in search.json; nothing where no trial ran to its end."""
    rows = {row["number"]: row for row in document["trials"]}
    done = [
        Candidate(row["number"], row["model_mb"], row["distance"], row["latency_ms"])
        for row in document["trials"]
        if row["state"] == "complete"
    ]
    if pick is not None:
        if pick not in {candidate.number for candidate in done}:
            raise GanletError(
                f"--pick {pick} is no trial that ran to its end; expected one of "
                f"{', '.join(str(candidate.number) for candidate in done) or 'none, there is none yet'}."
            )
        chosen: Candidate | None = next(candidate for candidate in done if candidate.number == pick)
    else:
        limit_mb = min((mb for mb in (target_mb, recipe.budget.model_mb) if mb is not None), default=None)
        chosen = choose(done, limit_mb, recipe.budget.latency_ms)
    if chosen is not None:
        document = document | {"chosen": chosen.number}
        save_recipe(applied(recipe, Point(**rows[chosen.number]["point"])), run / FOLDER / BEST)
        write_json(run / FOLDER / "search.json", document)
    write_text(run / FOLDER / "front.svg", search_svg(document))
    write_bytes(run / FOLDER / "front.png", search_png(document))
    return document
