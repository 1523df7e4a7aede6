"""Every command goes its way with the second family, as users run it; a killed training ends in the same bytes."""

import copy
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

from ganlet.artifact import load_stage
from ganlet.device import Sampler
from support import TINY

TRAIN = {"images": 400, "batch": 8, "checkpoint_steps": 10, "progress_steps": 1000}  # 50 steps
TABLES: dict[str, Any] = TINY | {"run": {"name": "families", "seed": 3, "threads": 1, "device": "cpu"}}
TABLES["teacher"] = TINY["teacher"] | {"family": "mlp", "classes": 10, "train": TRAIN}
TABLES["distill"] = TINY["distill"] | {"widths": [8, 6], "adapters": 1.0, "train": TRAIN}
TABLES["compress"] = [{"method": "prune", "ratio": 0.3, "round_to": 2, "tune": {"train": TRAIN}}]


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "ganlet", *words]


def ganlet(folder: Path, *words: str) -> str:
    done = subprocess.run(command(folder, *words), capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write(folder: Path, name: str, tables: dict[str, Any]) -> str:
    (folder / name).write_text(tomli_w.dumps(tables), encoding="utf-8")
    return name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a run in which everything was trained."""
    folder = tmp_path_factory.mktemp("families")
    recipe = write(folder, "recipe.toml", TABLES)
    for verb in ("train", "distill", "prune"):
        ganlet(folder, verb, recipe, "--run", "run")
    return folder


@pytest.mark.slow
def test_its_files_draw_what_its_weights_draw(folder: Path) -> None:
    ganlet(folder, "export", "run", "--to", "onnx")
    ganlet(folder, "export", "run", "--to", "onnx", "--precision", "int8")
    ganlet(folder, "export", "run", "--to", "onnx", "--profile", "sm75")
    drawn = {
        name: Sampler(folder / "run" / f"{name}.onnx", provider="cpu", threads=1).images(0, 16, seed=1).astype(float)
        for name in ("generator", "generator.int8", "generator.sm75")
    }
    assert abs(drawn["generator.sm75"] - drawn["generator"]).max() <= 1  # of 255
    assert abs(drawn["generator.int8"] - drawn["generator"]).mean() < 3
    entry = json.loads((folder / "run" / "manifest.json").read_text())["files"]["generator.int8.onnx"]
    assert set(entry["layers"].values()) == {"gemm"}


@pytest.mark.slow
def test_a_student_of_the_other_family_learns(folder: Path) -> None:
    distill = {key: value for key, value in TABLES["distill"].items() if key != "adapters"}
    tables = {key: value for key, value in TABLES.items() if key not in ("teacher", "compress", "distill")}
    tables["distill"] = distill | {"family": "dcgan", "init": "random", "from": "run/teacher"}
    ganlet(folder, "distill", write(folder, "other.toml", tables), "--run", "other")
    config = load_stage(folder / "other" / "student").config
    assert (config["generator"]["family"], config["critic"]["family"]) == ("dcgan", "mlp")


@pytest.mark.slow
def test_frozen_layers_stay_as_they_are(folder: Path) -> None:
    tables = {key: TABLES[key] for key in ("run", "data")}
    tables["transfer"] = {"from": "run/teacher", "freeze_generator": 2, "freeze_critic": 1, "train": TRAIN}
    ganlet(folder, "transfer", write(folder, "transfer.toml", tables), "--run", "transferred")
    before = load_stage(folder / "run" / "teacher").tensors()
    after = load_stage(folder / "transferred" / "transfer").tensors()
    same = {name for name in before if name.endswith("weight") and torch.equal(before[name], after[name])}
    assert {"layer1.0.weight", "layer2.0.weight"} <= same and "final.0.weight" not in same


@pytest.mark.slow
def test_weights_from_elsewhere_become_a_stage(folder: Path) -> None:
    torch.save(load_stage(folder / "run" / "student").tensors(), folder / "theirs.pt")
    ganlet(folder, "import", "theirs.pt", "--like", "recipe.toml", "--stage", "student", "--out", "imported")
    config = load_stage(folder / "imported" / "student").config["generator"]
    assert config == load_stage(folder / "run" / "student").config["generator"]


@pytest.mark.slow
def test_a_killed_training_ends_in_the_same_bytes(folder: Path) -> None:
    tables = copy.deepcopy(TABLES)
    words = ["train", write(folder, "again.toml", tables), "--run", "killed"]
    process = subprocess.Popen(command(folder, *words), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    checkpoints = folder / "killed" / "teacher" / "checkpoint"
    deadline = time.monotonic() + 120
    while not list(checkpoints.glob("*.safetensors")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    ganlet(folder, *words)
    assert (
        load_stage(folder / "killed" / "teacher").weights_sha256
        == load_stage(folder / "run" / "teacher").weights_sha256
    )
