"""Stages that were made before: what makes one stale, and when more pictures go on from its end."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ganlet.artifact import Stage, load_stage
from ganlet.commands import open_run
from ganlet.commands.open_run import OpenRun, open_pictures
from ganlet.commands.run import distill, train_teacher
from ganlet.errors import GanletError, Interrupted
from ganlet.files import read_json, write_json
from ganlet.recipe import Recipe
from ganlet.training import checkpoint
from support import Silent

Make = Callable[..., Recipe]
FIRST, LONGER = 56, 112  # pictures: 7 and 14 steps


def teacher(recipe: Recipe, run: Path) -> tuple[Stage, str]:
    """The stage, and all that was said."""
    observer = Silent()
    stage = train_teacher(OpenRun(recipe, run, open_pictures(recipe, observer), observer))
    return stage, "\n".join(observer.said)


def as_of_an_earlier_version(folder: Path) -> None:
    """Such a stage tells neither what its key was made of, nor has it a checkpoint."""
    config = read_json(folder / "config.json")
    del config["provenance"]["rests_on"]
    write_json(folder / "config.json", config)
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)


@pytest.mark.parametrize("train", [{}, {"ema": 0.0}, {"augment": ["color"], "lr_critic": 1e-4}])
def test_more_pictures_go_on_from_the_end_and_end_in_the_bytes_of_one_training(
    make_recipe: Make, tmp_path: Path, train: dict[str, Any]
) -> None:
    changes = {f"teacher__train__{name}": value for name, value in train.items()}
    short, _ = teacher(make_recipe(teacher__train__images=FIRST, **changes), tmp_path / "run")
    longer = make_recipe(teacher__train__images=LONGER, **changes)
    whole, _ = teacher(longer, tmp_path / "whole")
    stage, said = teacher(longer, tmp_path / "run")
    assert stage.config["files"] == whole.config["files"] and stage.key == whole.key
    assert "goes on from step 7 of the finished stage, which is kept as" in said and "bit by bit" in said
    previous = tmp_path / "run" / "teacher.previous"
    assert load_stage(previous).weights_sha256 == short.weights_sha256
    assert not (previous / "checkpoint").exists()  # the longer stage has the one to go on from
    steps = [json.loads(line)["step"] for line in (stage.folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)) and steps[-1] == 14 and steps[0] <= 7
    again, said = teacher(make_recipe(teacher__train__images=FIRST, **changes), tmp_path / "run")
    assert again.weights_sha256 == short.weights_sha256 and "taken back" in said


def test_a_students_more_pictures_go_on_too(make_recipe: Make, tmp_path: Path) -> None:
    made = {}
    for name, lengths in (("run", (FIRST, LONGER)), ("whole", (LONGER,))):
        for images in lengths:
            recipe, observer = make_recipe(teacher__train__images=16, distill__train__images=images), Silent()
            place = OpenRun(recipe, tmp_path / name, open_pictures(recipe, observer), observer)
            train_teacher(place)
            made[name] = (distill(place), observer.said)
    assert made["run"][0].config["files"] == made["whole"][0].config["files"]
    assert any("student: goes on from step 7" in text for text in made["run"][1])


@pytest.mark.parametrize(
    ("train", "images", "reason"),
    [
        ({"decay": 0.5}, LONGER, "its learning rates fell over its last part (decay = 0.5)"),
        ({}, 24, "it has 7 steps already, and 3 are asked for"),
    ],
)
def test_where_the_schedule_does_not_allow_it_that_is_said(
    make_recipe: Make, tmp_path: Path, train: dict[str, Any], images: int, reason: str
) -> None:
    changes = {f"teacher__train__{name}": value for name, value in train.items()}
    short, _ = teacher(make_recipe(teacher__train__images=FIRST, **changes), tmp_path / "run")
    recipe = make_recipe(teacher__train__images=images, **changes)
    stage, said = teacher(recipe, tmp_path / "run")
    assert reason in said and "starts from step 0" in said
    assert stage.config["files"] == teacher(recipe, tmp_path / "whole")[0].config["files"]
    assert load_stage(tmp_path / "run" / "teacher.previous").weights_sha256 == short.weights_sha256


@pytest.mark.parametrize("harm", ["removed", "altered", "cut short", "another step", "earlier version"])
def test_without_its_last_checkpoint_training_starts_again_and_says_why(
    make_recipe: Make, tmp_path: Path, harm: str
) -> None:
    short, _ = teacher(make_recipe(teacher__train__images=FIRST), tmp_path)
    path = short.folder / "checkpoint" / checkpoint.NEWEST
    content = path.read_bytes()
    if harm == "removed":
        shutil.rmtree(path.parent)
    elif harm == "altered":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    elif harm == "cut short":
        path.write_bytes(content[:-9])
    elif harm == "another step":
        found = checkpoint.find_checkpoint(path.parent)
        assert found is not None
        checkpoint.write_checkpoint(path.parent, found.tensors(), found.note | {"step": 5})
    else:
        as_of_an_earlier_version(short.folder)
    stage, said = teacher(make_recipe(teacher__train__images=LONGER), tmp_path)
    words = {
        "removed": "not there any more",
        "altered": "SHA-256",
        "cut short": "cut short",
        "another step": "is of step 5",
        "earlier version": "an earlier version kept none",
    }
    assert "starts from step 0" in said and words[harm] in said and stage.training["steps"] == 14
    assert load_stage(tmp_path / "teacher.previous").weights_sha256 == short.weights_sha256


@pytest.mark.parametrize("is_old", [False, True])
@pytest.mark.parametrize(
    "change", [{"data__skip_bad": True}, {"run__threads": 1}, {"teacher__train__checkpoint_steps": 3}]
)
def test_what_changes_no_result_makes_nothing_stale(
    make_recipe: Make, tmp_path: Path, change: dict[str, Any], is_old: bool
) -> None:
    (tmp_path / "pictures").mkdir()
    for number in range(20):
        Image.new("L", (16, 16), 10 * number).save(tmp_path / "pictures" / f"{number}.png")
    data = {"source": "folder", "path": str(tmp_path / "pictures"), "size": 16, "channels": 1}
    made, _ = teacher(make_recipe(teacher__train__images=16, data=data), tmp_path / "run")
    if is_old:
        as_of_an_earlier_version(made.folder)
    again, said = teacher(make_recipe(**change), tmp_path / "run")
    assert again.weights_sha256 == made.weights_sha256 and "complete, skipped" in said
    assert ("another run.threads" in said) == ("run__threads" in change)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["teacher"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"teacher__train__lr": 1e-3}, "teacher.train.lr"),
        ({"data__flip": True}, "data.flip"),
        ({"run__seed": 9}, "seed"),
    ],
)
def test_what_changes_the_result_is_named(make_recipe: Make, tmp_path: Path, change: Any, name: str) -> None:
    teacher(make_recipe(teacher__train__images=16), tmp_path)
    _, said = teacher(make_recipe(**change), tmp_path)
    assert f"teacher: {name} has changed, the old stage is kept as" in said


def stopped_at(recipe: Recipe, run: Path, step: int) -> None:
    class Stops(Silent):
        def watch(self, label: str, unit: str) -> Any:
            return nullcontext(self.update if label == "teacher" else lambda done, total: None)

        def update(self, done: int, total: int) -> None:
            if done == 8 * (step - 1):
                os.kill(os.getpid(), signal.SIGTERM)

    observer = Stops()
    with pytest.raises(Interrupted):
        train_teacher(OpenRun(recipe, run, open_pictures(recipe, observer), observer))


@pytest.mark.parametrize("change", [{"run__threads": 1}, {"teacher__train__images": LONGER}])
def test_an_unfinished_stage_goes_on_as_well(make_recipe: Make, tmp_path: Path, change: dict[str, Any]) -> None:
    stopped_at(make_recipe(teacher__train__images=FIRST), tmp_path / "run", 4)
    recipe = make_recipe(**change)
    stage, said = teacher(recipe, tmp_path / "run")
    whole, _ = teacher(recipe, tmp_path / "whole")
    assert "teacher: goes on from step" in said and stage.key == whole.key
    assert stage.config["files"] == whole.config["files"]  # tests have one thread anyway


def test_a_kill_while_the_old_stage_was_moved_aside_loses_nothing(make_recipe: Make, tmp_path: Path) -> None:
    short, _ = teacher(make_recipe(teacher__train__images=FIRST), tmp_path)
    short.folder.rename(tmp_path / "teacher.previous")
    (tmp_path / "teacher").mkdir()
    (tmp_path / "teacher" / "metrics.jsonl").write_text("half of a copy")
    _, said = teacher(make_recipe(teacher__train__images=LONGER), tmp_path)
    assert "goes on from step 7" in said


def test_what_differs_from_one_training_is_said(make_recipe: Make, tmp_path: Path) -> None:
    short = {"teacher__train__evaluate_steps": 4, "teacher__train__evaluate_samples": 50}
    teacher(make_recipe(teacher__train__images=FIRST, **short), tmp_path)
    config = read_json(tmp_path / "teacher" / "config.json")
    config["provenance"]["versions"]["torch"] = "1.0"
    write_json(tmp_path / "teacher" / "config.json", config)
    _, said = teacher(make_recipe(teacher__train__images=LONGER, run__threads=1), tmp_path)
    for words in ("another run.threads", "made by torch 1.0", "measured at step 7 as well"):
        assert words in said
    assert "bit by bit" not in said


def test_damage_without_another_checkpoint_is_one_sentence_and_changes_nothing(
    make_recipe: Make, tmp_path: Path
) -> None:
    recipe = make_recipe(teacher__train__images=FIRST)
    stopped_at(recipe, tmp_path, 3)
    path = tmp_path / "teacher" / "checkpoint" / checkpoint.NEWEST
    path.write_bytes(b"\x00" + path.read_bytes()[1:])
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(GanletError, match=r"is damaged .* delete .*checkpoint to begin"):
            teacher(recipe, tmp_path)
    assert path.read_bytes() == before and [found.name for found in tmp_path.iterdir()] == ["teacher"]


def test_damage_is_found_before_the_preflight(
    make_recipe: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "teacher" / "checkpoint"
    folder.mkdir(parents=True)
    (folder / checkpoint.NEWEST).write_bytes(b"x" * 100)
    monkeypatch.setattr(open_run, "preflight", lambda recipe, run: pytest.fail("too late"))
    with pytest.raises(GanletError, match="is damaged"):
        OpenRun.open(make_recipe(), tmp_path, Silent())
    (tmp_path / "teacher.previous").mkdir()  # the stage may be taken back from there
    monkeypatch.setattr(open_run, "preflight", lambda recipe, run: None)
    OpenRun.open(make_recipe(), tmp_path, Silent())
