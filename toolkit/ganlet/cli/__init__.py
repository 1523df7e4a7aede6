"""The command line: one command a verb; each parses, calls one function and prints one result."""

import io
import json
import sys
from typing import Annotated, NoReturn

import typer

from ganlet import __version__
from ganlet.cli.app import EXIT_ERROR, EXIT_INTERRUPTED, app
from ganlet.errors import GanletError, Interrupted
from ganlet.training.interrupt import install

# isort: split
# In the order in which `ganlet --help` lists their commands.
from ganlet.cli import making

# isort: split
from ganlet.cli import shipping

# isort: split
from ganlet.cli import looking

__all__ = ["app", "looking", "main", "making", "shipping"]


def _version(shown: bool) -> None:
    if shown:
        print(f"ganlet {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train a GAN, make its generator small, and prove that it is still good."""


def main() -> None:
    """Entry point: run a command; a fault becomes one sentence on stderr and exit code 2, a stop exit code 130."""
    install()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # the name of a file need not be text, and is told all the same
            stream.reconfigure(errors="backslashreplace")
    debug = "--debug" in sys.argv[1:]
    try:
        app(standalone_mode=True, prog_name="ganlet")
    except Interrupted as stop:
        fail(str(stop), EXIT_INTERRUPTED)
    except SystemExit as stop:
        if stop.code == EXIT_INTERRUPTED:  # what typer makes of KeyboardInterrupt, without a word
            fail("Stopped; run the same command again to continue from what is complete.", EXIT_INTERRUPTED)
        if (message := getattr(stop.__context__, "format_message", None)) is not None:  # a command line typer refused
            print_json_error(message())
        raise
    except GanletError as error:
        if debug:
            print_json_error(str(error))
            raise
        fail(str(error), EXIT_ERROR)


def fail(sentence: str, code: int) -> NoReturn:
    """End the command: `sentence` on standard error, with --json the same in an object on standard output."""
    print(f"ganlet: {sentence}", file=sys.stderr)
    print_json_error(sentence)
    sys.exit(code)


def print_json_error(sentence: str) -> None:
    """With --json {"error": sentence} as the last line on standard output, unless that is for the bytes of pictures."""
    if "--json" in sys.argv[1:] and "--raw" not in sys.argv[1:]:
        print(json.dumps({"error": sentence}))
