"""The distance to the data while training: measured at intervals, the best generator kept, an early stop."""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from ganlet.errors import GanletError
from ganlet.models.base import Generator
from ganlet.recipe import Train

LOGGED = "distance_to_data"


class Evaluate(Protocol):
    """A generator in eval mode -> its distance to the data, the less the better; given from outside."""

    def __call__(self, generator: Generator) -> float: ...

    def rehearse(self, generator: Generator) -> None:
        """Do once what measuring does many times, for the measurement of memory; nothing is kept of it."""
        ...

    def tensors(self) -> Iterable[Tensor]:
        """What stays in memory between two measurements: the weights of the feature net."""
        ...


@dataclass(frozen=True)
class FeatureNetMemory:
    """What a feature net takes of the processor's memory: its weights, and the most it holds beside them at once.

    `batch` is the number of pictures that go through it at once.
    """

    batch: int
    weights_bytes: int
    working_bytes: int


@dataclass
class Best:
    """The best generator so far, and how the search for a better one stands. Part of every checkpoint."""

    generator: Generator
    distance: float = math.inf
    step: int = 0
    """Where `generator` was measured; 0 before the first evaluation."""
    evaluated: int = 0
    """The last step that was evaluated."""
    waited: int = 0
    """Evaluations since the best one."""

    def note(self) -> dict[str, Any]:
        """What a checkpoint's header keeps; the weights are among its tensors."""
        known = self.distance if self.step else None
        return {"distance": known, "step": self.step, "evaluated": self.evaluated, "waited": self.waited}

    def restore(self, note: dict[str, Any]) -> None:
        self.distance = math.inf if note["distance"] is None else float(note["distance"])
        self.step, self.evaluated, self.waited = (int(note[key]) for key in ("step", "evaluated", "waited"))

    def is_due(self, step: int, train: Train) -> bool:
        """At every `evaluate_steps` and at the end, once each: also after a resumption in the middle of it."""
        return self.evaluated < step and (step % train.evaluate_steps == 0 or step == train.steps)

    def is_over(self, train: Train) -> bool:
        """Whether the recipe's patience has run out."""
        return bool(train.patience) and self.waited >= train.patience

    def measure(self, evaluate: Evaluate, current: Generator, step: int, stage: str) -> dict[str, float]:
        """Measure `current` at `step`, and keep a copy of it where it is the best so far.

        Returns the line for the log. Raises GanletError when there is no finite distance; nothing is changed then.
        """
        try:
            with eval_mode(current):
                distance = float(evaluate(current))
        except (GanletError, ArithmeticError, ValueError) as error:
            raise _failed(step, stage, str(error).rstrip(".")) from error
        if not math.isfinite(distance):
            raise _failed(step, stage, f"it is {distance}")
        self.evaluated = step
        self.waited += 1
        if distance < self.distance:
            self.distance, self.step, self.waited = distance, step, 0
            with torch.no_grad():
                for mine, theirs in zip(
                    self.generator.state_dict().values(), current.state_dict().values(), strict=True
                ):
                    mine.copy_(theirs)
        return {LOGGED: distance}


def rehearse(evaluate: Evaluate, current: Generator) -> None:
    """What measuring holds at once, held once. Weights that draw no picture are told of by the loss, not here."""
    with eval_mode(current), suppress(GanletError):
        evaluate.rehearse(current)


@contextmanager
def eval_mode(generator: Generator) -> Iterator[None]:
    """Eval mode within, the mode it had afterwards."""
    was_training = generator.training
    generator.eval()
    try:
        yield
    finally:
        generator.train(was_training)


def _failed(step: int, stage: str, why: str) -> GanletError:
    return GanletError(
        f"The distance to the data of {stage} could not be measured at step {step} ({why}); its checkpoint is kept, "
        "mend that and run the same command again to continue."
    )
