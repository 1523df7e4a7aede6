"""Verification measures what is new: figures that were kept are those of measuring anew, to the bit."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ganlet.artifact import load_stage
from ganlet.commands.export import ExportOptions, export_source
from ganlet.commands.open_run import open_pictures
from ganlet.recipe import Recipe, load_recipe
from ganlet.verify import store as store_module
from ganlet.verify.store import Forecast, MeasurementStore
from ganlet.verify.verdict import verify_run
from support import Silent

TIMES = {"latency_ms", "peak_memory_mib", "verification", "key"}


def without_times(value: Any) -> Any:
    """A report without what is measured by the clock; checks and budgets of time and memory by their names."""
    if isinstance(value, dict):
        return {key: without_times(part) for key, part in value.items() if key not in TIMES}
    if isinstance(value, list):
        timed = ("latency", "inference memory")
        rows = [row for row in value if not (isinstance(row, dict) and row.get("name") in timed)]
        return [without_times(part) for part in rows]
    return value


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


def verified(run: Path, recipe: Recipe, store: MeasurementStore) -> tuple[dict[str, Any], list[str]]:
    said: list[str] = []
    pictures = open_pictures(recipe, Silent())
    report = verify_run(run, recipe, pictures, lambda done, total: None, say=said.append, store=store)
    return json.loads(json.dumps(report)), said


@pytest.mark.slow
def test_an_artifact_that_is_added_is_measured_alone_and_the_report_is_the_same(run: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    plain = load_recipe(run / "recipe.toml")
    first, said = verified(run, plain, MeasurementStore(store))
    assert first["verification"]["pictures_measured"] >= 3 * plain.verify.samples  # the data, teacher and student
    assert any("pictures to draw and measure, roughly" in text for text in said)

    export_source(run, "onnx", ExportOptions(precision="fp16"), Silent())
    recipe = load_recipe(run / "recipe.toml", ['export.targets=["onnx", "onnx-fp16"]'])
    added, said = verified(run, recipe, MeasurementStore(store))
    assert added["verification"]["pictures_measured"] <= plain.verify.samples  # of the added file alone
    assert added["verification"]["pictures_reused"] > 0
    assert any("are known from before" in text for text in said)

    scratch, _ = verified(run, recipe, MeasurementStore())
    assert scratch["verification"]["pictures_reused"] == 0
    assert without_times(added) == without_times(scratch)
    assert [row["path"] for row in added["artifacts"]] == ["generator.onnx", "generator.fp16.onnx"]
    assert added["artifacts"][0]["latency_ms"] == first["artifacts"][0]["latency_ms"]
    assert added["verification"]["seconds"] > 0

    once_more, said = verified(run, recipe, MeasurementStore(store))
    assert once_more["verification"]["pictures_measured"] == 0 and said == []
    assert without_times(once_more) == without_times(scratch)


def test_another_network_is_not_taken_for_the_one_before(run: Path, tmp_path: Path) -> None:
    stage = load_stage(run / "student")
    drawn = [{"file": stage.weights_sha256, "seed": 0}, {"file": "0" * 64, "seed": 0}, {"file": "0" * 64, "seed": 1}]
    store = MeasurementStore(tmp_path)
    for number, identity in enumerate(drawn):
        chunk = np.full((4, 1, 2, 2), number, np.uint8)
        list(store.pictures(lambda chunk=chunk: [chunk], 4, **identity))
    for number, identity in enumerate(drawn):
        (found,) = store.pictures(lambda: [], 4, **identity)
        assert (found == number).all()
    assert not store.has(file="0" * 64, seed=0, samples=5)
    assert not MeasurementStore(tmp_path, {"cores": 96}).has(file="0" * 64, seed=0, samples=4)


def chunks() -> Iterator[NDArray[np.uint8]]:
    generator = np.random.default_rng(0)
    for count in (3, 3, 2):
        yield generator.integers(0, 255, (count, 1, 4, 4), dtype=np.uint8)


@pytest.mark.parametrize("damage", ["cut", "flipped", "note", "gone"])
def test_what_is_damaged_is_drawn_again(tmp_path: Path, damage: str) -> None:
    store = MeasurementStore(tmp_path)
    first = list(store.pictures(chunks, 8, file="a"))
    assert [len(chunk) for chunk in store.pictures(lambda: [], 8, file="a")] == [3, 3, 2]
    (content,) = tmp_path.glob("*.npy")
    (note,) = tmp_path.glob("*.json")
    if damage == "note":
        note.write_text("[]")
    elif damage == "gone":
        note.unlink()
    else:
        data = bytearray(content.read_bytes())
        data[-1] ^= 255
        content.write_bytes(bytes(data[:-1] if damage == "cut" else data))
    again = list(store.pictures(chunks, 8, file="a"))
    assert all((a == b).all() for a, b in zip(first, again, strict=True)) and len(again) == 3


def test_what_was_not_drawn_to_its_end_is_not_kept(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path)
    next(store.pictures(chunks, 8, file="a"))
    assert len(list(store.pictures(lambda: list(chunks())[:1], 8, file="b"))) == 1  # fewer than were asked for
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    store = MeasurementStore(tmp_path / "gone")
    assert len(list(store.pictures(chunks, 8, file="a"))) == 3
    assert store.value(lambda: {"a": 1}, file="x") == {"a": 1}


def test_the_store_holds_what_was_used_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = MeasurementStore(tmp_path)
    for number, name in enumerate("abc"):
        store.value(lambda name=name: {"name": name * 100}, file=name)
        newest = max(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (number, number))
    monkeypatch.setattr(store_module, "MOST_BYTES", 300)
    store.trim()
    assert store.value(lambda: {}, file="c") == {"name": "c" * 100}
    assert store.value(lambda: {}, file="a") == {}


def test_the_forecast_is_said_once_by_the_rate_of_the_first_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(store_module.time, "monotonic", lambda: now[0])
    said: list[str] = []
    store = MeasurementStore()
    forecast = Forecast(10_000, 4_000, store, said.append)
    forecast.update()
    assert said == []
    store.measured, now[0] = 100, 2.0
    forecast.update()
    store.measured, now[0] = 200, 4.0
    forecast.update()
    assert said == [
        "verify: about 6,000 pictures to draw and measure, roughly 2 min at the rate of the first 100, 4,000 are known "
        "from before"
    ]
