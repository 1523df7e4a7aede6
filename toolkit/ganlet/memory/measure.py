"""Two real steps of a plan, measured: how far the forecast is from what the allocator says."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ganlet.data import Batch
from ganlet.training.peak import STEPS, PeakMeter, Peaks
from ganlet.training.plan import Plan, build_state, random_weights
from ganlet.training.state import random_at


@dataclass(frozen=True)
class Measurement:
    """What two real steps took, and the device that it was measured on."""

    peaks: Peaks
    device: str

    @property
    def peak_mib(self) -> float:
        """Peak of tensor memory, the figure that a forecast is held against."""
        return self.peaks.peak_memory_mib

    def error_percent(self, forecast_mib: float) -> float:
        """How far a forecast lies above (+) or below (-) the measurement."""
        return 100 * (forecast_mib / self.peak_mib - 1)

    def as_json(self) -> dict[str, Any]:
        return {"device": self.device, **asdict(self.peaks)}


def measure(plan: Plan, device: str) -> Measurement:
    """Train `plan`, thawed as in its last phase, for two steps on noise from random weights, and read the peak."""
    plan = plan.thawed()
    size = plan.generator.size_px
    shape = (plan.train.batch, plan.generator.channels, size, size)
    random = np.random.default_rng(0)
    pictures = random.uniform(-1, 1, shape).astype(np.float32)
    batch = Batch(pictures, random.integers(0, plan.generator.classes or 1, len(pictures)))
    state = build_state(plan, random_weights(0, plan.stage), device)
    meter = PeakMeter(state)
    try:
        for step in range(STEPS):
            plan.step(state, lambda position: batch, random_at(0, plan.stage, step), plan.section)
            state.step += 1
    finally:  # a profiler that still runs crashes the interpreter at its exit
        peaks = meter.stop()
    return Measurement(peaks, device)
