"""Forecast of training memory against the allocator's measured peak, in real steps on this machine.

    python benchmarks/memory_forecast.py              # base-work networks at 128 x 128 px, batch 4, 8 and 16
    python benchmarks/memory_forecast.py --batches 8 16 32

For every case: the forecast (fake tensors, no weights in memory), the peak that the allocator reports over two real
steps, and the error. On a machine with CUDA the peak is torch.cuda.max_memory_allocated, and `reserved` is compared as
well; here that column says not_verified. Then the same for drawing pictures, what a forecast itself costs in a fresh
process, the lines of other steps at this size, and the base work's own figures beside what its three runs would take
of a card.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import mse_loss

from ganlet.artifact import Stage
from ganlet.compress.distill import distill_plan
from ganlet.export.onnx_export import onnx_bytes
from ganlet.files import MIB
from ganlet.losses import gradient_penalty
from ganlet.memory.forecast import forecast, place_of
from ganlet.memory.measure import measure
from ganlet.memory.sampling import forecast_sampling, measure_sampling
from ganlet.models.families import build_generator
from ganlet.recipe import parse_recipe
from ganlet.training.plan import Plan, planned_stage, teacher_plan
from ganlet.training.steps import Step, draw, frozen
from training_step import PUBLISHED

CRITIC = {"widths": [64, 128, 256, 512, 1024], "norm": "instance", "spectral": False}
TEACHER = {"widths": [2048, 1024, 512, 256, 128], "critic": CRITIC}
STUDENT = {"widths": [512, 256, 128, 64], "strides": [4, 2, 2, 2], "alpha": 0.05, "critic": CRITIC}
NARROW = STUDENT | {"widths": [120, 72, 36, 20]}  # channels that fill no whole block of oneDNN's
BATCHES = (8, 16, 32, 64)


def plan_of(loss: str, batch: int, student: dict[str, Any] | None = None, **train: Any) -> Plan:
    train = {"batch": batch, "ema": 0.0} | train
    tables = {
        "run": {"name": "benchmark"},
        "data": {"source": "kittens", "size": 128},
        "teacher": TEACHER | {"loss": loss, "train": train},
        "distill": (student or STUDENT) | {"train": train},
    }
    recipe = parse_recipe(tables)
    teacher = teacher_plan(recipe)
    stage: Stage = planned_stage(teacher)
    return distill_plan(recipe, stage) if student else teacher


def with_frozen_layers(plan: Plan) -> Plan:
    return replace(plan, freeze_generator=2, freeze_critic=4)


def with_spectral_critic(plan: Plan) -> Plan:
    return replace(plan, critic=plan.critic.model_copy(update={"norm": "none", "spectral": True}))


CASES: dict[str, Callable[[int], Plan]] = {
    "wgan-gp": lambda batch: plan_of("wgan-gp", batch),
    "wgan-gp, average": lambda batch: plan_of("wgan-gp", batch, ema=0.99),
    "non-saturating": lambda batch: plan_of("non-saturating", batch),
    "frozen 2 / 4": lambda batch: with_frozen_layers(plan_of("wgan-gp", batch)),
    "distillation": lambda batch: plan_of("non-saturating", batch, STUDENT),
    "minimax": lambda batch: plan_of("minimax", batch),
    "least-squares": lambda batch: plan_of("least-squares", batch),
    "hinge, spectral critic": lambda batch: with_spectral_critic(plan_of("hinge", batch)),
    "wgan-gp, 2 parts": lambda batch: plan_of("wgan-gp", batch, accumulate=2),
    "distillation, 2 parts": lambda batch: plan_of("non-saturating", batch, STUDENT, accumulate=2),
    "distillation, narrow": lambda batch: plan_of("non-saturating", batch, NARROW),
    "pixels alone, MSE": lambda batch: plan_of("non-saturating", batch, NARROW | {"alpha": 0.0}),
    "pixels alone, L1": lambda batch: plan_of("non-saturating", batch, NARROW | {"alpha": 0.0, "pixel": "l1"}),
}


# ---------------------------------------------------------------- forecast against measurement


def training(batches: list[int], device: str) -> dict[str, Any]:
    errors: list[float] = []
    exact = nearly = 0
    longest_s = 0.0
    print(f"{'case':22} {'batch':>5} {'forecast':>9} {'measured':>9} {'error':>8} {'seconds':>8}  reserved on a card")
    for name, make in CASES.items():
        for batch in batches:
            plan = make(batch)
            started = time.process_time()
            found = forecast(plan, place_of(device))
            seconds = time.process_time() - started
            seen = measure(plan, device)
            error = seen.error_percent(found.peak_mib)
            errors.append(error)
            off_bytes = round(abs(found.peak_mib - seen.peak_mib) * MIB)
            exact += off_bytes == 0
            nearly += off_bytes <= 16
            longest_s = max(longest_s, seconds)
            measured = seen.peaks.reserved_memory_mib
            reserved = f"{forecast(plan).reserved_mib:.0f}, measured {measured or 'not_verified'}"
            figures = f"{found.peak_mib:9.2f} {seen.peak_mib:9.2f} {error:+7.2f} % {seconds:7.1f}"
            print(f"{name:22} {batch:5} {figures}  {reserved}", flush=True)
    worst = max(errors, key=abs)
    return {
        "cases": len(errors),
        "worst_error_percent": round(worst, 3),
        "equal_to_the_byte": exact,
        "within_16_bytes": nearly,
        "longest_forecast_processor_s": round(longest_s, 2),
    }


def sampling() -> dict[str, Any]:
    """Forecast and measurement of drawing pictures, in fresh processes on the processor."""
    errors = []
    inside = []
    print(f"\n{'drawing':22} {'batch':>5} {'forecast':>18} {'measured':>9}  whole process")
    for name, config in (("teacher", plan_of("wgan-gp", 2).generator), ("student", CASES["distillation"](2).generator)):
        rows = measure_sampling(config, forecast_sampling(config, "cpu"), onnx_bytes(build_generator(config), ""))
        for row in rows:
            assert row.peak_mib is not None and row.measured_mib is not None and row.process_mib is not None
            low, high = row.peak_mib
            told = f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"
            case = f"{name}, {row.runtime}"
            print(f"{case:22} {row.batch:5} {told:>18} {row.measured_mib:9.1f}  {row.process_mib:.1f}", flush=True)
            if low == high:
                errors.append(100 * (low / row.measured_mib - 1))
            else:
                inside.append(low <= row.measured_mib <= high)
    worst = max(errors, key=abs)
    return {"torch_worst_error_percent": round(worst, 3), "onnxruntime_inside": f"{sum(inside)} of {len(inside)}"}


def own_cost_mib() -> float:
    """Peak of a fresh process that forecasts the largest case at batch 512, all libraries included."""
    code = "from memory_forecast import CASES, forecast\nfrom ganlet.device.footprint import peak_memory_mib as peak\n"
    code += "for place in ('cuda', 'cpu'): forecast(CASES['wgan-gp, average'](512), place)\nprint(peak())"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    return float(done.stdout)


# ---------------------------------------------------------------- the lines of other steps


def one_backward(state: Any, reals: Any, rng: Any, section: Any) -> dict[str, Any]:
    """WGAN-GP with one backward for the whole loss of the critic: all its graphs are held at once."""
    real = torch.as_tensor(reals(0).pictures)
    _keep_inputs(state)
    with torch.autocast("cpu", torch.bfloat16, enabled=state.autocast):
        with torch.no_grad():
            fake = state.generator(**draw(state, len(real), rng))
        difference = state.critic(fake).mean() - state.critic(real).mean()
        penalty = gradient_penalty(state.critic, real, fake, torch.rand(len(real), generator=rng))
        loss = difference + 10 * penalty
    _update(state.critic_adam, loss)
    del loss, penalty, difference
    with frozen(state.critic), torch.autocast("cpu", torch.bfloat16, enabled=state.autocast):
        _update(state.generator_adam, -state.critic(state.generator(**draw(state, len(real), rng))).mean())
    return {}


def same_pictures(state: Any, reals: Any, rng: Any, section: Any) -> dict[str, Any]:
    """Distillation that keeps the student's graph during the critic's update, to use the same pictures in both."""
    real = torch.as_tensor(reals(0).pictures)
    _keep_inputs(state)
    z = draw(state, len(real), rng)["z"]
    drawn = state.generator(z)
    with torch.no_grad():
        taught = state.teacher(z)
    ones, zeros = torch.ones(len(real)), torch.zeros(len(real))
    judged = bce(state.critic(real), ones) + bce(state.critic(drawn.detach()), zeros)
    _update(state.critic_adam, judged)
    del judged
    with frozen(state.critic):
        _update(state.generator_adam, 0.05 * bce(state.critic(drawn), ones) + 0.95 * mse_loss(drawn, taught))
    return {}


def _keep_inputs(state: Any) -> None:
    """Activations that do not overwrite their inputs."""
    for network in (state.generator, state.critic, state.teacher):
        for module in network.modules() if network is not None else ():
            if hasattr(module, "inplace"):
                module.inplace = False


def _update(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


def published(stage: str) -> Step:
    """The base work's step as it was published (training_step.py), its teacher training along."""

    def step(state: Any, reals: Any, rng: Any, section: Any) -> dict[str, Any]:
        if state.teacher is not None:
            state.teacher.requires_grad_(True).train()
        PUBLISHED[stage](state, reals, rng)
        return {}

    return step


def stepping(case: str, step: Step, **train: Any) -> Callable[[int], Plan]:
    return lambda batch: replace(CASES[case](batch), step=step).with_train(**train)


# Lines noted in MiB before this package existed: (fixed, per picture of the batch). Such a step did one backward for
# the whole loss of the critic, kept the inputs of its activations, and used the student's pictures for both updates.
NOTED = {"wgan-gp": (858, 29.95), "bf16": (901, 16.55), "frozen": (415, 18.9), "distillation": (497, 15.75)}
LINES: dict[str, tuple[str, Callable[[int], Plan]]] = {
    "that step, wgan-gp": ("wgan-gp", stepping("wgan-gp", one_backward)),
    "that step, bf16": ("bf16", stepping("wgan-gp", one_backward, amp="bf16")),
    "that step, frozen 2 / 4": ("frozen", stepping("frozen 2 / 4", one_backward)),
    "that step, distillation": ("distillation", stepping("distillation", same_pictures)),
    "our step, wgan-gp": ("wgan-gp", CASES["wgan-gp"]),
    "our step, frozen 2 / 4": ("frozen", CASES["frozen 2 / 4"]),
    "our step, distillation": ("distillation", CASES["distillation"]),
}


def lines() -> dict[str, Any]:
    print("\nforecast at batch 32 and 64, MiB, and its line, against the line that was noted for such a step")
    worst = 0.0
    for name, (kind, make) in LINES.items():
        at = {batch: forecast(make(batch)).peak_mib for batch in (32, 64)}
        slope, (fixed, per_picture) = (at[64] - at[32]) / 32, NOTED[kind]
        off = {batch: 100 * (mib / (fixed + per_picture * batch) - 1) for batch, mib in at.items()}
        told = ", ".join(f"{at[batch]:6.0f} ({off[batch]:+.1f} %)" for batch in at)
        print(
            f"{name:24} {told}  {at[32] - 32 * slope:5.0f} + {slope:.2f} B, noted {fixed} + {per_picture} B", flush=True
        )
        if name.startswith("that step"):
            worst = max(worst, *off.values(), key=abs)
    return {"noted_lines_worst_percent": round(worst, 2)}


PUBLISHED_GB: dict[str, tuple[float, str, Step]] = {  # of a GTX 1660 Ti Max-Q
    "plain": (4.03, "wgan-gp", published("teacher")),
    "frozen 2 / 4": (1.45, "frozen 2 / 4", published("teacher")),
    "distillation": (1.89, "distillation", published("student")),
}


def base_work() -> None:
    print("\nthe base work's runs on a card, GB with assumed context and workspace; its batch is not told")
    print(f"{'run':14} {'batch':>5} {'our step':>14} {'published step':>16}  its table")
    for name, (published_gb, case, step) in PUBLISHED_GB.items():
        for batch in BATCHES:
            makes = (CASES[case], stepping(case, step))
            spans = [[mib * MIB / 1e9 for mib in forecast(make(batch)).card_mib] for make in makes]
            told = [f"{low:.2f} to {high:.2f}" for low, high in spans]
            print(f"{name:14} {batch:5} {told[0]:>14} {told[1]:>16}  {published_gb}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[4, 8, 16])
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"torch {torch.__version__} on {device}, {torch.backends.cpu.get_cpu_capability()}; MiB")
    result = training(options.batches, device)
    result |= sampling()
    result["forecasting_process_mib"] = round(own_cost_mib(), 1)
    print(f"\na fresh process that forecasts batch 512 twice: {result['forecasting_process_mib']} MiB at its peak")
    result |= lines()
    base_work()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
