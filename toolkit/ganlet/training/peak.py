"""Peak memory of tensors while something runs, from the allocator itself."""

import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from ganlet.files import MIB
from ganlet.training.state import State

Result = TypeVar("Result")


def peak_of(work: Callable[[], Result], state: State) -> tuple[Result, float]:
    """Run `work` once; return its result and the peak of allocated tensor memory in MiB.

    CUDA: `max_memory_allocated`. Processor: what lies in `state` before, plus the highest sum of the allocator's own
    records (torch profiler), workspaces inside operators included, Python and libraries excluded.
    """
    if state.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(state.device)
        result = work()
        return result, torch.cuda.max_memory_allocated(state.device) / MIB
    before = live_bytes(tensors_of(state))
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = work()
    return result, (before + _highest_sum(profile)) / MIB


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
