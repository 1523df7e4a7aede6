"""The distance to the data while training: the best generator is kept, patience ends it, and nothing is lost."""

import contextlib
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ganlet.artifact import GENERATOR, Stage, load_stage
from ganlet.data import Batch
from ganlet.errors import GanletError, Interrupted
from ganlet.models.dcgan import Generator
from ganlet.recipe import Recipe
from ganlet.training.loop import Job, run_training
from ganlet.training.plan import build_state, random_weights, teacher_plan, train_stage

MakeRecipe = Callable[..., Recipe]


def reals(position: int) -> Batch:
    return Batch(np.random.default_rng(position).uniform(-1, 1, (8, 1, 16, 16)).astype(np.float32))


class Scripted:
    """An evaluator that tells what its script says and remembers the weights it was shown."""

    def __init__(self, *distances: float) -> None:
        self.distances = list(distances)
        self.seen: list[dict[str, torch.Tensor]] = []

    def __call__(self, generator: Generator) -> float:
        assert not generator.training
        self.seen.append({name: tensor.clone() for name, tensor in generator.state_dict().items()})
        return self.distances[len(self.seen) - 1]

    def rehearse(self, generator: Generator) -> None:
        assert not generator.training

    def tensors(self) -> tuple[torch.Tensor, ...]:
        return ()


class By(Scripted):
    """An evaluator that measures by a function."""

    def __init__(self, distance: Callable[[Generator], float]) -> None:
        self.distance = distance

    def __call__(self, generator: Generator) -> float:
        return self.distance(generator)


def brightness(generator: Generator) -> float:
    """A distance that depends on the weights alone."""
    with torch.no_grad():
        return float(generator(torch.ones(2, 8)).square().mean()) * 1e3


def train(recipe: Recipe, folder: Path, evaluate: Any, **changes: Any) -> Stage:
    plan = replace(teacher_plan(recipe), **changes)
    fill = random_weights(recipe.run.seed, "teacher")
    return train_stage(plan, fill, reals, folder, run=recipe.run, provenance={"key": "k"}, evaluate=evaluate)


def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_patience_ends_training_and_the_best_generator_is_handed_on(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(teacher__train__evaluate_steps=4, teacher__train__patience=2)
    script = Scripted(9.0, 5.0, 7.0, 5.0, 1.0)  # best at step 8; 12 and 16 are no better, 20 is never reached
    stage = train(recipe, tmp_path, script)
    assert len(script.seen) == 4 and stage.training["steps"] == 16 and stage.training["images"] == 128
    wanted = {"distance": 5.0, "step": 8, "samples": 1000, "stopped_early": True}
    assert stage.training["evaluation"] == wanted
    kept = stage.tensors(GENERATOR)
    assert all(torch.equal(kept[name], tensor) for name, tensor in script.seen[1].items())
    assert any(not torch.equal(kept[name], tensor) for name, tensor in script.seen[3].items())
    lines = log_of(tmp_path)
    assert {line["step"]: line["distance_to_data"] for line in lines if "distance_to_data" in line} == {
        4: 9.0, 8: 5.0, 12: 7.0, 16: 5.0,
    }  # fmt: skip
    assert all("critic_loss" in line for line in lines) and lines[-1]["step"] == 16
    assert [line["step"] for line in lines] == sorted({line["step"] for line in lines})


def test_without_patience_training_goes_to_its_end_which_is_measured_too(
    make_recipe: MakeRecipe, tmp_path: Path
) -> None:
    script = Scripted(3.0, 4.0, 4.0)
    stage = train(make_recipe(teacher__train__evaluate_steps=12), tmp_path, script)
    assert stage.training["steps"] == 30 and len(script.seen) == 3  # 12, 24 and 30
    assert stage.training["evaluation"] == {"distance": 3.0, "step": 12, "samples": 1000, "stopped_early": False}


@pytest.mark.parametrize("ema", [0.995, 0.0])
def test_measuring_changes_no_weight(make_recipe: MakeRecipe, tmp_path: Path, ema: float) -> None:
    recipe = make_recipe(teacher__train__ema=ema, teacher__train__lr=1e-3)
    plain = train(recipe, tmp_path / "plain", None)
    recipe = make_recipe(teacher__train__evaluate_steps=5)
    watched = train(recipe, tmp_path / "watched", Scripted(6, 5, 4, 3, 2, 1))  # the last is the best
    assert watched.weights_sha256 == plain.weights_sha256
    assert "evaluation" not in plain.training


@pytest.mark.parametrize("step", [5, 11, 12, 20, 29])
def test_interrupted_and_resumed_is_bit_equal(make_recipe: MakeRecipe, tmp_path: Path, step: int) -> None:
    recipe = make_recipe(teacher__train__evaluate_steps=6, teacher__train__ema=0.5, teacher__train__lr=1e-3)
    whole = train(recipe, tmp_path / "whole", By(brightness))
    plan = teacher_plan(recipe)

    def stopping(state: Any, *rest: Any) -> Any:
        if state.step == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return plan.step(state, *rest)

    with pytest.raises(Interrupted):
        train(recipe, tmp_path / "cut", By(brightness), step=stopping)
    resumed = train(recipe, tmp_path / "cut", By(brightness))
    assert resumed.weights_sha256 == whole.weights_sha256
    assert resumed.training["evaluation"] == whole.training["evaluation"]
    assert 0 < whole.training["evaluation"]["step"] < 30  # the best one is not the last one
    measured = [
        [(line["step"], line["distance_to_data"]) for line in log_of(tmp_path / name) if "distance_to_data" in line]
        for name in ("whole", "cut")
    ]
    assert measured[0] == measured[1] and len(measured[0]) == 5


def test_what_was_measured_past_the_last_checkpoint_is_measured_again(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(teacher__train__evaluate_steps=3, teacher__train__ema=0.5, teacher__train__lr=1e-3)
    whole = train(recipe, tmp_path / "whole", By(brightness))
    plan = teacher_plan(recipe)

    def dying(state: Any, *rest: Any) -> Any:
        if state.step == 20:  # the last checkpoint is that of step 14, the last measurement that of 18
            raise RuntimeError("killed")
        return plan.step(state, *rest)

    with pytest.raises(RuntimeError, match="killed"):
        train(recipe, tmp_path / "cut", By(brightness), step=dying)
    resumed = train(recipe, tmp_path / "cut", By(brightness))
    assert resumed.weights_sha256 == whole.weights_sha256
    assert resumed.training["evaluation"] == whole.training["evaluation"]
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == (tmp_path / "whole" / "metrics.jsonl").read_bytes()


def test_a_kill_after_the_early_stop_resumes_to_the_same_stage(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(teacher__train__evaluate_steps=4, teacher__train__patience=1)
    whole = train(recipe, tmp_path, Scripted(1.0, 2.0))
    (tmp_path / "config.json").unlink()  # as if it had been killed before the stage was written
    again = train(recipe, tmp_path, Scripted())  # nothing is left to measure
    assert again.weights_sha256 == whole.weights_sha256 and again.training["evaluation"] == whole.training["evaluation"]


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), GanletError("The pictures hold NaN.")])
def test_a_metric_that_fails_is_one_sentence_and_loses_nothing(
    make_recipe: MakeRecipe, tmp_path: Path, broken: Any
) -> None:
    recipe = make_recipe(teacher__train__evaluate_steps=6)
    whole = train(recipe, tmp_path / "whole", By(brightness))

    def failing(generator: Generator) -> float:
        failing.calls += 1  # type: ignore[attr-defined]
        if failing.calls < 3:  # type: ignore[attr-defined]
            return brightness(generator)
        if isinstance(broken, Exception):
            raise broken
        return float(broken)

    failing.calls = 0  # type: ignore[attr-defined]
    with pytest.raises(GanletError, match=r"teacher could not be measured at step 18 \(.*checkpoint is kept") as caught:
        train(recipe, tmp_path / "cut", By(failing))
    assert "\n" not in str(caught.value) and str(caught.value).count(". ") == 0
    steps: list[int] = []
    plan = teacher_plan(recipe)

    def counting(state: Any, *rest: Any) -> Any:
        steps.append(state.step)
        return plan.step(state, *rest)

    resumed = train(recipe, tmp_path / "cut", By(brightness), step=counting)
    assert steps[0] == 18  # no step is done again
    assert resumed.weights_sha256 == whole.weights_sha256
    assert resumed.training["evaluation"] == whole.training["evaluation"]


def test_a_broken_generator_is_blamed_before_its_distance(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = make_recipe(teacher__train__evaluate_steps=6)
    plan = teacher_plan(recipe)

    def breaking(state: Any, *rest: Any) -> Any:
        logs = plan.step(state, *rest)
        if state.step == 11:
            state.generator.final[0].weight.data[0] = float("nan")
        return logs

    with pytest.raises(GanletError, match="step 12: weights of generator = nan"):
        train(recipe, tmp_path, By(lambda generator: float("nan") if _is_broken(generator) else 1.0), step=breaking)


def _is_broken(generator: Generator) -> bool:
    return any(bool(torch.isnan(parameter).any()) for parameter in generator.parameters())


def test_tensorboard_holds_the_distance(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    train(make_recipe(teacher__train__evaluate_steps=15), tmp_path, Scripted(2.0, 1.0))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("distance_to_data")] == [(15, 2.0), (30, 1.0)]


def test_the_best_generator_counts_in_the_memory_of_a_stage(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    from ganlet.memory.forecast import forecast

    wide = {"widths": [96, 48], "critic": {"widths": [6, 8]}}
    plain = teacher_plan(make_recipe(**{f"teacher__{key}": value for key, value in wide.items()}))
    watched = plain.with_train(evaluate_steps=10)
    state = build_state(plain, random_weights(0, "x"), "cpu")
    weights_mib = sum(t.nbytes for t in state.generator.state_dict().values()) / 2**20
    more_mib = forecast(watched).peak_mib - forecast(plain).peak_mib
    assert more_mib == pytest.approx(weights_mib, rel=0.02)
    job = Job("teacher", "k", 0, tmp_path, watched.section, watched.step, reals, By(lambda generator: 1.0))
    run_training(job, build_state(watched, random_weights(0, "x"), "cpu"))


def test_new_keys_leave_the_keys_of_recipes_as_they_were(make_recipe: MakeRecipe) -> None:
    plain = make_recipe().key("data", "teacher")
    assert (
        make_recipe(teacher__train__evaluate_samples=1000, teacher__train__patience=0).key("data", "teacher") == plain
    )
    assert make_recipe(teacher__train__evaluate_steps=10).key("data", "teacher") != plain
    with pytest.raises(GanletError, match=r"teacher\.train\.patience: there is nothing to wait for"):
        make_recipe(teacher__train__evaluate_steps=0, teacher__train__patience=3)
    with pytest.raises(GanletError, match=r"distill\.train\.evaluate_samples: .* 50"):
        make_recipe(teacher__train__patience=0, distill__train__evaluate_samples=3)


def test_mixed_precision_is_told_where_it_is_not_switched_on(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    from ganlet.commands.open_run import OpenRun, open_pictures
    from ganlet.commands.run import train_teacher
    from support import Silent

    recipe, observer = make_recipe(teacher__train__amp="bf16", run__device="cpu"), Silent()
    train_teacher(OpenRun(recipe, tmp_path, open_pictures(recipe, observer), observer))
    assert "teacher: amp = bf16 is for CUDA, on cpu this trains in fp32" in observer.said


def test_no_finished_stage_is_lost_to_changes_and_one_comes_back(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    from ganlet.commands.open_run import OpenRun, open_pictures
    from ganlet.commands.run import train_teacher
    from support import Silent

    made, observer = {}, Silent()
    for lr in (1e-3, 2e-3, 3e-3):
        recipe = make_recipe(teacher__train__images=40, teacher__train__lr=lr)
        place = OpenRun(recipe, tmp_path, open_pictures(recipe, observer), observer)
        made[lr] = (place, train_teacher(place).weights_sha256)
    assert {path.name for path in tmp_path.iterdir()} == {"teacher", "teacher.previous", "teacher.previous2"}
    place, weights = made[1e-3]
    assert train_teacher(place).weights_sha256 == weights
    assert any("teacher: complete, taken back from" in told for told in observer.said)
    kept = {load_stage(path).weights_sha256 for path in tmp_path.iterdir()}
    assert kept == {weights for _, weights in made.values()}
    (tmp_path / "teacher.previous" / "config.json").write_text("{")  # what is damaged there stands in nobody's way
    recipe = make_recipe(teacher__train__images=40, teacher__train__lr=4e-3)
    train_teacher(OpenRun(recipe, tmp_path, place.pictures, observer))
    assert (tmp_path / "teacher.previous" / "config.json").read_text() == "{"


def test_an_unfinished_stage_is_taken_back_too(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    from ganlet.commands.open_run import OpenRun, open_pictures
    from ganlet.commands.run import train_teacher
    from support import Silent

    class Stops(Silent):
        def watch(self, label: str, unit: str) -> Any:
            return contextlib.nullcontext(self.update if label == "teacher" else lambda done, total: None)

        def update(self, done: int, total: int) -> None:
            if done >= 160:
                raise Interrupted("Stopped.")

    def at(lr: float, observer: Silent) -> OpenRun:
        recipe = make_recipe(teacher__train__lr=lr)
        return OpenRun(recipe, tmp_path, open_pictures(recipe, observer), observer)

    for lr in (1e-3, 2e-3, 3e-3):
        with pytest.raises(Interrupted):
            train_teacher(at(lr, Stops()))
    observer = Silent()
    train_teacher(at(1e-3, observer))
    assert any("teacher: unfinished, taken back from" in told for told in observer.said)
    lines = (tmp_path / "teacher" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 30 and len(list(tmp_path.glob("teacher.previous*"))) == 2


def test_a_run_is_watched_by_pictures_of_the_training_set(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    from ganlet.commands.open_run import OpenRun, open_pictures
    from ganlet.commands.run import train_teacher
    from ganlet.metrics import extract, feature_net, frechet_distance, moments
    from support import Silent

    recipe = make_recipe(teacher__train__evaluate_steps=15, teacher__train__evaluate_samples=50)
    observer = Silent()
    place = OpenRun(recipe, tmp_path, open_pictures(recipe, observer), observer)
    train_indices, _ = place.pictures.split(0.2, 0)
    seen: list[np.ndarray] = []
    pictures = replace(place.pictures, pictures=_Spy(place.pictures.pictures, seen))
    evaluate = replace(place, pictures=pictures).evaluate(recipe.teacher.train)  # type: ignore[union-attr, arg-type]
    state = build_state(teacher_plan(recipe), random_weights(3, "teacher"), "cpu")
    assert evaluate is not None
    first, again = evaluate(state.current), evaluate(state.current)
    assert first == again > 0 and len(seen) == 1  # the data goes through the net once
    assert len(seen[0]) == 50 and set(seen[0]) <= set(train_indices)
    net = feature_net("lite0")
    data = extract(net, [np.array(place.pictures.pictures[seen[0]])])
    grey = extract(net, [np.full((50, 1, 16, 16), 128, np.uint8)])
    assert first == pytest.approx(frechet_distance(moments(grey), moments(data)), rel=0.5)  # it draws near grey so far
    stage = train_teacher(place)
    assert stage.training["evaluation"]["samples"] == 50
    assert f"at step {stage.training['evaluation']['step']}, kept" in observer.said[-1]
    assert train_teacher(place).key == stage.key and "complete, skipped" in observer.said[-1]
    assert load_stage(tmp_path / "teacher").training == stage.training


class _Spy:
    """Pictures that remember which of them were asked for."""

    def __init__(self, pictures: np.ndarray, seen: list[np.ndarray]) -> None:
        self.pictures, self.seen, self.shape = pictures, seen, pictures.shape

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        self.seen.append(indices)
        return np.asarray(self.pictures[indices])
