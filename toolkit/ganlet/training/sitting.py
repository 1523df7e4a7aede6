"""What a training costs: its time and its peak of memory, over all the sittings that it takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ganlet.errors import GanletError
from ganlet.files import read_json, write_json
from ganlet.training.evaluate import Evaluate, rehearse
from ganlet.training.peak import STEPS, PeakMeter, Peaks
from ganlet.training.state import State

NAME = "cost.json"


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
    say: Callable[[str], None] = lambda text: None
    is_warned: bool = False

    @classmethod
    def open(cls, folder: Path, steps: int, step: int, say: Callable[[str], None] = lambda text: None) -> "Sitting":
        spent = Cost()
        path = folder / "checkpoint" / NAME
        if step and (path.exists() or path.is_symlink()):
            try:
                spent = Cost.of(read_json(path))
            except (GanletError, OSError, ValueError, TypeError, KeyError):
                say(f"{folder.name}: {path} is damaged; time and memory are counted from this step on")
        return cls(folder, steps, spent.seconds, spent.peaks, time.monotonic(), step, say=say)

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
        """Keep what was spent. Where it cannot be written that is said once: no weight depends on it."""
        document = {"step": step, "seconds": self.seconds, "peaks": self.peaks.as_json()}
        try:
            write_json(self.folder / "checkpoint" / NAME, document)
        except GanletError as error:
            if not self.is_warned:
                self.say(f"{self.folder.name}: {str(error).rstrip('.')}; training goes on, its cost is not kept")
            self.is_warned = True


@dataclass(frozen=True)
class Cost:
    """Seconds and peaks of the sittings before."""

    seconds: float = 0.0
    peaks: Peaks = field(default_factory=lambda: Peaks(peak_memory_mib=0.0))

    @classmethod
    def of(cls, document: Any) -> "Cost":
        """As cost.json has it. Raises KeyError, TypeError or ValueError for anything else."""
        peaks = Peaks(**{name: _amount(value) for name, value in dict(document["peaks"]).items()})
        seconds = _amount(document["seconds"])
        if seconds is None or peaks.peak_memory_mib is None:
            raise ValueError("a number is missing")
        return cls(seconds, peaks)


def _amount(value: Any) -> Any:
    """None or a finite number that is not negative."""
    if value is not None and (isinstance(value, bool) or not 0 <= float(value) < float("inf")):
        raise ValueError(f"{value} is no amount")
    return None if value is None else float(value)
