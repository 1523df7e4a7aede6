"""Two real steps of a plan, measured: how far the forecast is from what the allocator says."""

from dataclasses import dataclass

import numpy as np

from ganlet.training.peak import STEPS, PeakMeter
from ganlet.training.plan import Plan, build_state, random_weights
from ganlet.training.state import random_at


@dataclass(frozen=True)
class Measurement:
    """Peak of tensor memory over two real steps, in MiB, and the device that it was measured on."""

    peak_mib: float
    device: str

    def error_percent(self, forecast_mib: float) -> float:
        """How far a forecast lies above (+) or below (-) the measurement."""
        return 100 * (forecast_mib / self.peak_mib - 1)


def measure(plan: Plan, device: str) -> Measurement:
    """Train `plan` for two steps on noise, from random weights, and read the allocator's peak."""
    size = plan.generator.size_px
    shape = (plan.train.batch, plan.generator.channels, size, size)
    pictures = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    state = build_state(plan, random_weights(0, plan.stage), device)
    meter = PeakMeter(state)
    try:
        for step in range(STEPS):
            plan.step(state, lambda position: pictures, random_at(0, plan.stage, step), plan.section)
            state.step += 1
    finally:  # a profiler that still runs crashes the interpreter at its exit
        peak_mib = meter.stop()
    return Measurement(peak_mib, device)
