"""What several test files share: a tiny recipe and the runs made of it. Nothing touches the user's own cache."""

import copy
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ganlet.recipe import Recipe, parse_recipe
from support import TINY, Answer, Silent, seeded_inception

# Tiny networks gain nothing from a second thread, and tests run in two processes.
os.environ.setdefault("OMP_NUM_THREADS", "1")

DECENT: dict[str, Any] = copy.deepcopy(TINY)
"""The tiny recipe, trained until its verdict is passed: TINY trains next to nothing, and fails."""
DECENT["teacher"]["train"] |= {"images": 2400, "lr": 4e-3, "lr_critic": 2e-3}
DECENT["distill"]["train"] |= {"lr": 2e-3}


@pytest.fixture(scope="session", autouse=True)
def _own_cache() -> Iterator[None]:
    """Decoded pictures go to a folder of this session; subprocesses inherit it."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("GANLET_CACHE")
        os.environ["GANLET_CACHE"] = folder
        yield
        os.environ.pop("GANLET_CACHE")
        if before is not None:
            os.environ["GANLET_CACHE"] = before


@pytest.fixture(scope="session", autouse=True)
def _no_trials() -> Iterator[None]:
    """ONNX files made by tests are loaded at once: a child process for each would double the time that tests take.

    The tests of `ganlet.device.trial` run it for real, as do the commands that tests start as processes of their own.
    """
    from ganlet.device import trial

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trial, "_ask", lambda path, command: ("", False))
        yield


@pytest.fixture
def tiny_tables() -> dict[str, Any]:
    """The tiny recipe's tables, to be changed at will."""
    return copy.deepcopy(TINY)


@pytest.fixture
def tiny(tiny_tables: dict[str, Any]) -> Recipe:
    return parse_recipe(tiny_tables)


@pytest.fixture
def make_recipe(tiny_tables: dict[str, Any]) -> Callable[..., Recipe]:
    """Build the tiny recipe with `**{"teacher.train.lr": 1.0}` set; None removes a key."""

    def make(**changes: Any) -> Recipe:
        for path, value in changes.items():
            *parents, last = path.split("__")
            table = tiny_tables
            for parent in parents:
                table = table.setdefault(parent, {})
            if value is None:
                table.pop(last, None)
            else:
                table[last] = value
        return parse_recipe(tiny_tables)

    return make


@pytest.fixture(scope="session")
def decent_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small run that passes, for slow tests. Read it; copy it before changing it."""
    from ganlet.commands.run import run_recipe

    folder = tmp_path_factory.mktemp("decent") / "tiny"
    run_recipe(parse_recipe(copy.deepcopy(DECENT)), folder, Silent())
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One tiny run, complete and verified, which fails: it is next to untrained. Copy it before changing it."""
    from ganlet.commands.run import run_recipe

    folder = tmp_path_factory.mktemp("finished") / "tiny"
    run_recipe(parse_recipe(copy.deepcopy(TINY)), folder, Silent())
    return folder


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A weights file of Inception for pytorch-fid and for Ganlet, or a skip where pytorch-fid is not installed."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("pytorch_fid.inception", reason="pytorch-fid or torchvision is not installed")
    path = tmp_path_factory.mktemp("weights") / "seeded.pth"
    torch.save(seeded_inception(), path)
    yield path
    path.unlink()


@pytest.fixture
def ganlet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Answer]:
    """Run a command line in this process: (exit code, stdout, stderr)."""
    from ganlet import cli

    def call(*words: Any) -> Answer:
        monkeypatch.setattr(sys, "argv", ["ganlet", *map(str, words)])
        handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        out, err = capsys.readouterr()
        return code, out, err

    return call
