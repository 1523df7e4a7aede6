"""A generator that takes a label goes the whole way: trained, distilled, pruned, exported, judged by class."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from ganlet.artifact import load_stage
from ganlet.data import load_pictures
from ganlet.data.labels import require_classes
from ganlet.device import Sampler
from ganlet.device.open import open_runner
from ganlet.errors import GanletError
from support import TINY, Answer, expect_refused

Tables = dict[str, Any]


def tables(condition: str = "concatenate", critic: str = "projection") -> Tables:
    made = copy.deepcopy(TINY)
    made["teacher"] |= {"classes": 10, "condition": condition}
    made["teacher"]["critic"]["condition"] = critic
    made["distill"]["condition"] = condition
    made["export"] = {"targets": ["onnx", "onnx-fp16", "onnx-int8"]}
    return made


def write(recipe: Tables, folder: Path) -> Path:
    path = folder / "recipe.toml"
    path.write_text(tomli_w.dumps(recipe), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("condition", "critic"), [("concatenate", "projection"), ("batch-norm", "concatenate")])
def test_the_whole_way(ganlet: Callable[..., Answer], tmp_path: Path, condition: str, critic: str) -> None:
    recipe = tables(condition, critic)
    tuned = {"train": {"images": 80, "batch": 8}}
    recipe["compress"] = (
        [{"method": "prune", "ratio": 0.3, "round_to": 1, "tune": tuned}] if critic != "concatenate" else []
    )
    code, out, err = ganlet("run", write(recipe, tmp_path), "--out", tmp_path / "run", "--json")
    assert code == 1, err  # next to untrained
    report = json.loads(out.splitlines()[-1])
    rows = [*report["stages"].values(), *report["artifacts"]]
    assert all(set(row["per_class"]) == set("0123456789") for row in rows)
    for row in rows:
        classes = row["per_class"].values()
        assert sum(c["count"] for c in classes) == 80
        hits = sum(c["agreement"]["value"] * c["count"] for c in classes)
        assert row["agreement"]["value"] == pytest.approx(hits / 80)
    assert {f"label of {row['path']}" for row in report["artifacts"]} <= {check["name"] for check in report["checks"]}
    assert report["classifier"]["accuracy"]["value"] > 0.5
    parity = {row["path"]: row["parity"]["status"] for row in report["artifacts"]}
    assert parity["generator.onnx"] == parity["generator.fp16.onnx"] == "passed"
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "classifier" in page
    sampler = Sampler(tmp_path / "run" / "generator.onnx")
    assert np.array_equal(sampler.images(0, 3, label="7"), sampler.images(0, 3, label=7))
    assert not np.array_equal(sampler.images(0, 3, label=1), sampler.images(0, 3, label=7))
    assert ganlet("verify", "--artifact", tmp_path / "run" / "generator.int8.onnx")[0] in (0, 1)


@pytest.mark.slow
def test_killed_and_resumed_it_is_the_same_to_the_bit(tmp_path: Path) -> None:
    recipe = tables("batch-norm")
    recipe["teacher"]["train"] |= {"images": 2400, "checkpoint_steps": 20}
    command = [sys.executable, "-m", "ganlet", "train", str(write(recipe, tmp_path)), "--run"]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    child = subprocess.Popen([*command, str(tmp_path / "cut")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint = tmp_path / "cut" / "teacher" / "checkpoint" / "state.safetensors"
    for _ in range(600):
        if checkpoint.exists() or child.poll() is not None:
            break
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "cut" / "teacher" / "config.json").exists()
    subprocess.run([*command, str(tmp_path / "cut")], check=True, capture_output=True)
    stages = [load_stage(tmp_path / name / "teacher") for name in ("whole", "cut")]
    assert stages[0].weights_sha256 == stages[1].weights_sha256


def folder_of_classes(folder: Path, names: list[str], count: int = 4) -> Path:
    from PIL import Image

    for number, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", (16, 16), (60 * number, 20 * index, 0)).save(folder / name / f"{index}.png")
    return folder


@pytest.mark.slow
def test_names_of_sub_folders_travel_with_the_exported_file(ganlet: Callable[..., Answer], tmp_path: Path) -> None:
    recipe = tables()
    source = folder_of_classes(tmp_path / "pets", ["cat", "dog", "Maus äöü"], 12)
    recipe["data"] = {"source": "folder", "path": str(source), "size": 16, "channels": 1}
    recipe["teacher"]["classes"] = 3
    recipe = {name: recipe[name] for name in ("run", "data", "teacher")}
    assert ganlet("train", write(recipe, tmp_path), "--run", tmp_path / "run")[0] == 0
    assert ganlet("export", tmp_path / "run", "--to", "onnx", "--precision", "int8")[0] == 0
    for name in ("generator.onnx", "generator.int8.onnx"):
        label = open_runner(tmp_path / "run" / name).ports[1]
        assert (label.classes, label.class_names) == (3, ("Maus äöü", "cat", "dog"))
    words = ["sample", tmp_path / "run" / "generator.onnx", "-n", 2, "--out", tmp_path / "pictures"]
    assert ganlet(*words, "--label", "dog")[0] == 0
    expect_refused(ganlet(*words, "--label", "dgo"), "'dgo'", "'dog'")
    expect_refused(ganlet(*words, "--label", "3"), "label 3", "0 to 2")


def test_classes_that_do_not_fit_the_pictures_are_refused(ganlet: Callable[..., Answer], tmp_path: Path) -> None:
    source = folder_of_classes(tmp_path / "pets", ["cat", "dog"])
    recipe = tables()
    recipe["data"] = {"source": "folder", "path": str(source), "size": 16, "channels": 1}
    answer = ganlet("train", write(recipe, tmp_path), "--run", tmp_path / "run")
    expect_refused(answer, "10 classes", "pictures are of 2", "teacher.classes = 2")
    recipe["data"] = {"source": "kittens", "size": 16, "channels": 1, "count": 30}
    answer = ganlet("train", write(recipe, tmp_path), "--run", tmp_path / "run")
    expect_refused(answer, "10 classes", "no labels")
    assert not (tmp_path / "run" / "recipe.toml").exists()


def test_a_class_without_training_pictures_is_refused() -> None:
    digits = load_pictures("digits", size=16, channels=1, count=100)
    assert digits.labels is not None
    without_fives = np.flatnonzero(digits.labels != 5)
    with pytest.raises(GanletError, match="no pictures to train on of the class 5"):
        require_classes(digits, without_fives, 10)
    require_classes(digits, np.arange(100), 10)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"condition": "batch-norm", "norm": "instance"}, 'teacher.condition: batch-norm needs norm = "batch"'),
        ({"classes": 1}, "teacher.classes"),
    ],
)
def test_contradictions_of_a_recipe_are_told(
    ganlet: Callable[..., Answer], tmp_path: Path, changes: Tables, said: str
) -> None:
    recipe = tables()
    recipe["teacher"] |= changes
    expect_refused(ganlet("train", write(recipe, tmp_path), "--run", tmp_path / "run"), said)


def test_a_condition_without_classes_is_useless(ganlet: Callable[..., Answer], tmp_path: Path) -> None:
    recipe = tables("batch-norm", "concatenate")
    del recipe["teacher"]["classes"]
    answer = ganlet("train", write(recipe, tmp_path), "--run", tmp_path / "run")
    expect_refused(answer, "teacher.condition: there are no classes", "teacher.critic.condition: there are no classes")


@pytest.mark.slow
@pytest.mark.parametrize("condition", ["concatenate", "batch-norm"])
def test_foreign_weights_of_a_conditional_generator_are_taken(
    ganlet: Callable[..., Answer], tmp_path: Path, condition: str
) -> None:
    import torch
    from safetensors.torch import load_file

    path = write(tables(condition), tmp_path)
    assert ganlet("train", path, "--run", tmp_path / "run")[0] == 0
    for stage in ("teacher", "student"):
        tensors = load_file(tmp_path / "run" / "teacher" / "weights.safetensors")
        if stage == "student":
            assert ganlet("distill", path, "--run", tmp_path / "run")[0] == 0
            tensors = load_file(tmp_path / "run" / "student" / "weights.safetensors")
        torch.save({f"module.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "theirs.pt")
        words = ("import", tmp_path / "theirs.pt", "--like", path, "--stage", stage, "--out", tmp_path / stage)
        assert ganlet(*words)[0] == 0
        taken = load_stage(tmp_path / stage / stage)
        made = load_stage(tmp_path / "run" / stage)
        assert taken.weights_sha256 == made.weights_sha256
        assert taken.config["generator"]["classes"] == 10 and taken.config["generator"]["latent"] == 8
