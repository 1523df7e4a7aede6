"""Memory that is not there, said in numbers that help: before any work, and when an allocator refuses all the same."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from ganlet.errors import GanletError
from ganlet.files import MIB
from ganlet.limits import DEVICE, MemoryLimit, memory_limit
from ganlet.memory.forecast import Forecast, forecast, place_of
from ganlet.memory.planner import SMALLEST_BATCH, largest_batch, require_weights_fit
from ganlet.memory.ways import section_of
from ganlet.training.plan import Plan

MARGIN = 0.8  # after a refusal: the share of the memory that the next try may plan with
GROWTH = 1.2
GROWTH_MIB = 80.0
"""What the process takes beside the forecast tensors: workspaces, freed blocks that its allocator keeps, later imports.

The most that was seen at batches of 16 to 1,900 (forecasts of 61 to 673 MiB, one thread) is 1.18 of the forecast, and
some 70 MiB from this check to the first step. It counts under a limit that the kernel enforces by killing.
"""


def require_memory(plans: Sequence[Plan], device: str, budget_mib: float | None) -> None:
    """Raise GanletError when a stage cannot fit the recipe's training budget, or the memory of `device` (torch's name).

    On the processor the limits of a container and of the process count as well.

    Against a card only what certainly does not fit is refused: the least that is assumed for its context counts. Below
    a limit that is no device the growth of the process beside the tensors counts too.
    """
    limit_mib, there = budget_mib or float("inf"), memory_there(device)
    for plan in plans:
        found = forecast(plan, place_of(device))
        require_weights_fit(found, limit_mib, "The budget training_memory_mib")
        if found.peak_mib > limit_mib:
            fits = largest_batch(plan, limit_mib, found.place, _peak_mib)
            asked = f"needs about {found.peak_mib:.0f} MiB of tensors, but the budget allows {limit_mib:.0f} MiB"
            raise _refusal(plan, asked, fits[0] if fits else 0)
        if there is not None and found.card_mib[0] > (usable_mib := _for_tensors_mib(there)):
            fits = largest_batch(plan, usable_mib, found.place)
            grows = (
                ""
                if there.source == DEVICE
                else f" of tensors and {found.card_mib[0] * GROWTH + GROWTH_MIB:.0f} beside"
            )
            asked = f"needs {found.card_mib[0]:.0f} MiB or more{grows}, but {_left_by(there)}"
            raise _refusal(plan, asked, fits[0] if fits else 0)


@contextmanager
def out_of_memory(plan: Plan, predicted_mib: float, device: str) -> Iterator[None]:
    """Turn an allocator's refusal into a sentence: what was asked, what was there, which batch should fit.

    That memory ran out although the forecast fits shows that others hold some of it: half the batch at most.
    """
    before = memory_there(device)
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        # What a limit leaves now is without the tensors that this training holds, so what it left before counts.
        there = before if before is not None and before.source != DEVICE else memory_there(device)
        there_mib = float("inf") if there is None else there.left_bytes / MIB
        fits = largest_batch(plan, MARGIN * there_mib, place_of(device))
        where = f"on a device of {there_mib:.0f} MiB"
        if there is not None and there.source != DEVICE:
            where = f"where {_left_by(there)}"
        asked = f"asks for about {predicted_mib:.0f} MiB of tensors, but memory ran out {where}"
        raise _refusal(plan, asked, min(fits[0], plan.train.batch // 2) if fits else 0) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error is an allocator's refusal: CUDA's own class, or the processor allocator's message."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def memory_there(device: str) -> MemoryLimit | None:
    """The memory of a CUDA card, or the limit that leaves this process the least; None where the system tells none."""
    if device.startswith("cuda"):
        total_bytes = torch.cuda.mem_get_info(device)[1]
        return MemoryLimit(DEVICE, total_bytes, total_bytes)
    return memory_limit()


def _for_tensors_mib(there: MemoryLimit) -> float:
    """What the tensors of a training may take of it."""
    left_mib = there.left_bytes / MIB
    return left_mib if there.source == DEVICE else max(0.0, (left_mib - GROWTH_MIB) / (1.0 + GROWTH))


def _left_by(there: MemoryLimit) -> str:
    if there.source == DEVICE:
        return f"{DEVICE} has {there.left_bytes / MIB:.0f} MiB"
    return f"{there.source} leaves {there.left_bytes / MIB:.0f} of its {there.total_bytes / MIB:.0f} MiB"


def _peak_mib(found: Forecast) -> float:
    return found.peak_mib


def _refusal(plan: Plan, asked: str, fits: int) -> GanletError:
    remedy = "no batch fits, make its networks narrower"
    if fits >= SMALLEST_BATCH:
        remedy = f"a batch of {fits} should fit: --set {section_of(plan)}.train.batch={fits}"
    return GanletError(f"Training {plan.stage} at batch {plan.train.batch} {asked}; {remedy}.")
