"""The stage quantized/: measured, trained on where int8 is too far off, the better kept; resumed and exported."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from ganlet.artifact import CRITIC, GENERATOR, Stage, load_stage, save_stage
from ganlet.commands.export import export_recipe
from ganlet.commands.open_run import OpenRun
from ganlet.commands.preflight import plans_of
from ganlet.commands.run import quantize, run_recipe
from ganlet.compress.quantize import measure, quantize_plan, quantize_weights
from ganlet.data import Batch
from ganlet.errors import GanletError
from ganlet.export import variants
from ganlet.export.sensitivity import nearest_int8, nearness
from ganlet.memory.forecast import forecast
from ganlet.memory.measure import measure as measure_memory
from ganlet.memory.ways import ways_of
from ganlet.models.families import build_generator
from ganlet.recipe import Quantize, Recipe, parse_recipe, save_recipe
from ganlet.training.load import generator_config_of, load_generator
from ganlet.training.plan import Plan, train_stage
from ganlet.verify.artifacts import open_artifacts
from ganlet.verify.verdict import stages_with_teacher
from support import Answer, Silent, expect_refused

INT8 = {"targets": ["onnx", "onnx-int8"]}
TRAIN = {"images": 40, "batch": 8, "checkpoint_steps": 2, "log_steps": 1, "progress_steps": 100}


@pytest.fixture
def make(tiny_tables: dict[str, Any], finished_run: Path) -> Callable[..., Recipe]:
    """A recipe that quantises the finished run's student, or the stage `source`."""

    def recipe(source: Path = finished_run / "student", **section: Any) -> Recipe:
        for name in ("teacher", "distill", "budget"):
            tiny_tables.pop(name, None)
        given = {"method": "quantize", "from": str(source), **section}
        return parse_recipe(tiny_tables | {"export": INT8, "compress": [given]})

    return recipe


def quantized(recipe: Recipe, folder: Path) -> tuple[Stage, list[str]]:
    seen = Silent()
    return quantize(OpenRun.open(recipe, folder, seen)), seen.said


def figures(stage: Stage) -> dict[str, Any]:
    return dict(stage.config["provenance"]["int8"])


def spoilt(finished_run: Path, folder: Path) -> Stage:
    """The student with an input channel that is hardly ever on and large weights after it: their rows are coarse."""
    student = load_stage(finished_run / "student")
    generator = load_generator(student)
    first, second, _ = generator.layers()
    with torch.no_grad():
        first[1].weight[0] *= 0.01  # type: ignore[operator,index]
        first[1].bias[0] = 0.002  # type: ignore[operator,index]
        second[0].weight[0] *= 60.0  # type: ignore[operator,index]
    networks: dict[str, Any] = {
        "generator": (GENERATOR, student.config["generator"], generator.state_dict()),
        "critic": (CRITIC, student.config["critic"], student.tensors(CRITIC)),
    }
    return save_stage(folder, stage="student", networks=networks, provenance={"key": "spoilt"}, training={})


# ---------------------------------------------------------------- without training


def test_without_tuning_the_weights_stay_and_the_figures_are_the_exports(
    make: Any, finished_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    student = load_stage(finished_run / "student")
    stage, said = quantized(make(least_psnr_db=200.0), tmp_path)
    near = nearest_int8(onnx.load(finished_run / "generator.onnx"), "cpu-int8").as_json()
    found = figures(stage)
    assert found["kept"] == "before" and "after" not in found
    assert found["before"] == near | {"psnr_to_own_fp32_db": near["psnr_db"]}
    assert f"int8 by {near['method']} draws student at {near['psnr_db']:.1f} dB, BELOW the 200" in said[-1]
    assert stage.folder == tmp_path / "quantized" and stage.training == {}
    for name in (GENERATOR, CRITIC):
        assert stage.config["files"][name] == student.config["files"][name]
    again, said = quantized(make(least_psnr_db=200.0), tmp_path)
    assert again.key == stage.key and said[-1] == "quantized: complete, skipped"
    with monkeypatch.context() as newer:
        newer.setattr(variants, "REVISION", "next")  # its figures would be of files that are not made any more
        again, said = quantized(make(least_psnr_db=200.0), tmp_path)
    assert again.key != stage.key and "the old stage is kept" in said[-1]
    quantized(make(profile="trt-int8"), tmp_path)
    assert figures(load_stage(tmp_path / "quantized"))["before"]["psnr_db"] < found["before"]["psnr_db"]
    assert (tmp_path / "quantized.previous" / "config.json").is_file()


def test_near_enough_is_not_trained_on(make: Any, tmp_path: Path) -> None:
    stage, said = quantized(make(least_psnr_db=10.0, tune={"train": TRAIN}), tmp_path)
    assert said[-1].endswith("asked for 10: its weights stay as they are")
    assert stage.training == {} and not (tmp_path / "quantized-tuned").exists()


# ---------------------------------------------------------------- with training


@pytest.mark.slow
def test_training_brings_a_spoilt_generator_nearer_and_its_int8_file_too(
    make: Any, finished_run: Path, tmp_path: Path
) -> None:
    source = spoilt(finished_run, tmp_path / "spoilt")
    train = TRAIN | {"images": 9600, "batch": 32, "lr": 3e-3, "betas": [0.9, 0.999], "ema": 0.98}
    recipe = make(source.folder, least_psnr_db=60.0, tune={"train": train})
    seen = Silent()
    report = run_recipe(recipe, tmp_path / "run", seen)
    stage = load_stage(tmp_path / "run" / "quantized")
    found = figures(stage)
    assert found["kept"] == "after" and found["after"]["psnr_db"] > found["before"]["psnr_db"] + 2
    model = onnx.load(tmp_path / "run" / "generator.int8.onnx")
    before = measure(source, Quantize(method="quantize"))
    to_source = nearness(_fp32(source, tmp_path / "whole"))
    assert to_source(model) == pytest.approx(found["after"]["psnr_db"], abs=0.05)
    assert to_source(before.near.model) == pytest.approx(found["before"]["psnr_db"], abs=0.05)
    assert generator_config_of(stage) == generator_config_of(source) and stage.training["steps"] == 300
    assert {"metrics.jsonl", "forecast.json", "progress"} <= {path.name for path in stage.folder.iterdir()}
    assert list(report["stages"]) == ["teacher", "quantized"]
    assert report["stages"]["quantized"]["training"]["steps"] == 300
    lines = (stage.folder / "metrics.jsonl").read_text().splitlines()
    assert "critic_loss" not in json.loads(lines[-1])  # nothing asks the critic


def _fp32(stage: Stage, run: Path) -> onnx.ModelProto:
    from ganlet.export import export_onnx

    run.mkdir()
    return onnx.load(export_onnx(stage, run))


def test_what_training_made_worse_is_not_kept(make: Any, finished_run: Path, tmp_path: Path) -> None:
    tune = {"train": TRAIN | {"lr": 0.5}}
    stage, said = quantized(make(least_psnr_db=200.0, tune=tune), tmp_path)
    found = figures(stage)
    assert found["kept"] == "before" and found["after"]["psnr_db"] < found["before"]["psnr_db"]
    assert "not kept" in said[-1] and stage.training["steps"] == 5
    assert stage.weights_sha256 == load_stage(finished_run / "student").weights_sha256


def test_a_generator_without_a_critic_is_trained_on_where_nothing_asks_one(
    make: Any, finished_run: Path, tmp_path: Path
) -> None:
    student = load_stage(finished_run / "student")
    networks: dict[str, Any] = {"generator": (GENERATOR, student.config["generator"], student.tensors())}
    bare = save_stage(tmp_path / "bare", stage="student", networks=networks, provenance={"key": "b"}, training={})
    stage, _ = quantized(make(bare.folder, least_psnr_db=200.0, tune={"train": TRAIN}), tmp_path / "run")
    assert stage.training["steps"] == 5 and "critic" not in stage.config and set(stage.config["files"]) == {GENERATOR}
    with pytest.raises(GanletError, match="holds no critic"):
        quantized(make(bare.folder, tune={"features": 1.0, "train": TRAIN}), tmp_path / "run")


def test_interrupted_training_ends_in_the_same_bytes(make: Any, finished_run: Path, tmp_path: Path) -> None:
    recipe = make(tune={"alpha": 0.05, "features": 0.5, "relation": 0.1, "train": TRAIN | {"lr": 1e-3}})
    student = load_stage(finished_run / "student")
    plan = quantize_plan(recipe, student, measure(student, recipe.compress[0]).near.scales)

    def train(folder: Path, plan: Plan = plan) -> Stage:
        def reals(position: int) -> Any:
            return Batch(np.random.default_rng(position).uniform(-1, 1, (8, 1, 16, 16)).astype(np.float32))

        fill = quantize_weights(student)
        return train_stage(plan, fill, reals, folder, run=recipe.run, provenance={"key": "k"})

    def stopped(state: Any, *words: Any) -> Any:
        if state.step == 3:
            raise KeyboardInterrupt
        return plan.step(state, *words)

    whole = train(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", replace(plan, step=stopped))
    assert train(tmp_path / "cut").config["files"] == whole.config["files"]
    before, after = student.tensors(), whole.tensors()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if "running" not in name and "batches" not in name}


def test_the_memory_of_training_is_forecast(make: Any) -> None:
    recipe = make(tune={"train": TRAIN})
    (plan,) = plans_of(recipe)
    assert (plan.stage, plan.place) == ("quantized-tuned", "compress.0.tune") and plan.teacher == plan.generator
    ways = list(ways_of(recipe, plan))
    assert [way.name for way in ways] == ["quantized", "quantized, mixed precision", "quantized, in parts"]
    assert ways[1].words(16) == ("--set compress.0.tune.train.amp=fp16", "--set compress.0.tune.train.batch=16")
    (with_critic,) = plans_of(make(tune={"alpha": 0.1, "features": 1.0, "train": TRAIN}))
    assert forecast(plan, "cpu").peak_mib < forecast(with_critic, "cpu").peak_mib  # nothing asks the critic
    for each in (plan, with_critic):  # rounding is as exactly known as all the rest of the training
        plain = replace(each, build=build_generator)
        gap, gap_of_plain = (measure_memory(p, "cpu").peak_mib - forecast(p, "cpu").peak_mib for p in (each, plain))
        assert gap == pytest.approx(gap_of_plain, abs=0.01 * forecast(each, "cpu").peak_mib)
    assert plans_of(make()) == []


# ---------------------------------------------------------------- in order, and by command


@pytest.mark.slow
def test_one_recipe_prunes_and_then_quantises(finished_run: Path, tiny_tables: dict[str, Any], tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished_run, tmp_path / "tiny"))
    steps = [
        {"method": "prune", "ratio": 0.4, "round_to": 1, "scope": "uniform"},
        {"method": "quantize", "least_psnr_db": 200.0, "tune": {"train": TRAIN}},
    ]
    recipe = parse_recipe(tiny_tables | {"export": INT8, "compress": steps})
    assert [(p.stage, p.generator.widths, p.place) for p in plans_of(recipe)[2:]] == [
        ("quantized-tuned", (4, 2), "compress.1.tune")
    ]
    seen = Silent()
    report = run_recipe(recipe, run, seen)
    assert list(report["stages"]) == ["teacher", "student", "pruned", "quantized"]
    pruned, stage = load_stage(run / "pruned"), load_stage(run / "quantized")
    assert stage.config["provenance"]["made_from"]["weights_sha256"] == pruned.weights_sha256
    manifest = json.loads((run / "manifest.json").read_text())["files"]
    assert {manifest[name]["made_from"]["stage"] for name in ("generator.onnx", "generator.int8.onnx")} == {"quantized"}
    assert "fidelity of quantized" in [check["name"] for check in report["checks"]]
    later = parse_recipe(tiny_tables | {"export": INT8, "compress": [steps[0], steps[1] | {"least_psnr_db": 1.0}]})
    run_recipe(later, run, seen := Silent())
    assert "pruned: complete, skipped" in seen.said  # what comes after a step changes nothing of it
    assert load_stage(run / "quantized").key != stage.key


def test_the_int8_file_is_of_the_profile_that_was_measured(make: Any, tmp_path: Path) -> None:
    recipe = make(profile="trt-int8")
    stage, _ = quantized(recipe, tmp_path)
    made = export_recipe(recipe, stage, tmp_path, Silent())
    assert [path.name for path in made] == ["generator.onnx", "generator.trt-int8.onnx"]
    of_file = json.loads((tmp_path / "manifest.json").read_text())["files"][made[1].name]["calibration"]
    assert of_file["psnr_db"] == figures(stage)["before"]["psnr_db"]
    stages = stages_with_teacher(tmp_path, recipe)
    judged = [artifact.path for artifact in open_artifacts(tmp_path, recipe, stages)]
    assert judged == made
    made[1].unlink()
    with pytest.raises(GanletError, match=r"make it with .*--to onnx --precision int8 --profile trt-int8"):
        open_artifacts(tmp_path, recipe, stages)


def test_the_command(make: Any, ganlet: Callable[..., Answer], finished_run: Path, tmp_path: Path) -> None:
    save_recipe(make(), tmp_path / "int8.toml")
    code, out, _ = ganlet("quantize", tmp_path / "int8.toml", "--out", tmp_path / "run", "--json")
    answer = json.loads(out.splitlines()[-1])
    assert code == 0 and answer["stage"] == "quantized" and Path(answer["folder"]) == tmp_path / "run" / "quantized"
    assert answer["int8"]["kept"] == "before" and answer["int8"]["before"]["psnr_db"] > 30
    expect_refused(ganlet("quantize", finished_run / "recipe.toml"), 'no [[compress]] section with method = "quantize"')
    code, out, _ = ganlet("quantize", "--help")
    assert code == 0 and "ganlet quantize recipes/" in out and "[[compress]]" in out


def test_a_step_needs_the_one_before_it(tiny_tables: dict[str, Any], finished_run: Path, tmp_path: Path) -> None:
    steps = [{"method": "prune", "ratio": 0.4, "round_to": 1, "from": str(finished_run)}, {"method": "quantize"}]
    for name in ("teacher", "distill", "budget"):
        tiny_tables.pop(name)
    recipe = parse_recipe(tiny_tables | {"export": INT8, "compress": steps})
    with pytest.raises(GanletError, match=r"pruned does not exist; expected the folder of a trained stage"):
        quantize(OpenRun.open(recipe, tmp_path, Silent()))
