"""Forecast of training memory against the allocator's measured peak, in real steps on this machine.

    python benchmarks/memory_forecast.py              # base-work networks at 128 x 128 px, batch 2, 4 and 8
    python benchmarks/memory_forecast.py --batches 8 16 32

For every case: the forecast (fake tensors, no weights in memory), the peak that the allocator reports over two real
steps, and the error. On a machine with CUDA the peak is torch.cuda.max_memory_allocated, and `reserved` is compared as
well; here that column says not_verified. Then the base work's own figures beside what its three runs would reserve.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from ganlet.artifact import Stage
from ganlet.compress.distill import distill_plan
from ganlet.files import MIB
from ganlet.memory.forecast import forecast
from ganlet.memory.measure import measure
from ganlet.recipe import parse_recipe
from ganlet.training.plan import Plan, planned_stage, teacher_plan

CRITIC = {"widths": [64, 128, 256, 512, 1024], "norm": "instance", "spectral": False}
TEACHER = {"widths": [2048, 1024, 512, 256, 128], "critic": CRITIC}
STUDENT = {"widths": [512, 256, 128, 64], "strides": [4, 2, 2, 2], "alpha": 0.05, "critic": CRITIC}
PUBLISHED_GB = {"wgan-gp": 4.03, "frozen 2 / 4": 1.45, "distillation": 1.89}  # the base work's table, GTX 1660 Ti Max-Q


def plan_of(loss: str, batch: int, distilled: bool = False, ema: float = 0.0) -> Plan:
    train = {"batch": batch, "ema": ema}
    tables = {
        "run": {"name": "benchmark"},
        "data": {"source": "kittens", "size": 128},
        "teacher": TEACHER | {"loss": loss, "train": train},
        "distill": STUDENT | {"train": train},
    }
    recipe = parse_recipe(tables)
    teacher = teacher_plan(recipe)
    stage: Stage = planned_stage(teacher)
    return distill_plan(recipe, stage) if distilled else teacher


CASES: dict[str, Callable[[int], Plan]] = {
    "wgan-gp": lambda batch: plan_of("wgan-gp", batch),
    "wgan-gp, average": lambda batch: plan_of("wgan-gp", batch, ema=0.99),
    "non-saturating": lambda batch: plan_of("non-saturating", batch),
    "frozen 2 / 4": lambda batch: replace(plan_of("wgan-gp", batch), freeze_generator=2, freeze_critic=4),
    "distillation": lambda batch: plan_of("non-saturating", batch, distilled=True),
    "wgan-gp, 2 parts": lambda batch: plan_of("wgan-gp", batch).with_train(accumulate=2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[2, 4, 8])
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"torch {torch.__version__} on {device}; MiB")
    print(f"{'case':18} {'batch':>5} {'forecast':>9} {'measured':>9} {'error':>8} {'seconds':>8}  reserved")
    errors: list[float] = []
    exact = 0
    for name, make in CASES.items():
        for batch in options.batches:
            plan = make(batch)
            started = time.monotonic()
            found = forecast(plan)
            seconds = time.monotonic() - started
            seen = measure(plan, device)
            error = seen.error_percent(found.peak_mib)
            errors.append(error)
            exact += abs(found.peak_mib - seen.peak_mib) * MIB < 1
            reserved = f"forecast {found.reserved_mib:.0f}, measured "
            reserved += f"{torch.cuda.max_memory_reserved() / MIB:.0f}" if device == "cuda" else "not_verified"
            figures = f"{found.peak_mib:9.2f} {seen.peak_mib:9.2f} {error:+7.2f} % {seconds:7.1f}"
            print(f"{name:18} {batch:5} {figures}  {reserved}", flush=True)
    print("\nthe base work's runs: what they would take of a card, against its table (its batch is not told)")
    for name, published_gb in PUBLISHED_GB.items():
        for batch in (8, 16, 32, 64):
            found = forecast(CASES[name](batch))
            low, high = (mib * MIB / 1e9 for mib in found.card_mib)
            print(f"{name:18} {batch:5} {low:6.2f} to {high:.2f} GB, published {published_gb} GB")
    worst = max(errors, key=abs)
    print(json.dumps({"cases": len(errors), "worst_error_percent": round(worst, 3), "equal_to_the_byte": exact}))


if __name__ == "__main__":
    main()
