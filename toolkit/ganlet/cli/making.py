"""Commands that make: a run, one stage of it, a search, a stage of foreign weights."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganlet.cli.app import (
    Json,
    Out,
    Overrides,
    RecipePath,
    app,
    finish,
    observer,
    print_tables,
    recipe_of,
    run_folder,
    show_verdict,
)
from ganlet.errors import GanletError

if TYPE_CHECKING:
    from ganlet.artifact import Stage
    from ganlet.commands.open_run import OpenRun
    from ganlet.recipe import Recipe


@app.command()
def run(recipe: RecipePath, overrides: Overrides = None, out: Out = None, as_json: Json = False) -> None:
    """Do everything a recipe asks for; the same command again resumes.

    Example: ganlet run recipes/kittens-quick.toml --set distill.train.batch=16
    """
    from ganlet.commands.run import run_recipe

    parsed = recipe_of(recipe, overrides)
    command = shlex.join(["ganlet", "run", str(recipe), *(f"--set={o}" for o in overrides or [])])
    with run_folder(parsed, out) as folder:
        report = run_recipe(parsed, folder, observer(), command)
    _show_freezing(parsed, folder)
    show_verdict(report, folder, as_json)


def _show_freezing(recipe: Any, folder: Path) -> None:
    """The table of the search for frozen layers, where the recipe asks for one and it is done."""
    from ganlet.report import freezing_table, read_freezing

    found = read_freezing(folder)
    if found and recipe.transfer is not None and recipe.transfer.is_searched:
        print_tables(freezing_table(found))


def _one_step(method: str) -> Callable[..., None]:
    """One step of [[compress]]."""

    def make(place: "OpenRun") -> "Stage":
        from ganlet.commands.run import METHODS

        return METHODS[method](place)

    return _one(make, lambda recipe: recipe.step(method) is not None, f'[[compress]] section with method = "{method}"')


def _one_stage(section: str) -> Callable[..., None]:
    """What a section asks for."""

    def make(place: "OpenRun") -> "Stage":
        from ganlet.commands.run import STEPS

        return STEPS[section](place)

    return _one(make, lambda recipe: bool(getattr(recipe, section)), f"[{section}] section")


def _one(make: Callable[["OpenRun"], "Stage"], has: Callable[["Recipe"], bool], what: str) -> Callable[..., None]:
    def command(recipe: RecipePath, overrides: Overrides = None, out: Out = None, as_json: Json = False) -> None:
        from ganlet.commands.open_run import OpenRun

        parsed = recipe_of(recipe, overrides)
        if not has(parsed):
            raise GanletError(f"{recipe} has no {what}; add one, or run another stage.")
        with run_folder(parsed, out) as folder:
            place = OpenRun.open(parsed, folder, observer())
            place.keep_recipe()
            stage = make(place)
        _show_freezing(parsed, folder)
        result = {"stage": stage.name, "folder": str(stage.folder), "training": stage.training}
        result["data"] = place.pictures.as_json()
        finish(as_json, result | _measured(stage), f"{stage.name} is complete: {stage.folder}")

    return command


def _measured(stage: "Stage") -> dict[str, Any]:
    """What a quantisation measured."""
    found = stage.config["provenance"].get("int8")
    return {} if found is None else {"int8": found}


_HELP = {
    "teacher": ("train", "Train the teacher of a recipe.", "ganlet train recipes/kittens-quick.toml"),
    "transfer": (
        "transfer",
        "Train another run's GAN on with its deep layers frozen.",
        "ganlet transfer recipes/kittens-to-monsters.toml",
    ),
    "distill": (
        "distill",
        "Distil the teacher into the recipe's student.",
        "ganlet distill recipes/kittens-quick.toml",
    ),
}
_STEPS = {
    "prune": "Take channels out of the last generator of a recipe, by its \\[\\[compress]] section.",
    "quantize": (
        "Measure the last generator of a recipe in int8, and train it on as its int8 file draws where that is too far "
        "off, by its \\[\\[compress]] section."
    ),
}
for _section, (_verb, _what, _example) in _HELP.items():
    app.command(_verb, help=f"{_what}\n\nExample: {_example}")(_one_stage(_section))
for _method, _what in _STEPS.items():
    app.command(_method, help=f"{_what}\n\nExample: ganlet {_method} recipes/kittens-pruned.toml")(_one_step(_method))


@app.command()
def search(
    recipe: RecipePath,
    overrides: Overrides = None,
    out: Out = None,
    storage: Annotated[
        str | None, typer.Option("--storage", metavar="URL", help="Optuna storage; a file in the run unless told.")
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", help="Students tried in all.")] = None,
    target_mb: Annotated[float | None, typer.Option("--target-mb", help="Choose the best up to this size.")] = None,
    pick: Annotated[int | None, typer.Option("--pick", metavar="TRIAL", help="Choose this trial instead.")] = None,
    as_json: Json = False,
) -> None:
    """Try students around a recipe's own, by its \\[search] section: size, distance and latency at once.

    Each trial trains for a short time and is stopped where others are ahead. The same command goes on after a stop;
    with more --trials it goes further; started twice (or elsewhere, with one --storage) it shares the trials. The
    recipe of the chosen one is written to RUN/search/best.toml.

    Example: ganlet search recipes/kittens-search.toml --target-mb 0.5
    """
    from ganlet.commands.search import BEST, FOLDER, search_recipe
    from ganlet.report import search_table

    given = [*(overrides or []), *([f"search.trials={trials}"] if trials is not None else [])]
    parsed = recipe_of(recipe, given)
    folder = out or Path("exported") / parsed.run.name
    found = search_recipe(parsed, folder, observer(), storage=storage, target_mb=target_mb, pick=pick)
    print_tables(search_table(found))
    best = shlex.join(["ganlet", "run", str(folder / FOLDER / BEST), "--out", str(folder)])
    told = f"trial {found['chosen']} is chosen: {best}" if found["chosen"] is not None else "no trial ran to its end"
    finish(as_json, found, f"{told} ({folder / FOLDER / 'front.svg'})")


@app.command("import")
def import_weights(
    weights: Annotated[
        Path, typer.Argument(help="State dict of a generator: .pt or .safetensors.", show_default=False)
    ],
    like: Annotated[Path, typer.Option("--like", metavar="RECIPE", help="Recipe whose network the weights are of.")],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder of the run to make.")],
    stage: Annotated[str, typer.Option("--stage", help="teacher or student.")] = "teacher",
    critic: Annotated[Path | None, typer.Option("--critic", help="State dict of its critic.")] = None,
    as_json: Json = False,
) -> None:
    """Make a run of foreign weights, ready for export, distill and sample.

    Example: ganlet import generator.pt --like recipes/basework-teacher.toml --stage teacher --out exported/mine
    """
    from ganlet.commands.preflight import require_training_packages

    require_training_packages()
    from ganlet.commands.import_weights import import_stage

    made = import_stage(weights, recipe_of(like, None), stage, out, critic, observer().say)
    result = {"stage": made.name, "folder": str(made.folder), "made_from": made.config["provenance"]["made_from"]}
    finish(as_json, result, f"{made.name} imported: {made.folder}")
