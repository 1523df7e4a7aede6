"""Logs and progress pictures are there to look at: damage and a full disk are said, and end no training."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlet.device.feed import z_port
from ganlet.errors import GanletError
from ganlet.recipe import Recipe
from ganlet.training import telemetry
from ganlet.training.plan import build_state, teacher_plan
from ganlet.training.sitting import Sitting
from ganlet.training.telemetry import Board, Telemetry
from support import Silent
from tiny_training import killed, train

FULL = Path("/dev/full")
GOOD = [json.dumps({"step": step, "loss": 1.0}).encode() for step in (5, 10, 15)]


@pytest.mark.parametrize(
    "junk", [b"\x00\xff\xfe\x80", b"[]", b'{"loss": 1}', b'{"step": "7"}', b'{"step": true}', b"[" * 5000, b"\r"]
)
def test_damaged_lines_are_left_out_and_counted(tmp_path: Path, junk: bytes) -> None:
    observer = Silent()
    (tmp_path / "metrics.jsonl").write_bytes(b"\n".join([GOOD[0], junk, GOOD[1], junk, GOOD[2], b'{"st']))
    Telemetry(tmp_path, 0, (z_port(4),), 12, observer.say).close()
    assert (tmp_path / "metrics.jsonl").read_bytes() == b"".join(line + b"\n" for line in GOOD[:2])
    assert len(observer.said) == 1 and "2 damaged lines of metrics.jsonl" in observer.said[0]


@pytest.mark.parametrize("name", ["metrics.jsonl", "progress", "tensorboard"])
@pytest.mark.parametrize("kind", ["folder", "file", "link to nothing", "pipe"])
def test_what_stands_in_the_place_of_a_log_ends_no_training(
    make_recipe: Callable[..., Recipe], tmp_path: Path, name: str, kind: str
) -> None:
    place = tmp_path / "stage" / name
    place.parent.mkdir()
    {
        "folder": lambda: (place / "x").mkdir(parents=True),
        "file": lambda: place.write_bytes(b"\xff\x00"),
        "link to nothing": lambda: place.symlink_to("/nowhere/at/all"),
        "pipe": lambda: os.mkfifo(place),
    }[kind]()
    observer = Silent()
    recipe = make_recipe(teacher__train__images=48)
    assert train(recipe, place.parent, say=observer.say).training["steps"] == 6
    assert len(observer.said) <= 1, observer.said


@pytest.mark.parametrize("damage", ["noise", "other size", "other channels", "folder", "cut short", "odd name"])
def test_damaged_progress_pictures_are_left_out_of_the_strip(tiny: Recipe, tmp_path: Path, damage: str) -> None:
    observer = Silent()
    drawing, state = Telemetry(tmp_path, 0, (z_port(8),), 0, observer.say), build_state(teacher_plan(tiny), None, "cpu")
    drawing.picture(1, state.current)
    height = Image.open(tmp_path / "progress" / "strip.png").height
    path = tmp_path / "progress" / "0000002.png"
    good = (tmp_path / "progress" / "0000001.png").read_bytes()
    {
        "noise": lambda: path.write_bytes(np.random.default_rng(0).bytes(500)),
        "other size": lambda: Image.new("L", (5, 5)).save(path),
        "other channels": lambda: Image.new("RGB", Image.open(path.with_name("0000001.png")).size).save(path),
        "folder": path.mkdir,
        "cut short": lambda: path.write_bytes(good[:-40]),
        "odd name": lambda: path.with_name("0a.png").write_bytes(good),
    }[damage]()
    drawing.picture(3, state.current)
    assert Image.open(tmp_path / "progress" / "strip.png").height == 2 * height
    drawing.close()
    Telemetry(
        tmp_path, 0, (z_port(8),), 1, observer.say
    ).close()  # and forgetting later moments passes them over as well
    assert not (tmp_path / "progress" / "0000003.png").exists() and not observer.said


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_once_for_each_log_and_training_goes_on(
    tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, observer = train(tiny, tmp_path / "whole"), Silent()

    def refused(path: Path, content: bytes) -> None:
        raise GanletError(f"Cannot write {path}: No space left on device.")

    monkeypatch.setattr(telemetry, "write_bytes", refused)
    monkeypatch.setattr(Telemetry, "_open_log", lambda self, step: FULL.open("a", encoding="utf-8"))
    opened = Board.open

    def full(folder: Path, step: int) -> Board | None:
        board = opened(folder, step)
        if board is not None:
            records = board.writer._get_file_writer().event_writer._async_writer._writer
            records._writer = FULL.open("wb", buffering=0)
        return board

    monkeypatch.setattr(Board, "open", full)
    assert train(tiny, tmp_path / "full", say=observer.say).weights_sha256 == whole.weights_sha256
    assert len(observer.said) == 3 and all("training goes on" in text for text in observer.said), observer.said
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "content", ["[]", "null", "{", '{"seconds": "x", "peaks": {}}', '{"peaks": {"odd": 1}, "seconds": 1}', "\x00", "5"]
)
def test_a_damaged_cost_is_said_and_counted_afresh(tiny: Recipe, tmp_path: Path, content: str) -> None:
    folder, observer = killed(tiny, tmp_path), Silent()
    (folder / "cost.json").write_text(content)
    sitting = Sitting.open(tmp_path, 30, 14, observer.say)
    assert sitting.seconds_before == 0 and sitting.peaks.peak_memory_mib == 0
    assert len(observer.said) == 1 and "cost.json is damaged" in observer.said[0]


def test_a_cost_that_cannot_be_kept_is_said_once(tmp_path: Path) -> None:
    observer = Silent()
    (tmp_path / "checkpoint" / "cost.json" / "in the way").mkdir(parents=True)
    sitting = Sitting.open(tmp_path, 30, 0, observer.say)
    sitting.save(7)
    sitting.save(14)
    assert len(observer.said) == 1 and "its cost is not kept" in observer.said[0]
