"""What a feature net takes of the processor's memory, where one measures the generator while it trains.

It is the one thing that no fake run has to tell: the net is at hand before training and runs on this very processor,
so one batch goes through it and the allocator's own records are read.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from ganlet.training.evaluate import FeatureNetMemory
from ganlet.training.peak import highest_sum, live_bytes


def feature_net_memory(weights: Iterable[Tensor], batch: int, one_batch: Callable[[], object]) -> FeatureNetMemory:
    """Measure a net: its `weights`, and `one_batch`, which puts `batch` pictures through it."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        one_batch()
    return FeatureNetMemory(batch, live_bytes(weights), highest_sum(profile))
