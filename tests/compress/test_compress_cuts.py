"""The stage pruned/: of another run or of this one, at once or in rounds, resumed, verified and exported."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ganlet.artifact import CRITIC, find_stage, load_stage
from ganlet.commands.budget import budget_recipe
from ganlet.commands.open_run import OpenRun
from ganlet.commands.preflight import plans_of
from ganlet.commands.run import prune, run_recipe
from ganlet.errors import GanletError
from ganlet.files import read_json, write_json
from ganlet.memory.ways import ways_of
from ganlet.recipe import Recipe, load_recipe, parse_recipe, save_recipe
from ganlet.training.load import critic_config_of, generator_config_of, load_generator
from support import Answer, Silent, expect_refused

TUNE = {"train": {"images": 40, "batch": 8, "checkpoint_steps": 2, "log_steps": 1, "progress_steps": 100}}


@pytest.fixture
def make(tiny_tables: dict[str, Any], finished_run: Path) -> Callable[..., Recipe]:
    """A recipe that prunes the finished run's teacher (widths 12, 6)."""

    def recipe(**section: Any) -> Recipe:
        for name in ("teacher", "distill", "budget"):
            tiny_tables.pop(name, None)
        given = {"method": "prune", "from": str(finished_run / "teacher"), "round_to": 1, **section}
        return parse_recipe(tiny_tables | {"compress": [given]})

    return recipe


def pruned(recipe: Recipe, folder: Path) -> tuple[Any, Silent]:
    seen = Silent()
    return prune(OpenRun.open(recipe, folder, seen)), seen


def test_what_has_no_critic_is_tuned_without_making_one_up(make: Any, finished_run: Path, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(finished_run / "teacher", tmp_path / "whole"))
    config = read_json(whole / "config.json")
    del config["critic"], config["files"][CRITIC]
    write_json(whole / "config.json", config)
    tune = TUNE | {"alpha": 0.0, "features": 0.0}
    stage, _ = pruned(make(ratio=0.4, tune=tune, **{"from": str(whole)}), tmp_path)
    assert "critic" not in stage.config and not (stage.folder / CRITIC).exists()
    with pytest.raises(GanletError, match="holds no critic"):
        critic_config_of(stage)


def test_one_cut_is_a_stage_of_config_weights_and_the_critic(make: Any, finished_run: Path, tmp_path: Path) -> None:
    stage, seen = pruned(make(ratio=0.4), tmp_path)
    teacher = load_stage(finished_run / "teacher")
    config = generator_config_of(stage)
    whole = generator_config_of(teacher)
    assert sum(config.widths) == 11 and config == whole.model_copy(update={"widths": config.widths})
    assert stage.folder == tmp_path / "pruned" and stage.training == {}
    assert "pruned: widths [12, 6] -> " in seen.said[-1]
    critic = stage.tensors(CRITIC)
    assert all(torch.equal(critic[name], tensor) for name, tensor in teacher.tensors(CRITIC).items())
    assert load_generator(stage)(torch.zeros(2, 8)).shape == (2, 1, 16, 16)
    assert find_stage(tmp_path).name == "pruned"
    again, seen = pruned(make(ratio=0.4), tmp_path)
    assert again.weights_sha256 == stage.weights_sha256 and seen.said[-1] == "pruned: complete, skipped"
    pruned(make(ratio=0.4, importance="magnitude"), tmp_path)
    assert (tmp_path / "pruned.previous" / "config.json").is_file()


@pytest.mark.slow
def test_rounds_with_fine_tuning_resume_and_end_in_pruned(make: Any, tmp_path: Path) -> None:
    recipe = make(target_mb=0.007, rounds=2, scope="uniform", round_to=1, tune=TUNE)
    stage, seen = pruned(recipe, tmp_path)
    first = load_stage(tmp_path / "pruned-round1")
    widths = [generator_config_of(s).widths for s in (first, stage)]
    assert 12 > widths[0][0] > widths[1][0] and (tmp_path / "pruned/weights.safetensors").stat().st_size <= 7000
    assert stage.training["steps"] == 5 and seen.watched[-2:] == ["pruned-round1", "pruned"]
    assert stage.config["provenance"]["made_from"]["weights_sha256"] == first.weights_sha256
    shutil.rmtree(tmp_path / "pruned")  # as if it had been stopped between the rounds
    again, seen = pruned(recipe, tmp_path)
    assert again.weights_sha256 == stage.weights_sha256 and "pruned-round1: complete, skipped" in seen.said


def test_fine_tuning_starts_from_the_cut_and_its_memory_is_forecast(make: Any) -> None:
    recipe = make(ratio=0.5, scope="uniform", tune=TUNE)
    (plan,) = plans_of(recipe)
    assert (plan.stage, plan.generator.widths) == ("pruned", (6, 3)) and plan.teacher is not None
    ways = list(ways_of(recipe, plan))
    assert [way.name for way in ways] == ["pruned", "pruned, mixed precision", "pruned, in parts"]
    assert ways[1].words(16) == ("--set compress.0.tune.train.amp=fp16", "--set compress.0.tune.train.batch=16")
    with pytest.raises(GanletError, match="trains nothing"):
        budget_recipe(make(ratio=0.5))


@pytest.mark.parametrize("asked", ["prune", "start"])
def test_scales_that_a_teacher_will_not_have_are_told_before_it_is_trained(
    tiny_tables: dict[str, Any], asked: str
) -> None:
    tiny_tables["teacher"]["norm"] = "instance"
    tiny_tables["distill"] |= {"norm": "instance"} | ({"importance": "batch-norm"} if asked == "start" else {})
    steps = [{"method": "prune", "ratio": 0.4, "importance": "batch-norm"}] if asked == "prune" else []
    with pytest.raises(GanletError, match='importance = "batch-norm" reads'):
        plans_of(parse_recipe(tiny_tables | {"compress": steps}))


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"ratio": 0.4, "round_to": 16}, r"cuts nothing of widths \(12, 6\) in steps of round_to = 16"),
        ({"target_mb": 1.0}, "asks for 1 MB, but the generator takes .* already"),
        ({"target_mb": 0.0001}, "1 channels a layer are the fewest"),
    ],
)
def test_a_cut_that_makes_no_sense_is_refused(make: Any, tmp_path: Path, section: dict[str, Any], words: str) -> None:
    with pytest.raises(GanletError, match=words):
        pruned(make(**section), tmp_path)


@pytest.mark.slow
def test_a_run_prunes_its_student_verifies_and_exports_it(
    finished_run: Path, tiny_tables: dict[str, Any], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "tiny"))
    student = load_stage(run / "student")
    recipe = parse_recipe(tiny_tables | {"compress": [{"method": "prune", "ratio": 0.4, "round_to": 1}]})
    seen = Silent()
    report = run_recipe(recipe, run, seen)
    assert {"teacher: complete, skipped", "student: complete, skipped"} <= set(seen.said)
    assert list(report["stages"]) == ["teacher", "student", "pruned"]
    row = report["stages"]["pruned"]
    assert row["training"] == {} and row["parameters"] < report["stages"]["student"]["parameters"]
    assert "change_percent" in row and "fidelity of pruned" in [check["name"] for check in report["checks"]]
    assert load_stage(run / "pruned").config["provenance"]["made_from"]["weights_sha256"] == student.weights_sha256
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["files"]["generator.onnx"]["made_from"]["stage"] == "pruned"
    page = (run / "report.html").read_text()
    assert "pruned generator draws" in page


def test_the_command_and_its_recipe(
    make: Any, ganlet: Callable[..., Answer], finished_run: Path, tmp_path: Path
) -> None:
    save_recipe(make(ratio=0.4), tmp_path / "cut.toml")
    assert load_recipe(tmp_path / "cut.toml") == make(ratio=0.4)
    words = ("--out", tmp_path / "run", "--set", "compress.0.importance=group-norm", "--json")
    code, out, _ = ganlet("prune", tmp_path / "cut.toml", *words)
    answer = json.loads(out.splitlines()[-1])
    assert code == 0 and answer["stage"] == "pruned" and Path(answer["folder"]) == tmp_path / "run" / "pruned"
    assert load_recipe(tmp_path / "run" / "recipe.toml").compress[0].importance == "group-norm"
    expect_refused(ganlet("prune", finished_run / "recipe.toml"), 'no [[compress]] section with method = "prune"')
    expect_refused(
        ganlet("prune", tmp_path / "cut.toml", "--set", "compress.ratio=0.2"), "compress.0.KEY for the first"
    )
