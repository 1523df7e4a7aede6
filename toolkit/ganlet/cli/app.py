"""What every command shares: the application, usual options, and how a result is told."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganlet.errors import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

# torch's profiler, which measures memory, writes notes to the terminal unless told otherwise before torch is imported.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
# Threads that wait for each other by spinning starve each other on a busy machine: beside one other program 200 steps
# minutes instead of 14 s. Spinning less before sleeping took 58 s there; on an idle machine it costs up to a tenth.
os.environ.setdefault("GOMP_SPINCOUNT", "10000")

MOST_COLUMNS = 1000  # of a table in a pipe

EXIT_FAILED, EXIT_ERROR, EXIT_INTERRUPTED = 1, 2, 130

app = typer.Typer(
    name="ganlet",
    help=__import__("ganlet").__doc__,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

RecipePath = Annotated[Path, typer.Argument(help="Recipe, a TOML file.", show_default=False)]
RunPath = Annotated[Path, typer.Argument(help="Folder of a run, such as exported/kittens-quick.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the recipe.")
]
Out = Annotated[
    Path | None, typer.Option("--out", "--run", metavar="DIR", help="Folder of the run; exported/NAME unless told.")
]
Json = Annotated[bool, typer.Option("--json", help="End with one line of JSON on standard output.")]


def observer() -> Any:
    from ganlet.ui import Terminal

    return Terminal()


def recipe_of(path: Path, overrides: list[str] | None) -> Any:
    from ganlet.recipe import load_recipe

    return load_recipe(path, overrides or [])


@contextmanager
def run_folder(recipe: Any, out: Path | None) -> Iterator[Path]:
    """The folder of a recipe's run, which nothing else may make stages in meanwhile."""
    from ganlet.files import claimed

    folder = out or Path("exported") / recipe.run.name
    with claimed(folder):
        yield folder


def finish(as_json: bool, result: dict[str, Any], *lines: str) -> None:
    """The one result of a command: a line or several, and with --json one object as the last line."""
    for line in filter(None, lines):
        print(printable(line))
    if as_json:
        print(json.dumps(result, allow_nan=False))


def print_tables(*tables: "RenderableType") -> None:
    """Print tables with every figure whole.

    In a pipe each is as wide as its content, whatever COLUMNS says. On a terminal text is wrapped to its width, and a
    table whose figures need more is wider than the terminal.
    """
    from rich.console import Console
    from rich.measure import Measurement

    terminal = Console()
    wide = Console(width=MOST_COLUMNS)
    for table in tables:
        need = Measurement.get(wide, wide.options, table)
        Console(width=max(terminal.width, need.minimum) if terminal.is_terminal else need.maximum).print(table)


def show_verdict(report: dict[str, Any], run: Path, as_json: bool) -> None:
    from ganlet.report import artifacts_table, checks_table, closing_words, opening_lines, summary_table

    for line in opening_lines(report):
        print(printable(line))
    print_tables(summary_table(report), artifacts_table(report), checks_table(report))
    finish(as_json, report, f"{closing_words(report)} ({run / 'report.json'})")
    if report["verdict"] != "passed":
        raise typer.Exit(EXIT_FAILED)
