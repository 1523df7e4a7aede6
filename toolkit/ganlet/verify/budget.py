"""Budgets of the recipe against what was measured."""

from collections.abc import Sequence

from ganlet.device.footprint import Footprint
from ganlet.recipe import Budget
from ganlet.verify.checks import Check, at_most


def check_budget(
    budget: Budget, *, training_peaks_mib: Sequence[float], model_mb: float, footprint: Footprint
) -> list[Check]:
    """One check for each limit of the recipe. `training_peaks_mib` are those of the stages trained in the run."""
    training = max(training_peaks_mib, default=None)
    of_training = "highest peak of tensor memory of a training stage"
    if training is None:
        of_training = "no stage of this run was trained here; leave the budget out, or train one"
    rows = [
        (
            "training memory",
            "MiB",
            budget.training_memory_mib,
            training,
            of_training,
        ),
        ("model", "MB", budget.model_mb, model_mb, "size of generator.onnx"),
        (
            "inference memory",
            "MiB",
            budget.inference_memory_mib,
            footprint.peak_memory_mib,
            f"peak of a fresh process drawing one picture at a time, {footprint.provider}",
        ),
        (
            "latency",
            "ms",
            budget.latency_ms,
            footprint.latency_p50_ms,
            f"median of {footprint.runs} single pictures, {footprint.provider}",
        ),
    ]
    return [
        at_most(name, measured, limit, unit, reason)
        for name, unit, limit, measured, reason in rows
        if limit is not None
    ]
