"""Where long work tells what it does; the command line draws it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

Update = Callable[[int, int], None]
"""(done, in all)"""


class Observer(Protocol):
    """`say` a sentence; `watch` work of many units, within the context."""

    def say(self, text: str) -> None: ...
    def watch(self, label: str, unit: str) -> AbstractContextManager[Update]: ...
