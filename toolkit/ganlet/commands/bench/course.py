"""What one child has told, round by round, until it could tell no more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ganlet.commands.bench.plan import Settings
from ganlet.errors import GanletError


class Answering(Protocol):
    """What is asked of a child process (`ganlet.commands.bench.child.Child`)."""

    def ready(self) -> dict[str, Any]: ...
    def round(self, calls: int, seconds: float) -> dict[str, Any]: ...
    def close(self) -> None: ...


Start = Callable[[Sequence[str]], Answering]


@dataclass
class Course:
    """What one child has told so far. `reason` is set once it can tell no more."""

    label: str
    command: Sequence[str]
    child: Answering | None = None
    ready: dict[str, Any] = field(default_factory=dict)
    rounds: list[list[float]] = field(default_factory=list)
    """Milliseconds a call, by round."""
    peak_memory_mib: float | None = None
    reason: str = ""

    def attempt(self, step: Callable[[], None]) -> None:
        """Do `step` unless something failed before; when it fails the child is ended, and the reason kept."""
        if self.reason:
            return
        try:
            step()
        except GanletError as error:
            self.reason = str(error)
            self.close()

    def open(self, start: Start) -> None:
        self.child = start(self.command)
        self.ready = self.child.ready()

    def round(self, settings: Settings) -> None:
        assert self.child is not None
        told = self.child.round(settings.runs, settings.round_seconds)
        self.rounds.append([float(ms) for ms in told["latency_ms"]])
        self.peak_memory_mib = told["peak_memory_mib"]

    def close(self) -> None:
        if self.child is not None:
            self.child.close()
            self.child = None

    @property
    def latency_ms(self) -> list[float]:
        return [ms for calls in self.rounds for ms in calls]
