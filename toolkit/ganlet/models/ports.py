"""Feeds of torch tensors: what a generator is trained with, and what it is tried out with."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ganlet.device.feed import Feed, Ports, feed_at
from ganlet.errors import GanletError

TensorFeed = dict[str, Tensor]
"""A tensor (N, ...) for each port, by its name."""


def draw_feed(ports: Ports, count: int, rng: torch.Generator, device: torch.device | str) -> TensorFeed:
    """A feed of `count` rows for one step of training, from torch's numbers, port by port in their order.

    Raises GanletError for a port whose rows are given by the data.
    """
    feed = {}
    for port in ports:
        if port.name == "z":
            rows = torch.randn(count, *port.shape, generator=rng)
        elif port.name == "label":
            rows = torch.randint(port.classes or 1, (count,), generator=rng)
        elif port.name == "code":
            rows = 2 * torch.rand(count, *port.shape, generator=rng) - 1
        else:
            raise GanletError(f"The input {port.name} of a generator cannot be drawn; take it from the data.")
        feed[port.name] = rows.to(device)
    return feed


def zeros(ports: Ports, count: int, device: torch.device | str = "cpu") -> TensorFeed:
    """A feed of zeros, for tracing and forecasts, which ask for shapes alone."""
    dtypes = {"label": torch.int64}
    return {
        port.name: torch.zeros(count, *port.shape, dtype=dtypes.get(port.name, torch.float32), device=device)
        for port in ports
    }


def as_tensors(feed: Feed, device: torch.device | str = "cpu") -> TensorFeed:
    """The arrays of a feed as tensors."""
    return {name: torch.from_numpy(array).to(device) for name, array in feed.items()}


def seeded_feed(ports: Ports, seed: int, start: int, count: int, **given: Any) -> TensorFeed:
    """`ganlet.device.feed_at` as tensors on the processor: rows by (seed, index)."""
    return as_tensors(feed_at(ports, seed, start, count, **given))


def split_feed(feed: TensorFeed, size: int) -> Iterator[TensorFeed]:
    """The feed in parts of at most `size` rows."""
    parts = [rows.split(size) for rows in feed.values()]
    for some in zip(*parts, strict=True):
        yield dict(zip(feed, some, strict=True))
