"""Names for the parts of a step, so that a memory forecast can say where its peak is."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

BETWEEN = "between"
_current: ContextVar[str] = ContextVar("phase", default=BETWEEN)


@contextmanager
def phase(name: str) -> Iterator[None]:
    """What runs within belongs to `name`. Costs a microsecond; nothing listens while training."""
    before = _current.set(name)
    try:
        yield
    finally:
        _current.reset(before)


def current_phase() -> str:
    """The innermost phase that is running, or "between"."""
    return _current.get()
