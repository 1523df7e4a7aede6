"""Where long work tells what it does; the command line draws it."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

Update = Callable[[int, int], None]
"""(done, in all)"""


class Observer(Protocol):
    """`say` a sentence; `watch` work of many units, within the context."""

    def say(self, text: str) -> None: ...
    def watch(self, label: str, unit: str) -> AbstractContextManager[Update]: ...


@dataclass(frozen=True)
class Hushed:
    """An observer for the short runs inside a search: bars under one name, but not a sentence for every stage."""

    inner: Observer
    name: str

    def say(self, text: str) -> None:
        """A short run has its own line in the end."""

    def watch(self, label: str, unit: str) -> AbstractContextManager[Update]:
        return nullcontext(lambda done, total: None) if label == "data" else self.inner.watch(self.name, unit)
