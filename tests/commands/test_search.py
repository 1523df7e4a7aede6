"""`ganlet search` on digits: a stop loses nothing, the choice, its recipe, and what is drawn of it."""

import io
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from ganlet.artifact import load_stage
from ganlet.commands import search
from ganlet.commands.open_run import OpenRun, open_pictures
from ganlet.errors import GanletError, Interrupted
from ganlet.files import claimed
from ganlet.recipe import Recipe, load_recipe, parse_recipe, save_recipe
from ganlet.report import search_png, search_svg, search_table
from ganlet.search import Point, front_numbers
from support import Answer, Silent, expect_refused

optuna = pytest.importorskip("optuna")


@pytest.fixture
def recipe(tiny_tables: dict[str, Any], finished_run: Path) -> Recipe:
    """Students of the finished run's teacher (widths 12, 6), 3 and 6 steps each."""
    del tiny_tables["teacher"], tiny_tables["budget"]
    tiny_tables["distill"]["from"] = str(finished_run / "teacher")
    rules = {"trials": 3, "images": 48, "rungs": 2, "reduction": 2, "samples": 50, "widths": [0.4, 2.0], "round_to": 2}
    return parse_recipe(tiny_tables | {"search": rules})


@pytest.mark.slow
def test_a_search_stopped_resumed_and_chosen_from(
    recipe: Recipe, ganlet: Callable[..., Answer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, path, runs = tmp_path / "run", tmp_path / "search.toml", []
    save_recipe(recipe, path)
    distill = search.distill

    def stops_at_the_third(place: Any) -> Any:
        runs.append(place.run.relative_to(run))
        if len(runs) == 3:
            raise Interrupted("Stopped.")
        return distill(place)

    monkeypatch.setattr(search, "distill", stops_at_the_third)
    code, _, err = ganlet("search", path, "--out", run)
    assert code == 130 and "Stopped." in err and (run / "search" / "search.json").is_file()
    code, out, err = ganlet("search", path, "--out", run, "--json")
    found = json.loads(out.splitlines()[-1])
    assert code == 0, err
    assert [row["state"] for row in found["trials"]].count("complete") >= 1 and len(found["trials"]) == 3
    assert len(set(runs)) == len(runs) - 1 == sum(len(row["distances"]) for row in found["trials"])  # one went on
    done = [row for row in found["trials"] if row["state"] == "complete"]
    numbers = front_numbers([(row["model_mb"], row["distance"], row["latency_ms"]) for row in done])
    assert [row["front"] for row in done] == [number == 0 for number in numbers]
    best = min(done, key=lambda row: row["distance"])
    chosen = load_recipe(run / "search" / "best.toml")
    assert found["chosen"] == best["number"] and chosen.search is None and chosen.teacher is None
    assert chosen.distill is not None and list(chosen.distill.widths) == best["point"]["widths"]
    assert chosen.distill.train.images == 240 and f"{run / 'search' / 'best.toml'} --out {run}" in out
    assert Image.open(run / "search" / "front.png").width > 300 and "Front of 3 trials" in out
    smallest = min(done, key=lambda row: row["model_mb"])
    code, out, _ = ganlet("search", path, "--out", run, "--pick", smallest["number"], "--json")
    again = json.loads(out.splitlines()[-1])
    assert code == 0 and again["chosen"] == smallest["number"] and again["trials"] == found["trials"]
    expect_small = ganlet("search", path, "--out", run, "--target-mb", "0.001")
    assert expect_small[0] == 2 and "at most 0.001 MB: the smallest takes" in expect_small[2]
    assert (run / "search" / "best.toml").is_file() and len(runs) == len(set(runs)) + 1
    study, distance = run / "search" / "study.sqlite3", next((run / "search" / "trials").rglob("distance.json"))
    study.write_bytes(b"x" + study.read_bytes()[1:])
    distance.write_text("[]")
    code, out, err = ganlet("search", path, "--out", run, "--json")
    assert code == 0 and "was put aside as study.damaged1.sqlite3" in err and f"{distance} is damaged" in err
    redone = json.loads(out.splitlines()[-1])["trials"]
    assert [row["distances"] for row in redone] == [row["distances"] for row in found["trials"] if row["distances"]]


def test_a_search_needs_its_section_and_a_student(
    recipe: Recipe, ganlet: Callable[..., Answer], tmp_path: Path
) -> None:
    save_recipe(recipe, tmp_path / "a.toml")
    expect_refused(ganlet("search", tmp_path / "a.toml", "--set", "search=off"), "no [search] section; add one")
    expect_refused(ganlet("search", tmp_path / "a.toml", "--set", "distill=off"), "add [distill]")
    expect_refused(ganlet("search", tmp_path / "a.toml", "--set", "search.lr=[1e-2, 1e-3]"), "must not be above")
    storage = ("--storage", "nosuchdb://user:secret@host/db", "--out", tmp_path / "run")
    answer = ganlet("search", tmp_path / "a.toml", *storage)
    assert answer[0] == 2 and "nosuchdb" in answer[2] and "secret" not in answer[2]


def test_trials_of_another_teacher_are_another_search(recipe: Recipe, finished_run: Path, tmp_path: Path) -> None:
    place = OpenRun(recipe, tmp_path, open_pictures(recipe, Silent()), Silent())
    sources = [load_stage(finished_run / name) for name in ("teacher", "student", "teacher")]
    names = [search.study_name(recipe, place, source) for source in sources]
    assert names[0] == names[2] != names[1]


def test_of_two_searches_that_begin_together_one_makes_the_teacher_and_the_other_takes_it(
    tiny_tables: dict[str, Any], finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, seen = parse_recipe(tiny_tables), Silent()
    place = OpenRun(recipe, tmp_path / "run", open_pictures(recipe, Silent()), seen)
    with ExitStack() as first:
        first.enter_context(claimed(place.run))

        def first_is_done(seconds: float) -> None:
            shutil.copytree(finished_run / "teacher", place.run / "teacher")
            first.close()

        monkeypatch.setattr(search.time, "sleep", first_is_done)
        (made,) = search._made(place, ["teacher"])
    assert made.weights_sha256 == load_stage(finished_run / "teacher").weights_sha256
    assert "another ganlet works in" in seen.said[0] and seen.said[1:] == ["teacher: complete, skipped"]


def test_the_cost_of_a_point_is_that_of_its_network(recipe: Recipe, finished_run: Path, tmp_path: Path) -> None:
    point, costs = Point((6, 4), 0.1, 1e-3, 1.0, "l1", "random"), []
    source = load_stage(finished_run / "teacher")
    for block in ("transposed", "separable"):
        assert recipe.distill is not None
        changed = recipe.model_copy(update={"distill": recipe.distill.model_copy(update={"block": block})})
        place = OpenRun(changed, tmp_path, open_pictures(changed, Silent()), Silent())
        costs.append(search.Proxy(place, source).cost(point)[0])
    assert costs[0] != costs[1]


def test_a_missing_optuna_is_told_before_the_pictures_are_read(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(GanletError, match=r'needs optuna, not installed here; run `pip install "ganlet\[search\]"'):
        search.search_recipe(recipe, tmp_path / "run", observer := Silent())
    assert not observer.said and not (tmp_path / "run").exists()


def test_no_way_to_start_is_told_before_any_trial(recipe: Recipe) -> None:
    assert recipe.distill is not None and recipe.search is not None
    changed = recipe.model_copy(
        update={
            "distill": recipe.distill.model_copy(update={"norm": "instance"}),
            "search": recipe.search.model_copy(update={"init": ("teacher",)}),
        }
    )
    source = load_stage(Path(str(recipe.distill.teacher_run)))
    assert changed.search is not None
    with pytest.raises(GanletError, match=r'search.init = \["teacher"\] is not possible: .*norm'):
        search.asker(changed, changed.search, source)


def trial(number: int, model_mb: float, distance: float, state: str = "complete", front: bool = True) -> dict[str, Any]:
    point = {"widths": [8, 4], "alpha": 0.1, "lr": 1e-3, "features": 2.0, "pixel": "l1", "init": "teacher"}
    values = {"model_mb": model_mb, "distance": distance, "latency_ms": 1.5, "front": front}
    return {"number": number, "state": state, "point": point} | values


def test_table_and_picture_of_a_search() -> None:
    trials = [
        trial(0, 0.5, 90.0),
        trial(1, 0.2, 150.0),
        trial(2, 0.6, 95.0, front=False),
        trial(3, 0.4, 300.0, "stopped"),
    ]
    document = {"features": "lite0", "samples": 1000, "trials": trials, "chosen": 1}
    console = Console(width=140, file=io.StringIO())
    console.print(search_table(document))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "Front of 4 trials (3 complete, 1 stopped)" in text and "* chosen" in text
    lines = [line.split() for line in text.splitlines() if "8-4" in line]
    assert [line[1] for line in lines] == ["1", "0"] and "95" not in text  # the smallest first, none that is beaten
    svg = search_svg(document)
    assert svg == search_svg(document) and "generator.onnx, MB" in svg and svg.count("<use") >= 3
    assert Image.open(io.BytesIO(search_png(document))).format == "PNG"


@pytest.mark.parametrize("document", [{}, {"trials": [{"number": 1, "state": "running"}], "chosen": None}])
def test_a_search_without_results_is_drawn_as_well(document: dict[str, Any]) -> None:
    assert search_table(document).row_count == 0 and "<svg" in search_svg(document) and search_png(document)
