"""Out of memory, said in numbers that help."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ganlet.errors import GanletError
from ganlet.files import MIB

if TYPE_CHECKING:
    from ganlet.training.plan import Plan

MEMINFO = Path("/proc/meminfo")
Forecast = Callable[["Plan"], float]


@contextmanager
def out_of_memory(plan: "Plan", predicted_mib: float, forecast: Forecast) -> Iterator[None]:
    """Turn an allocator's refusal into a sentence: what was asked, what was there, which batch would fit."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        there_mib = memory_mib()
        fits = largest_batch(plan, there_mib, forecast)
        remedy = (
            f"a batch of {fits} should fit: --set {section_of(plan)}.train.batch={fits}"
            if fits
            else "no batch fits, make the networks narrower"
        )
        raise GanletError(
            f"Out of memory while training {plan.stage}: batch {plan.train.batch} asks for about "
            f"{predicted_mib:.0f} MiB of tensors and the device has {there_mib:.0f} MiB; {remedy}."
        ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is an allocator's refusal: CUDA's own class, or the processor allocator's message."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def memory_mib(device: str = "auto") -> float:
    """Memory of the CUDA card that `run.device` means, or what the processor has available, in MiB."""
    if torch.cuda.is_available() and device.startswith(("auto", "cuda")):
        return torch.cuda.mem_get_info(None if device == "auto" else device)[1] / MIB
    if MEMINFO.is_file():
        kib = dict(re.findall(r"^(\w+): +(\d+) kB$", MEMINFO.read_text(), re.MULTILINE))
        return int(kib["MemAvailable"]) * 1024 / MIB
    return float("inf")  # the system does not tell; its own refusal is caught while training


def largest_batch(plan: "Plan", there_mib: float, forecast: Forecast) -> int | None:
    """The largest power-of-two fraction of the batch whose forecast leaves a fifth of the memory free."""
    batch = plan.train.batch // 2
    while batch >= 2:
        if forecast(plan.with_train(batch=batch)) <= 0.8 * there_mib:
            return batch
        batch //= 2
    return None


def section_of(plan: "Plan") -> str:
    """The name of the recipe's section that a plan comes from."""
    return {"student": "distill"}.get(plan.stage, plan.stage)
