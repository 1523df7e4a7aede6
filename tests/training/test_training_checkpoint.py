"""Checkpoints on disk: a damaged one is never trained on from, and the one before it is not lost."""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlet.artifact import read_tensors, save_tensors
from ganlet.errors import GanletError
from ganlet.recipe import Recipe
from ganlet.training import checkpoint
from ganlet.training.checkpoint import ASIDE, BEFORE, NEWEST, Damaged, find_checkpoint, open_checkpoint
from ganlet.training.checkpoint import write_checkpoint as write
from support import Silent
from tiny_training import killed, train


def flip(path: Path, place: int, bit: int = 2) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1 << bit
    path.write_bytes(content)


def small(folder: Path, step: int) -> None:
    write(folder, {"w": torch.arange(50.0) + step}, {"key": "k", "step": step, "scale": 1.0})


@pytest.mark.parametrize("first", range(8))
def test_every_flipped_bit_of_a_checkpoint_is_noticed(tmp_path: Path, first: int) -> None:
    small(tmp_path, 1)
    path = tmp_path / NEWEST
    whole = path.read_bytes()
    for bit in range(first, 8 * len(whole), 8 * 3):  # every third byte, in each case another bit of it
        flip(path, bit // 8, bit % 8)
        with pytest.raises(Damaged, match="is damaged"):
            find_checkpoint(tmp_path)
        path.write_bytes(whole)
    found = find_checkpoint(tmp_path)
    assert found is not None and found.step == 1


@pytest.mark.parametrize("bytes_left", [0, 3, 8, 60, -1])
def test_one_that_is_cut_short_gives_way_to_the_one_before(tmp_path: Path, bytes_left: int) -> None:
    observer = Silent()
    small(tmp_path, 1)
    small(tmp_path, 2)
    path = tmp_path / NEWEST
    path.write_bytes(path.read_bytes()[:bytes_left])
    found = open_checkpoint(tmp_path, observer.say)
    assert found is not None and found.step == 1 and torch.equal(found.tensors()["w"], torch.arange(50.0) + 1)
    assert "cut short; going on from the one before, of step 1" in observer.said[0]


def test_one_that_is_missing_gives_way_to_the_one_before(tmp_path: Path) -> None:
    small(tmp_path, 1)
    small(tmp_path, 2)
    (tmp_path / NEWEST).unlink()
    found = open_checkpoint(tmp_path, print)
    assert found is not None and found.step == 1


def test_one_that_was_altered_stops_once_and_then_gives_way(tmp_path: Path) -> None:
    small(tmp_path, 1)
    small(tmp_path, 2)
    flip(tmp_path / NEWEST, -5)
    with pytest.raises(Damaged, match=r"SHA-256.*put aside as damaged.*same command again.*of step 1"):
        open_checkpoint(tmp_path, print)
    found = open_checkpoint(tmp_path, print)
    assert found is not None and found.step == 1 and (tmp_path / ASIDE).is_file()


@pytest.mark.parametrize("kind", ["folder", "link to nothing", "text", "file for the folder"])
def test_what_is_no_checkpoint_is_one_sentence(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "checkpoint"
    if kind == "file for the folder":
        folder.write_text("x")
    else:
        folder.mkdir()
        path = folder / NEWEST
        {
            "folder": path.mkdir,
            "link to nothing": lambda: path.symlink_to("nowhere"),
            "text": lambda: path.write_text("hello, world"),
        }[kind]()
    with pytest.raises(Damaged) as caught:
        open_checkpoint(folder, print)
    assert str(folder) in str(caught.value) and "delete" in str(caught.value)


@pytest.mark.parametrize("note", ["[]", "{", '{"key": 1, "step": 2, "scale": 1}', '{"key": "k", "scale": 1}', "null"])
def test_a_note_of_another_kind_is_damage(tmp_path: Path, note: str) -> None:
    save_tensors(tmp_path / NEWEST, {"w": torch.ones(2)}, note)
    with pytest.raises(Damaged, match=r"note|header"):
        find_checkpoint(tmp_path)


def test_what_reads_back_otherwise_does_not_replace_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small(tmp_path, 1)
    save = checkpoint.save_tensors

    def failing(path: Path, tensors: Any, note: str) -> None:
        save(path, tensors, note)
        with path.open("r+b") as stream:
            stream.seek(-3, 2)
            stream.truncate()

    monkeypatch.setattr(checkpoint, "save_tensors", failing)
    with pytest.raises(GanletError, match="reads back otherwise"):
        small(tmp_path, 2)
    found = find_checkpoint(tmp_path)
    assert found is not None and found.step == 1 and [path.name for path in tmp_path.iterdir()] == [NEWEST]


def test_training_from_the_checkpoint_before_ends_in_the_same_bytes(tiny: Recipe, tmp_path: Path) -> None:
    whole = train(tiny, tmp_path / "whole")
    folder, observer = killed(tiny, tmp_path / "cut"), Silent()
    (folder / NEWEST).write_bytes(b"")
    again = train(tiny, tmp_path / "cut", say=observer.say)
    assert again.config["files"] == whole.config["files"]
    assert "of step 7" in observer.said[0]
    logs = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_a_checkpoint_of_an_earlier_version_is_resumed_and_has_no_hash(tiny: Recipe, tmp_path: Path) -> None:
    whole = train(tiny, tmp_path / "whole")
    folder, observer = killed(tiny, tmp_path / "cut"), Silent()
    found = find_checkpoint(folder)
    assert found is not None
    note = {name: found.note[name] for name in ("key", "step", "scale")}
    save_tensors(folder / NEWEST, read_tensors(folder / NEWEST), json.dumps(note))
    (folder / BEFORE).unlink()
    assert train(tiny, tmp_path / "cut", say=observer.say).weights_sha256 == whole.weights_sha256
    assert any("has no hash" in text for text in observer.said)


@pytest.mark.parametrize("name", ["critic_adam.0.exp_avg", "generator_adam.1.step", "average.final.0.weight"])
def test_tensors_of_other_names_are_one_sentence(tiny: Recipe, tmp_path: Path, name: str) -> None:
    folder = killed(tiny, tmp_path)
    tensors = read_tensors(folder / NEWEST)
    tensors[f"{name}2"] = tensors.pop(name)
    (folder / BEFORE).unlink()
    save_tensors(folder / NEWEST, tensors, json.dumps({"key": "k", "step": 14, "scale": 1.0}))
    with pytest.raises(GanletError, match="does not fit"):
        train(tiny, tmp_path)


@pytest.mark.slow
def test_random_damage_ends_in_the_same_bytes_or_in_a_sentence(
    make_recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    """One bit, or the end, of any file of an unfinished stage; after a sentence the same command again."""
    recipe = make_recipe(teacher__train__images=48, teacher__train__checkpoint_steps=2, teacher__train__log_steps=1)
    whole = train(recipe, tmp_path / "whole")
    killed(recipe, tmp_path / "kept", 5)
    files = sorted(path for path in (tmp_path / "kept").rglob("*") if path.is_file())
    draw, stopped = random.Random(20), 0
    for number in range(28):
        path = files[number % len(files)]
        shutil.copytree(tmp_path / "kept", tmp_path / "cut")
        victim = tmp_path / "cut" / path.relative_to(tmp_path / "kept")
        if number % 5 == 4:
            victim.write_bytes(victim.read_bytes()[: draw.randrange(victim.stat().st_size)])
        else:
            flip(victim, draw.randrange(victim.stat().st_size), draw.randrange(8))
        try:
            stage = train(recipe, tmp_path / "cut")
        except GanletError as error:
            stopped += 1
            assert "\n" not in str(error) and "checkpoint" in str(error)
            stage = train(recipe, tmp_path / "cut")
        assert stage.config["files"] == whole.config["files"], victim
        shutil.rmtree(tmp_path / "cut")
    assert stopped
