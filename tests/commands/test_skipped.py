"""A run with nothing to do: what it leaves out, and what still makes it look again."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ganlet.commands.run import run_recipe
from ganlet.errors import GanletError
from ganlet.memory import forecast, guard
from ganlet.recipe import Recipe
from ganlet.report import page, write_report
from support import Silent


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of what was forecast and drawn."""
    done: list[str] = []
    forecast_of, render = forecast.forecast, page.render

    def count(plan: Any, *rest: Any) -> Any:
        done.append(plan.stage)
        return forecast_of(plan, *rest)

    def draw(*words: Any) -> str:
        done.append("page")
        return render(*words)

    monkeypatch.setattr(guard, "forecast", count)
    monkeypatch.setattr(page, "render", draw)
    return done


def test_nothing_is_forecast_nor_drawn_where_nothing_has_changed(run: Path, tiny: Recipe, counted: list[str]) -> None:
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    seen = Silent()
    run_recipe(tiny, run, seen)
    assert counted == []
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before
    assert sum("skipped" in text for text in seen.said) == 4  # two stages, generator.onnx and the report


def test_a_run_with_nothing_to_do_loads_nothing_that_draws(run: Path, tiny: Recipe) -> None:
    code = (
        "import sys; from pathlib import Path; from ganlet.commands.run import run_recipe; from ganlet.recipe import "
        "load_recipe; sys.path.insert(0, sys.argv[2]); from support import Silent; run = Path(sys.argv[1]); "
        "run_recipe(load_recipe(run / 'recipe.toml'), run, Silent()); "
        "print(sorted({'matplotlib', 'sklearn', 'jinja2', 'onnxscript', 'torch._dynamo'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run), str(Path(__file__).parents[1])],
        capture_output=True,
        text=True,
        check=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_another_limit_is_looked_at_again(run: Path, make_recipe: Callable[..., Recipe], counted: list[str]) -> None:
    with pytest.raises(GanletError, match="teacher alone"):
        run_recipe(make_recipe(budget__training_memory_mib=0.01), run, Silent())
    assert counted == ["teacher"]


def test_a_stage_that_other_pictures_make_anew_is_looked_at_before_it_is_moved(
    run: Path, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe is the same and its stages are there, so that only the pictures tell."""
    from ganlet.commands import open_run

    opened = open_run.load_pictures
    monkeypatch.setattr(
        open_run, "load_pictures", lambda *words, **more: opened(*words, **{**more, "seed": more["seed"] + 1})
    )

    def refuse(plans: Any, device: str, budget_mib: float | None) -> None:
        if plans:
            raise GanletError(f"{plans[0].stage} does not fit.")

    monkeypatch.setattr(guard, "require_memory", refuse)
    with pytest.raises(GanletError, match="teacher does not fit"):
        run_recipe(tiny, run, Silent())
    assert not (run / "teacher.previous").exists()


@pytest.mark.parametrize("name", ["report.json", "samples/data.png", "teacher/metrics.jsonl", "recipe.toml"])
def test_the_page_is_drawn_again_where_something_that_it_shows_is_newer(
    run: Path, counted: list[str], name: str
) -> None:
    write_report(run, if_outdated=True)
    assert counted == []
    (run / name).write_bytes((run / name).read_bytes())
    write_report(run, if_outdated=True)
    assert counted == ["page"]
