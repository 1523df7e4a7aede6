"""Peak memory of tensors while training runs, from the allocator itself."""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor

from ganlet.files import MIB
from ganlet.training.state import State

STEPS = 2  # the second step is the first that finds gradients and optimiser state of the one before


class PeakMeter:
    """Measures from `start` to `stop`, around the first two steps of a sitting.

    CUDA: `max_memory_allocated`. Processor: what lives in `state` at the start, plus the highest sum of the allocator's
    own records since (torch profiler): operators' workspaces included, Python and libraries excluded.
    """

    def __init__(self, state: State) -> None:
        """Start measuring. Gradients of earlier steps are dropped: the profiler could not see them being freed."""
        for optimiser in state.optimisers().values():
            optimiser.zero_grad(set_to_none=True)
        self.device = state.device
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        self.live_before = live_bytes(tensors_of(state))
        self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)
        self.profile.start()

    def stop(self) -> float:
        """Peak since the start, in MiB."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / MIB
        self.profile.stop()
        return (self.live_before + _highest_sum(self.profile)) / MIB


def tensors_of(state: State) -> Iterable[Tensor]:
    """Every tensor that lives between two steps: weights, buffers, gradients, optimiser state, teacher."""
    networks = [*state.networks().values(), *([state.teacher] if state.teacher is not None else [])]
    for network in networks:
        yield from network.buffers()
        for parameter in network.parameters():
            yield parameter
            if parameter.grad is not None:
                yield parameter.grad
    for optimiser in state.optimisers().values():
        for moments in optimiser.state.values():
            yield from (value for value in moments.values() if isinstance(value, Tensor))


def live_bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of the distinct storages behind `tensors`."""
    return sum({t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}.values())


def _highest_sum(profile: torch.profiler.profile) -> int:
    """Highest running sum of the allocations and frees that a profile recorded, in bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8", errors="replace"))["traceEvents"]
    changes = [(e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]"]
    live = highest = 0
    for _, change in sorted(changes, key=lambda event: event[0]):
        live += change
        highest = max(highest, live)
    return highest
