"""What a training costs: its time and its peak of memory, over all the sittings that it takes."""

import time
from dataclasses import dataclass
from pathlib import Path

from ganlet.files import read_json, write_json
from ganlet.training.evaluate import Evaluate, rehearse
from ganlet.training.peak import STEPS, PeakMeter, Peaks
from ganlet.training.state import State


@dataclass
class Sitting:
    """Seconds spent and peak memory seen, kept beside the checkpoint so that they add up over interruptions."""

    folder: Path
    steps: int
    seconds_before: float
    peaks: Peaks
    started: float
    first_step: int
    measured_from: int = 0
    meter: PeakMeter | None = None

    @classmethod
    def open(cls, folder: Path, steps: int, step: int) -> "Sitting":
        path = folder / "checkpoint" / "cost.json"
        spent = read_json(path) if step and path.is_file() else {}
        peaks = Peaks(**spent.get("peaks", {"peak_memory_mib": 0.0}))
        return cls(folder, steps, spent.get("seconds", 0.0), peaks, time.monotonic(), step)

    @property
    def seconds(self) -> float:
        return self.seconds_before + time.monotonic() - self.started

    def before_step(self, state: State, evaluate: Evaluate | None, *, more_learns: bool = False) -> None:
        """Start the memory measurement with the sitting's first step, and again where more layers learn than before."""
        if not more_learns and state.step != self.first_step:
            return
        self.measured_from = state.step
        if self.meter is None:
            self.meter = PeakMeter(state, evaluate.tensors() if evaluate is not None else ())

    def after_step(self, state: State, evaluate: Evaluate | None) -> None:
        """End it after two steps, or with the last, and what evaluating holds after them."""
        if self.meter is not None and state.step in (self.measured_from + STEPS, self.steps):
            if evaluate is not None:
                rehearse(evaluate, state.current)
            self.peaks = self.peaks.highest(self.meter.stop())
            self.meter = None

    def close(self) -> None:
        """End a measurement that was cut short: a profiler that still runs crashes the interpreter at its exit."""
        if self.meter is not None:
            self.meter.stop()
            self.meter = None

    def save(self, step: int) -> None:
        path = self.folder / "checkpoint" / "cost.json"
        write_json(path, {"step": step, "seconds": self.seconds, "peaks": self.peaks.as_json()})
