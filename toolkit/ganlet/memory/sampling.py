"""Forecast of the memory that drawing pictures takes, per runtime and batch, and the measurement beside it.

torch: the generator runs on fake tensors as training does. ONNX Runtime: its arena was watched, not derived, so the
forecast is an interval (see `_onnxruntime`). TensorRT: what an engine declares. None of them holds the runtime's own
code; that is what a measured process has beyond it.
"""

import tempfile
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from ganlet.device.footprint import measure as measure_onnx
from ganlet.device.footprint import peak_memory_mib
from ganlet.errors import GanletError
from ganlet.files import MIB
from ganlet.memory.engine import READ_FROM, declared
from ganlet.memory.forecast import Place
from ganlet.memory.trace import LiveStorages
from ganlet.memory.workspace import workspace_bytes
from ganlet.models.config import GeneratorConfig
from ganlet.models.families import build_generator
from ganlet.models.ports import zeros
from ganlet.training.peak import highest_sum, live_bytes

BATCHES = (1, 16)
MEASURED_CALLS = 3  # the first fills an arena, the second sees the pattern of the first
ONNX_LOAD_MIB = 16.0  # session, graph and threads: 10 to 15 MiB were seen, with weights of 0.5 to 183 MiB


@dataclass(frozen=True)
class Sampling:
    """What drawing `batch` pictures at once takes of one runtime, in MiB; an interval where it is only bounded.

    `measured_mib` is what the forecast speaks of, in a fresh process: torch's allocator, and for ONNX Runtime, whose
    allocator does not tell, the peak of the process less that before it loads the model. `process_mib` is that peak.
    None where an engine tells nothing.
    """

    runtime: str
    batch: int
    weights_mib: float
    scratch_mib: tuple[float, float] | None
    peak_mib: tuple[float, float] | None
    basis: str
    measured_mib: float | None = None
    process_mib: float | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def forecast_sampling(config: GeneratorConfig, place: Place, engines: tuple[Path, ...] = ()) -> list[Sampling]:
    """A row for each runtime and batch, and for each engine, without figures where it declares none."""
    rows = [_torch(config, batch, place) for batch in BATCHES]
    rows += [_onnxruntime(config, batch) for batch in BATCHES]
    return rows + [_tensorrt(engine) for engine in engines]


def measure_sampling(config: GeneratorConfig, rows: list[Sampling], onnx_model: bytes) -> list[Sampling]:
    """The rows of the runtimes that run here, on its processor, each measured in a fresh process.

    `onnx_model` is the generator of `config` as an ONNX file. Raises GanletError when a process dies.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "generator.onnx"
        path.write_bytes(onnx_model)
        return [_measured(row, config, path) for row in rows]


def _torch(config: GeneratorConfig, batch: int, place: Place) -> Sampling:
    """Weights and buffers, and the highest sum of live activations without gradients."""
    weights_bytes, scratch_bytes = _traced(config, batch, place)
    scratch_mib, peak_mib = scratch_bytes / MIB, (weights_bytes + scratch_bytes) / MIB
    basis = "live tensors" if place == "cuda" else "live tensors, copies in convolutions"
    return Sampling("torch", batch, weights_bytes / MIB, (scratch_mib, scratch_mib), (peak_mib, peak_mib), basis)


def _onnxruntime(config: GeneratorConfig, batch: int) -> Sampling:
    """At the least weights and live activations; at the most what loading takes, or an arena used twice over.

    ONNX Runtime reads the whole file and then copies tensor by tensor, so a load holds the weights and the largest of
    them twice. Its arena keeps the blocks of the first call beside the one block that it plans from then on.
    """
    weights_bytes, scratch_bytes = _traced(config, batch, "cuda")
    with torch.device("meta"):
        largest_bytes = max(p.nbytes for p in build_generator(config).parameters())
    loading_mib = (weights_bytes + largest_bytes) / MIB
    low, high = (weights_bytes + scratch_bytes) / MIB, (weights_bytes + 2 * scratch_bytes) / MIB
    return Sampling(
        "onnxruntime",
        batch,
        weights_bytes / MIB,
        (scratch_bytes / MIB, 2 * scratch_bytes / MIB),
        (max(loading_mib, low), max(loading_mib, high) + ONNX_LOAD_MIB),
        "bounds seen on this runtime",
    )


def _tensorrt(engine: Path) -> Sampling:
    try:
        found = declared(engine)
    except GanletError as error:
        return Sampling("tensorrt", 0, engine.stat().st_size / MIB, None, None, f"not verified: {error}")
    scratch, peak = found.scratch_mib, found.weights_mib + found.scratch_mib
    basis = f"declared by {engine.name} ({', '.join(found.targets)}), as {READ_FROM} writes it; not verified"
    return Sampling("tensorrt", 0, found.weights_mib, (scratch, scratch), (peak, peak), basis)


def _traced(config: GeneratorConfig, batch: int, place: Place) -> tuple[int, int]:
    """(bytes of weights and buffers, highest bytes of everything else while `batch` pictures are drawn)."""
    tracker = LiveStorages(workspace_bytes if place == "cpu" else None)
    with FakeTensorMode(), torch.no_grad():  # in inference mode a convolution would pass as one unknown operator
        generator = build_generator(config).eval()
        for tensor in (*generator.parameters(), *generator.buffers()):
            tracker.watch(tensor)
        weights_bytes = tracker.live_bytes
        feed = zeros(generator.ports, batch)
        for rows in feed.values():
            tracker.watch(rows)
        with tracker:
            generator(**feed)
    return weights_bytes, tracker.peak_bytes - weights_bytes


def _measured(row: Sampling, config: GeneratorConfig, path: Path) -> Sampling:
    if row.runtime == "onnxruntime":
        seen = measure_onnx(path, batch=row.batch, runs=MEASURED_CALLS, warmup=0, provider="cpu")
        return replace(row, measured_mib=seen.model_memory_mib, process_mib=seen.peak_memory_mib)
    if row.runtime == "torch":
        measured_mib, process_mib = _in_fresh_process(config, row.batch)
        return replace(row, measured_mib=measured_mib, process_mib=process_mib)
    return row  # an engine does not run without a card


def _in_fresh_process(config: GeneratorConfig, batch: int) -> tuple[float, float | None]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_torch_process, config, batch).result()
        except BrokenProcessPool as error:
            raise GanletError(
                f"The process that draws {batch} pictures with torch died, perhaps of a lack of memory; close other "
                "programs, or make the generator smaller."
            ) from error


def _torch_process(config: GeneratorConfig, batch: int) -> tuple[float, float | None]:
    """(peak of the allocator, of the whole process) in MiB over some calls on the processor."""
    generator = build_generator(config).eval()
    weights_bytes = live_bytes([*generator.parameters(), *generator.buffers()])
    with torch.inference_mode():
        for _ in range(MEASURED_CALLS):
            generator(**zeros(generator.ports, batch))
        process_mib = peak_memory_mib()  # before the profiler, which takes memory of its own
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
            generator(**zeros(generator.ports, batch))
    return (weights_bytes + highest_sum(profile)) / MIB, process_mib
