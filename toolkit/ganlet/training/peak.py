"""Peak memory of tensors while training runs, from the allocator itself."""

import json
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ganlet.device.footprint import peak_memory_mib
from ganlet.files import MIB
from ganlet.training.state import State

STEPS = 2  # the second step is the first that finds gradients and optimiser state of the one before


@dataclass(frozen=True)
class Peaks:
    """What memory training took, in MiB: tensors, and None where the device or the system does not tell.

    `reserved_memory_mib` is what PyTorch's allocator held of a card, `driver_memory_mib` what the driver counted on it
    at the end (other programs included), `process_memory_mib` the peak of this process, all libraries included.
    """

    peak_memory_mib: float
    reserved_memory_mib: float | None = None
    driver_memory_mib: float | None = None
    process_memory_mib: float | None = None

    def highest(self, other: "Peaks") -> "Peaks":
        """The larger of each figure."""
        both = [(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)]
        return Peaks(*(max((mib for mib in pair if mib is not None), default=None) for pair in both))  # type: ignore[arg-type]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


class PeakMeter:
    """Measures from `start` to `stop`, around the first two steps of a sitting.

    CUDA: the allocator's and the driver's own counters. Processor: what lives in `state` at the start, plus the highest
    sum of the allocator's own records since (torch profiler): operators' workspaces included, Python excluded.
    """

    def __init__(self, state: State, also: Iterable[Tensor] = ()) -> None:
        """Start measuring; `also` lives on the processor beside `state`.

        Gradients of earlier steps are dropped: the profiler could not see them being freed.
        """
        for optimiser in state.optimisers().values():
            optimiser.zero_grad(set_to_none=True)
        self.device = state.device
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
            return
        self.live_before = live_bytes([*tensors_of(state), *also])
        self.profile = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True)
        self.profile.start()

    def stop(self) -> Peaks:
        """Peaks since the start; that of the process is since its own start."""
        if self.device.type == "cuda":
            free_bytes, total_bytes = torch.cuda.mem_get_info(self.device)
            return Peaks(
                peak_memory_mib=torch.cuda.max_memory_allocated(self.device) / MIB,
                reserved_memory_mib=torch.cuda.max_memory_reserved(self.device) / MIB,
                driver_memory_mib=(total_bytes - free_bytes) / MIB,
                process_memory_mib=peak_memory_mib(),
            )
        self.profile.stop()
        return Peaks((self.live_before + highest_sum(self.profile)) / MIB, process_memory_mib=peak_memory_mib())


def tensors_of(state: State) -> Iterable[Tensor]:
    """Every tensor that lives between two steps: weights, buffers, gradients, optimiser state, teacher."""
    networks = [*state.networks().values(), *state.still_networks().values()]
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


def highest_sum(profile: torch.profiler.profile) -> int:
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
