"""Work on many items in threads, results in order. Pillow, zlib and hashlib release the interpreter lock."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Condition
from typing import TypeVar

from ganlet.files import MIB
from ganlet.limits import processor_limit

Item = TypeVar("Item")
Result = TypeVar("Result")


def worker_count() -> int:
    """Threads worth starting: the processors this process may use, 16 at most."""
    return min(processor_limit().count, 16)


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], most_held: int | None = None
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order; at most `most_held` results (4 a thread) exist at any time."""
    workers = min(worker_count(), most_held or worker_count())
    window_length = most_held or 4 * workers
    with ThreadPoolExecutor(workers) as pool:
        window: deque[Future[Result]] = deque()
        try:
            for item in items:
                window.append(pool.submit(function, item))
                if len(window) >= window_length:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            for future in window:
                future.cancel()


class Room:
    """Memory that threads share: each waits until its part is free. What is larger than all of it runs alone."""

    def __init__(self, total_bytes: int) -> None:
        self._total = total_bytes
        self._free = total_bytes
        self._changed = Condition()

    @contextmanager
    def of(self, need_bytes: int) -> Iterator[None]:
        """Hold `need_bytes` while the context lasts. A thread must not ask twice at once."""
        part = min(need_bytes, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= part)
            self._free -= part
        try:
            yield
        finally:
            with self._changed:
                self._free += part
                self._changed.notify_all()


DECODING = Room(384 * MIB)
"""Of all pictures that are decoded at once, however many threads there are."""
