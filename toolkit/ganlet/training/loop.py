"""The one training loop. What a step does is in `steps`; here is its time: checkpoints, pictures, logs, stopping."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ganlet.errors import GanletError, Interrupted
from ganlet.recipe import Train
from ganlet.training.checkpoint import Say
from ganlet.training.ema import decay_at, update_average
from ganlet.training.evaluate import Evaluate
from ganlet.training.interrupt import Stop, catch_stop
from ganlet.training.peak import Peaks
from ganlet.training.phases import phase
from ganlet.training.sitting import Sitting
from ganlet.training.state import State, load_checkpoint, random_at, save_checkpoint
from ganlet.training.steps import Logs, RealBatch, Section, Step
from ganlet.training.telemetry import Telemetry, require_finite

Progress = Callable[[int, int, int], None]
"""Told (steps done, steps in all, real pictures per step) after every step."""


@dataclass(frozen=True)
class Job:
    """One stage's training: what to do, on what, where, and under which name."""

    stage: str
    key: str
    seed: int
    folder: Path
    section: Section
    step: Step
    reals: RealBatch
    evaluate: Evaluate | None = None
    """Measures the distance to the data, where the recipe asks for it."""
    rests_on: dict[str, Any] | None = None
    """What the key is made of, kept in every checkpoint."""
    say: Say = lambda text: None
    """Told what is damaged, and what cannot be written and is left out."""

    @property
    def train(self) -> Train:
        return self.section.train


@dataclass(frozen=True)
class Outcome:
    """What training cost. `seconds` and `peaks` are of this machine, over all its sittings."""

    steps: int
    images: int
    seconds: float
    peaks: Peaks


def run_training(job: Job, state: State, progress: Progress | None = None) -> Outcome:
    """Train `state` from its last checkpoint to the end of the job.

    Raises Interrupted after a checkpoint on Ctrl-C or SIGTERM, GanletError for a loss or a distance that is not finite.
    """
    with catch_stop() as stop:
        return _train(job, state, progress, stop)


def _train(job: Job, state: State, progress: Progress | None, stop: Stop) -> Outcome:
    checkpoint = job.folder / "checkpoint"
    load_checkpoint(state, checkpoint, job.key, job.say)
    sitting = Sitting.open(job.folder, job.train.steps, state.step, job.say)
    telemetry = Telemetry(job.folder, job.seed, state.generator.ports, state.step, job.say)
    if state.step == 0:
        telemetry.picture(0, state.current)
    waiting: list[tuple[int, Logs]] = []

    def save() -> None:
        _require_finite_weights(job, state)
        save_checkpoint(state, checkpoint, job.key, job.rests_on)
        sitting.save(state.step)

    try:
        _evaluate(job, state, waiting, telemetry, save)  # where the last sitting could not
        while not _is_over(job, state):
            sitting.before_step(state, job.evaluate, more_learns=state.frozen.thaw(state.step))
            logs = _one_step(job, state)
            sitting.after_step(state, job.evaluate)
            waiting.append((state.step, logs))
            _evaluate(job, state, waiting, telemetry, save)
            last, stopping = _is_over(job, state), stop.requested
            if last or stopping or state.step % job.train.log_steps == 0 or _due(job, state):
                _flush(job, waiting, telemetry)
            if last or state.step % job.train.progress_steps == 0:
                telemetry.picture(state.step, state.current)
            if last or stopping or _due(job, state):
                save()
            if progress is not None:
                progress(state.step, job.train.steps, job.train.batch * job.train.n_critic)
            if stopping or (last and stop.requested):
                raise Interrupted(
                    f"Stopped {job.stage} at step {state.step} of {job.train.steps}; its checkpoint is in "
                    f"{checkpoint}, run the same command again to continue."
                )
    finally:
        sitting.close()
        telemetry.close()
    return Outcome(state.step, state.step * job.train.batch * job.train.n_critic, sitting.seconds, sitting.peaks)


def _one_step(job: Job, state: State) -> Logs:
    _set_learning_rates(job, state)
    state.generator.train()
    _still_layers(state)
    logs = job.step(state, job.reals, random_at(job.seed, job.stage, state.step), job.section)
    if state.average is not None:
        with phase("average"):
            update_average(state.average, state.generator, decay_at(state.step, job.train.ema))
    state.step += 1
    return logs


def _still_layers(state: State) -> None:
    """Layers without a trained weight stay in eval mode, so that their running statistics stay bit-equal too."""
    for layer in state.generator.layers():
        if not any(parameter.requires_grad for parameter in layer.parameters()):
            layer.eval()


def _set_learning_rates(job: Job, state: State) -> None:
    left = 1 - state.step / job.train.steps
    factor = min(1.0, left / job.train.decay) if job.train.decay else 1.0
    for adam, lr in ((state.generator_adam, job.train.lr), (state.critic_adam, job.train.lr_critic or job.train.lr)):
        for group in adam.param_groups:
            group["lr"] = lr * factor


def _due(job: Job, state: State) -> bool:
    return state.step % job.train.checkpoint_steps == 0


def _is_over(job: Job, state: State) -> bool:
    return state.step >= job.train.steps or (state.best is not None and state.best.is_over(job.train))


def _evaluate(
    job: Job, state: State, waiting: list[tuple[int, Logs]], telemetry: Telemetry, save: Callable[[], None]
) -> None:
    """Measure the distance to the data where it is due, and log it with the losses of its step.

    Where it fails the step is saved before the error goes on, and the same command measures it again.
    """
    if job.evaluate is None or state.best is None or not state.best.is_due(state.step, job.train):
        return
    try:
        measured = state.best.measure(job.evaluate, state.current, state.step, job.stage)
    except GanletError:
        _flush(job, waiting, telemetry)
        save()
        raise
    _flush(job, waiting or [(state.step, {})], telemetry, measured)


def _flush(
    job: Job, waiting: list[tuple[int, Logs]], telemetry: Telemetry, more: dict[str, float] | None = None
) -> None:
    """Bring the waiting losses from the device at once, check every one, log the last, with `more` in its line."""
    for step, logs in waiting:
        values = {name: float(value) for name, value in logs.items()}
        require_finite(step, values, job.stage)
    if waiting:
        telemetry.log(step, values | (more or {}))
    waiting.clear()


def _require_finite_weights(job: Job, state: State) -> None:
    """A finite loss can still leave broken weights (its gradient overflows): those never replace a good checkpoint."""
    for name, network in state.networks().items():
        if not all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters()):
            require_finite(state.step, {f"weights of {name}": float("nan")}, job.stage)


def pick_device(name: str) -> str:
    """The torch device of `run.device`: "auto" is the first CUDA card, else the processor.

    Raises GanletError for a device that this machine does not have.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise GanletError(f'run.device = "{name}" but torch sees no CUDA card; set run.device = "auto" or "cpu".')
    if name == "mps" and not torch.backends.mps.is_available():
        raise GanletError('run.device = "mps" but torch sees no Apple GPU; set run.device = "auto" or "cpu".')
    return name
