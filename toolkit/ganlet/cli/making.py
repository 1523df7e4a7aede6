"""Commands that make: a run, one stage of it, a search, a stage of foreign weights."""

import shlex
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


@app.command()
def train(recipe: RecipePath, overrides: Overrides = None, out: Out = None, as_json: Json = False) -> None:
    """Train the teacher of a recipe.

    Example: ganlet train recipes/kittens-quick.toml
    """
    _make_stage("teacher", recipe, overrides, out, as_json)


@app.command()
def transfer(recipe: RecipePath, overrides: Overrides = None, out: Out = None, as_json: Json = False) -> None:
    """Train another run's GAN on with its deep layers frozen.

    Example: ganlet transfer recipes/kittens-to-monsters.toml
    """
    _make_stage("transfer", recipe, overrides, out, as_json)


@app.command()
def distill(recipe: RecipePath, overrides: Overrides = None, out: Out = None, as_json: Json = False) -> None:
    """Distil the teacher into the recipe's student.

    Example: ganlet distill recipes/kittens-quick.toml
    """
    _make_stage("student", recipe, overrides, out, as_json)


@app.command()
def prune(recipe: RecipePath, overrides: Overrides = None, out: Out = None, as_json: Json = False) -> None:
    """Take channels out of the last generator of a recipe, by its \\[\\[compress]] section.

    Example: ganlet prune recipes/kittens-pruned.toml
    """
    _make_stage("pruned", recipe, overrides, out, as_json)


@app.command()
def quantize(recipe: RecipePath, overrides: Overrides = None, out: Out = None, as_json: Json = False) -> None:
    """Measure the last generator of a recipe in int8, by its \\[\\[compress]] section.

    Where int8 is too far from fp32 and the section has a tune table, it is trained on as its int8 file draws.

    Example: ganlet quantize recipes/kittens-pruned.toml
    """
    _make_stage("quantized", recipe, overrides, out, as_json)


def _make_stage(name: str, recipe: Path, overrides: list[str] | None, out: Path | None, as_json: bool) -> None:
    """Make one stage of a recipe and print where it is. Raises GanletError where the recipe does not ask for it."""
    from ganlet.artifact import STAGE_KINDS
    from ganlet.commands.open_run import OpenRun
    from ganlet.commands.run import make_stage

    parsed, kind = recipe_of(recipe, overrides), STAGE_KINDS[name]
    if not parsed.asks_for(kind):
        raise GanletError(f"{recipe} has no {kind.asked_by}; add one, or run another stage.")
    with run_folder(parsed, out) as folder:
        opened = OpenRun.open(parsed, folder, observer())
        opened.keep_recipe()
        stage = make_stage(opened, kind)
    _show_freezing(parsed, folder)
    result = {"stage": stage.name, "folder": str(stage.folder), "training": stage.training}
    result |= {"data": opened.pictures.as_json()} | _int8_figures(stage)
    finish(as_json, result, f"{stage.name} is complete: {stage.folder}")


def _int8_figures(stage: "Stage") -> dict[str, Any]:
    """What a quantisation measured; nothing of other stages."""
    measured = stage.config["provenance"].get("int8")
    return {} if measured is None else {"int8": measured}


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
