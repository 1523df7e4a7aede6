"""`freeze_generator = "auto"` on digits: a stop loses nothing, the choice is as if it had been given, and is shown."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from rich.console import Console

from ganlet.artifact import load_stage
from ganlet.commands.freeze import Finder, with_freezing
from ganlet.commands.open_run import OpenRun, open_pictures
from ganlet.commands.preflight import plans_of
from ganlet.commands.run import transfer
from ganlet.compress.freeze import freezable, transfer_plan
from ganlet.errors import Interrupted
from ganlet.files import read_json
from ganlet.memory.forecast import forecast
from ganlet.recipe import Recipe, parse_recipe
from ganlet.report import freezing_table, read_freezing
from ganlet.search.freezing import Freezing
from support import Answer, Silent


@pytest.fixture
def tables(tiny_tables: dict[str, Any], finished_run: Path) -> dict[str, Any]:
    """The finished run's teacher (2 hidden layers a network) learns on, the critic's number of frozen layers open."""
    train = tiny_tables.pop("teacher")["train"] | {"checkpoint_steps": 1}
    del tiny_tables["distill"], tiny_tables["budget"]
    section = {"from": str(finished_run / "teacher"), "freeze_generator": 1, "freeze_critic": "auto"}
    return tiny_tables | {"transfer": section | {"train": train, "auto": {"images": 24, "samples": 50}}}


@pytest.fixture
def recipe(tables: dict[str, Any]) -> Recipe:
    return parse_recipe(tables)


@pytest.mark.slow
def test_stopped_resumed_chosen_and_as_if_given(
    recipe: Recipe, tables: dict[str, Any], ganlet: Callable[..., Answer], tmp_path: Path, monkeypatch: Any
) -> None:
    whole = transfer(OpenRun.open(recipe, tmp_path / "whole", Silent()))
    document = read_freezing(tmp_path / "whole")
    assert [row["critic"] for row in document["candidates"]] == [0, 1, 2]
    chosen = Freezing(**document["chosen"])
    assert whole.training["frozen"] == asdict(chosen)
    assert not list((tmp_path / "whole" / "freezing").glob("*/"))  # the weights of short runs are gone
    for row in document["candidates"]:
        plan = transfer_plan(with_freezing(recipe, Freezing(row["generator"], row["critic"])), pipeline_source(recipe))
        assert row["memory_mib"] == pytest.approx(forecast(plan, "cpu").peak_mib, abs=1e-3)
        low, high = (row["distance"][end] for end in ("low", "high"))
        assert low < row["distance"]["value"] < high

    runs: list[Freezing] = []
    train = OpenRun.train

    def stops(place: OpenRun, plan: Any, *rest: Any) -> Any:
        if place.run != tmp_path / "cut":
            runs.append(Freezing(plan.freeze_generator, plan.freeze_critic))
            if len(runs) == 2:
                step = plan.step
                plan = replace(plan, step=lambda state, *more: _stop() if state.step == 2 else step(state, *more))
        return train(place, plan, *rest)

    monkeypatch.setattr(OpenRun, "train", stops)
    with pytest.raises(Interrupted):
        transfer(OpenRun.open(recipe, tmp_path / "cut", Silent()))
    resumed = transfer(OpenRun.open(recipe, tmp_path / "cut", Silent()))
    assert len(runs) == 4 and runs[1] == runs[2] and len(set(runs)) == 3  # only the one that was cut off ran again
    assert read_freezing(tmp_path / "cut") == document
    assert resumed.config["files"] == whole.config["files"] and resumed.key == whole.key

    kept = tmp_path / "cut" / "transfer" / "freezing.json"
    first = next((tmp_path / "cut" / "freezing").glob("*.json"))
    kept.write_text(json.dumps({"key": document["key"], "why": "a key was lost"}))
    first.write_text(json.dumps({"key": read_json(first)["key"]}))
    observer = Silent()
    mended = transfer(OpenRun.open(recipe, tmp_path / "cut", observer))
    assert [text for text in observer.said if str(kept) in text] and [
        text for text in observer.said if str(first) in text
    ]
    assert read_freezing(tmp_path / "cut") == document and mended.weights_sha256 == whole.weights_sha256
    assert len(runs) == 5 and runs[4] in runs[:4]
    runs.pop()

    tolerant = change(recipe, auto={"tolerance_percent": 1e6})
    transfer(OpenRun.open(tolerant, tmp_path / "cut", Silent()))  # other rules, the same short runs
    assert len(runs) == 4
    least = min(read_freezing(tmp_path / "cut")["candidates"], key=lambda row: row["memory_mib"])
    assert read_freezing(tmp_path / "cut")["chosen"] == {key: least[key] for key in ("generator", "critic")}
    given = transfer(OpenRun.open(with_freezing(recipe, chosen), tmp_path / "given", Silent()))
    assert given.key == whole.key and given.config["files"] == whole.config["files"]

    path = tmp_path / "auto.toml"
    path.write_text(tomli_w.dumps(tables))
    code, out, err = ganlet("transfer", path, "--out", tmp_path / "whole", "--json")
    assert code == 0 and "transfer: complete, skipped" in err and "Frozen layers, after 24 pictures" in out
    assert json.loads(out.splitlines()[-1])["training"]["frozen"] == asdict(chosen)


def _stop() -> Any:
    raise Interrupted("Stopped.")


def pipeline_source(recipe: Recipe) -> Any:
    assert recipe.transfer is not None
    return load_stage(Path(recipe.transfer.source_run))


def change(recipe: Recipe, auto: dict[str, Any] | None = None, **section: Any) -> Recipe:
    assert recipe.transfer is not None
    section |= {} if auto is None else {"auto": recipe.transfer.auto.model_copy(update=auto)}
    return recipe.model_copy(update={"transfer": recipe.transfer.model_copy(update=section)})


def test_the_key_of_a_search_follows_what_it_depends_on(recipe: Recipe, tmp_path: Path) -> None:
    pictures, source = open_pictures(recipe, Silent()), pipeline_source(recipe)

    def finder(of: Recipe) -> Finder:
        return Finder(of, source, tmp_path, pictures, lambda *words: pytest.fail("nothing is to train"), Silent())

    same = change(recipe, source_run="elsewhere")
    assert same.key("data", "transfer") == recipe.key("data", "transfer")
    budget = recipe.model_copy(update={"budget": recipe.budget.model_copy(update={"training_memory_mib": 64.0})})
    others = [change(recipe, auto={"images": 32}), change(recipe, freeze_generator="auto"), budget]
    keys = {finder(other).key for other in [recipe, *others]}
    assert len(keys) == 4
    assert finder(budget).rules.limit_mib == 64.0
    assert finder(change(budget, auto={"memory_mib": 9.0})).rules.limit_mib == 9.0
    assert finder(change(budget, auto={"memory_mib": 90.0})).rules.limit_mib == 64.0  # the smaller one


def test_before_the_search_the_most_frozen_layers_are_planned(recipe: Recipe) -> None:
    """So that nothing is refused that could still be chosen."""
    plan = plans_of(recipe)[-1]
    assert (plan.freeze_generator, plan.freeze_critic) == (1, 2)
    assert recipe.transfer is not None
    assert freezable(recipe.transfer, pipeline_source(recipe)) == ([1], [0, 1, 2])
    both = change(recipe, freeze_generator="auto").transfer
    assert both is not None and freezable(both, pipeline_source(recipe)) == ([0, 1, 2], [0, 1, 2])


def test_the_table_shows_the_least_memory_first_and_survives_what_is_missing() -> None:
    document = {
        "images": 24,
        "samples": 50,
        "why": "because",
        "chosen": {"generator": 1, "critic": 2},
        "candidates": [
            {"generator": 0, "critic": 2, "memory_mib": 9.0, "distance": {"value": 5.0, "low": 4.0, "high": 6.0}},
            {"generator": 1, "critic": 2, "memory_mib": 8.0, "distance": None, "note": "does not fit"},
            {},
        ],
    }
    console = Console(width=160)
    with console.capture() as capture:
        console.print(freezing_table(document))
        console.print(freezing_table({}))
    text = capture.get()
    assert text.index("does not fit *") < text.index("5 (4 to 6)") and "because" in text
