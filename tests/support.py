"""What tests share besides fixtures."""

from contextlib import nullcontext
from typing import Any


class Silent:
    """An observer that remembers what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.watched: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def watch(self, label: str, unit: str) -> Any:
        self.watched.append(label)
        return nullcontext(lambda done, total: None)
