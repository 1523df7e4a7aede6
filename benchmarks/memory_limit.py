"""Whether the planner's batch is right: real training steps on the processor under a limit of memory.

    python benchmarks/memory_limit.py                        # base-work networks at 128 x 128 px, a limit for each
    python benchmarks/memory_limit.py --case wgan-gp --limit-mib 2048

For every case the planner names the largest batch whose forecast for the processor stays within the limit. A fresh
process then trains two steps at that batch, and another at 1.25 times that batch, under RLIMIT_AS: the address space
that the process has once torch is loaded and a small network was trained, plus the limit, plus a margin for what
no allocator of torch sees (threads, compiled kernels, the heap's own blocks). The first has to end well, the second out
of memory. Linux only.
"""

import argparse
import json
import math
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from ganlet.data import Batch
from ganlet.files import MIB
from ganlet.memory.forecast import forecast
from ganlet.memory.guard import is_out_of_memory
from ganlet.memory.planner import largest_batch
from ganlet.training.plan import Plan, build_state, random_weights
from ganlet.training.state import random_at
from memory_forecast import CASES

LIMITS_MIB = {"wgan-gp": 2048, "frozen 2 / 4": 1400, "distillation": 1024, "wgan-gp, 2 parts": 1600}
MARGIN_MIB = (
    80  # chosen after 48 and 64, at which two and one of the four first runs did not fit; what is needed is printed
)
OUT_OF_MEMORY = 3
# Large blocks of the C library are given back at once and lie in no heap, so that the limit is not met by holes.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "2"}


def train(plan: Plan, steps: int) -> None:
    size, batch = plan.generator.size_px, plan.train.batch
    pictures = torch.zeros(batch, plan.generator.channels, size, size).numpy()
    state = build_state(plan, random_weights(0, plan.stage), "cpu")
    for step in range(steps):
        plan.step(state, lambda position: Batch(pictures), random_at(0, plan.stage, step), plan.section)
        state.step += 1


def child(case: str, batch: int, limit_mib: float) -> int:
    """Two steps under the limit. Returns the exit code: 0, or OUT_OF_MEMORY."""
    plan = CASES[case](batch)
    train(warm_up(plan), steps=1)
    pictures_mib = batch * 3 * plan.generator.size_px**2 * 4 / MIB  # numpy's, beside what the allocator sees
    before_mib = process_mib("VmSize")
    limit_bytes = int((before_mib + limit_mib + MARGIN_MIB + pictures_mib) * MIB)
    resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
    try:
        train(plan, steps=2)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        return OUT_OF_MEMORY
    beside_mib = process_mib("VmPeak") - before_mib - pictures_mib - forecast(plan, "cpu").peak_mib
    print(f", {beside_mib:.0f} MiB of address space beside the forecast")
    return 0


def process_mib(name: str) -> float:
    """A line of this process's status, such as VmSize, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":")) * 1024 / MIB


def warm_up(plan: Plan) -> Plan:
    """The same kind of step on narrow networks: threads are started and libraries are loaded before the limit."""
    narrow: Callable[[Any], Any] = lambda config: config.model_copy(update={"widths": (4,) * len(config.widths)})  # noqa: E731
    teacher = None if plan.teacher is None else narrow(plan.teacher)
    small = replace(plan, generator=narrow(plan.generator), critic=narrow(plan.critic), teacher=teacher)
    return small.with_train(batch=2 * plan.train.accumulate)


def run(case: str, batch: int, limit_mib: float) -> str:
    command = [
        sys.executable,
        __file__,
        "--child",
        "--case",
        case,
        "--batch",
        str(batch),
        "--limit-mib",
        str(limit_mib),
    ]
    done = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)
    names = {0: "fits" + done.stdout.strip(), OUT_OF_MEMORY: "out of memory"}
    return names.get(done.returncode, f"exit {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=list(LIMITS_MIB))
    parser.add_argument("--limit-mib", type=float)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        return child(options.case, options.batch, options.limit_mib)
    right = 0
    cases = [options.case] if options.case else list(LIMITS_MIB)
    for case in cases:
        limit_mib = options.limit_mib or LIMITS_MIB[case]
        found = largest_batch(CASES[case](2), limit_mib, "cpu")
        if found is None:
            print(f"{case:18} limit {limit_mib:5.0f} MiB: no batch fits")
            continue
        batch, more = found[0], math.ceil(1.25 * found[0])
        above_mib = forecast(CASES[case](more), "cpu").peak_mib
        print(
            f"{case:18} limit {limit_mib:5.0f} MiB: batch {batch} (forecast {found[1].peak_mib:.0f}) "
            f"{(first := run(case, batch, limit_mib))}; batch {more} (forecast {above_mib:.0f}) "
            f"{(second := run(case, more, limit_mib))}",
            flush=True,
        )
        right += first.startswith("fits") and second == "out of memory"
    print(json.dumps({"cases": len(cases), "right": right}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
