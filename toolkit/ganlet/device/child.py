"""How this package starts a Python of its own: for what may crash, or leaves something behind in a process."""

import os
import sys
from pathlib import Path

_SOURCE_ROOT = Path(__file__).resolve().parents[2]


def module_command(module: str, *words: str) -> list[str]:
    """The command that runs a module of ganlet in this Python; -P: the current folder lends it no modules."""
    return [sys.executable, "-P", "-m", module, *words]


def module_environment() -> dict[str, str]:
    """This process's environment, in which the child finds the same ganlet, even one that is not installed."""
    if _SOURCE_ROOT.name in ("site-packages", "dist-packages"):
        return dict(os.environ)
    paths = [str(_SOURCE_ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
