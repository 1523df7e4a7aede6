"""The command line: one command a verb; each parses, calls one function and prints one result."""

import json
import sys
import traceback
from typing import Annotated

import typer

from ganlet import __version__
from ganlet.cli.app import EXIT_ERROR, EXIT_FAILED, EXIT_INTERRUPTED, app
from ganlet.cli.streams import lost_output, prepare_streams, refuse_pipes
from ganlet.cli.third_parties import third_parties_silenced
from ganlet.cli.unforeseen import unforeseen
from ganlet.errors import GanletError, Interrupted
from ganlet.files import os_reason
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
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks, and warnings of other packages.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Train a GAN, make its generator small, and prove that it is still good."""


def main() -> None:
    """Entry point: run a command and exit with its code.

    0: done. 1: a failed or undecided verdict, and nothing else. 2: a fault, in one sentence on standard error.
    130: stopped.
    """
    prepare_streams()
    install()
    with third_parties_silenced(debug="--debug" in sys.argv[1:]):
        code = _run_command()
    if (error := lost_output()) is not None:
        reason = f"Cannot write to standard output: {os_reason(error)}"
        code = tell(f"{reason}; the command itself ended with exit code {code}.", EXIT_ERROR)
    sys.exit(code)


def _run_command() -> int:
    """The exit code of the command of this process's arguments. Faults are reported on standard error."""
    try:
        refuse_pipes(sys.argv[1:])
        app(standalone_mode=True, prog_name="ganlet")
    except SystemExit as stop:
        return _exit_code_of(stop)
    except Interrupted as stop:
        return tell(str(stop), EXIT_INTERRUPTED)
    except KeyboardInterrupt:
        return tell(STOPPED, EXIT_INTERRUPTED)
    except GanletError as error:
        _show_traceback()
        return tell(str(error), EXIT_ERROR)
    except Exception as error:
        _show_traceback()
        return tell(unforeseen(error), EXIT_ERROR)
    return 0


STOPPED = "Stopped; run the same command again to continue from what is complete."


def _exit_code_of(stop: SystemExit) -> int:
    """What typer's exit means here. It exits with 1 where a pipe has no reader or input ended: that is no verdict."""
    if stop.code == EXIT_INTERRUPTED:  # what typer makes of KeyboardInterrupt, without a word
        return tell(STOPPED, EXIT_INTERRUPTED)
    cause = stop.__context__
    if (message := getattr(cause, "format_message", None)) is not None:  # a command line that typer refused
        print_json_error(message())
    if isinstance(stop.code, str):
        return tell(stop.code, EXIT_ERROR)
    if stop.code == EXIT_FAILED and isinstance(cause, OSError):
        return tell(unforeseen(cause), EXIT_ERROR)
    if stop.code == EXIT_FAILED and isinstance(cause, typer.Abort):
        return tell("Standard input ended before an answer; give the answer as an option.", EXIT_ERROR)
    return int(stop.code or 0)


def tell(sentence: str, code: int) -> int:
    """Print `sentence` on standard error, with --json the same in an object on standard output. Returns `code`."""
    print(f"ganlet: {sentence}", file=sys.stderr)
    print_json_error(sentence)
    return code


def _show_traceback() -> None:
    if "--debug" in sys.argv[1:]:
        traceback.print_exc()


def print_json_error(sentence: str) -> None:
    """With --json {"error": sentence} as the last line on standard output, unless that is for the bytes of pictures."""
    if "--json" in sys.argv[1:] and "--raw" not in sys.argv[1:]:
        print(json.dumps({"error": sentence}))
