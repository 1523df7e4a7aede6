"""What can be found wrong before hours of work: packages, sources, folder, disk, memory."""

import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ganlet.artifact import find_stage
from ganlet.device.runtimes import check_onnxruntime_conflict, load_onnxruntime
from ganlet.errors import GanletError
from ganlet.files import MB, write_failed
from ganlet.recipe import Recipe, save_recipe

if TYPE_CHECKING:
    from ganlet.training.plan import Plan


def preflight(recipe: Recipe, run: Path) -> None:
    """Raise GanletError for what would fail after hours: packages, sources, folder, disk, memory."""
    require_training_packages()
    check_onnxruntime_conflict()
    load_onnxruntime()
    from ganlet.metrics import feature_net
    from ganlet.training.loop import pick_device

    if recipe.run.threads is not None:
        import torch

        torch.set_num_threads(recipe.run.threads)
    pick_device(recipe.run.device)
    feature_net(recipe.verify.features)
    plans = plans_of(recipe)
    require_memory(recipe, plans)
    try:
        run.mkdir(parents=True, exist_ok=True)
        save_recipe(recipe, run / "recipe.toml")
        free_mb = shutil.disk_usage(run).free / MB
    except OSError as error:
        raise write_failed(run, error) from error
    needed_mb = disk_mb(plans)
    if free_mb < needed_mb:
        raise GanletError(
            f"{run} has {free_mb:.0f} MB free and this recipe writes about {needed_mb:.0f} MB; free some space, or "
            "choose another disk with --out."
        )


def plans_of(recipe: Recipe) -> "list[Plan]":
    """The training stages of a recipe, each planned from the one before as if that were trained already.

    Raises GanletError when a run that the recipe starts from is missing or does not fit.
    """
    from ganlet.compress.distill import distill_plan
    from ganlet.compress.freeze import transfer_plan
    from ganlet.training.plan import planned_stage, teacher_plan

    plans = [teacher_plan(recipe)] if recipe.teacher is not None else []
    if recipe.transfer is not None:
        plans.append(transfer_plan(recipe, find_stage(Path(recipe.transfer.source_run))))
    if recipe.distill is not None:
        path = recipe.distill.teacher_run
        plans.append(distill_plan(recipe, find_stage(Path(path)) if path else planned_stage(plans[-1])))
    return plans


def require_memory(recipe: Recipe, plans: "Sequence[Plan]") -> None:
    """Raise GanletError when a stage cannot fit the recipe's training budget, or the memory that is there."""
    from ganlet.memory.forecast import forecast
    from ganlet.memory.planner import require_weights_fit
    from ganlet.training.guard import largest_batch, memory_mib, section_of

    limit_mib = recipe.budget.training_memory_mib or float("inf")
    there_mib = memory_mib(recipe.run.device)
    for plan in plans:
        found = forecast(plan)
        require_weights_fit(found, limit_mib, "The budget training_memory_mib")
        lowest_mib = min(limit_mib, there_mib)
        if found.peak_mib > lowest_mib:
            fits = largest_batch(plan, lowest_mib, lambda other: forecast(other).peak_mib)
            remedy = f"--set {section_of(plan)}.train.batch={fits} would fit" if fits else "make its networks narrower"
            asked = "the budget allows" if limit_mib <= there_mib else "this device has"
            raise GanletError(
                f"Training {plan.stage} at batch {plan.train.batch} needs about {found.peak_mib:.0f} MiB of tensors, "
                f"but {asked} {lowest_mib:.0f} MiB; {remedy}."
            )


def disk_mb(plans: "Sequence[Plan]") -> float:
    """Megabytes that a run writes: per stage a checkpoint (weights, average, two moments), twice for the atomic rename,
    and the results.
    """
    from ganlet.models import build_critic, build_generator

    total = 20.0  # logs, pictures, the page
    for plan in plans:
        networks = (build_generator(plan.generator), build_critic(plan.critic))
        total += sum(p.numel() for network in networks for p in network.parameters()) * 4 * (2 * 4 + 2) / MB
    return total


def require_training_packages() -> None:
    """Raise GanletError naming what is missing of the packages that training, export and verification need."""
    missing = [
        name
        for name in ("torch", "onnx", "onnxscript", "safetensors", "scipy", "jinja2", "matplotlib")
        if not find_spec(name)
    ]
    if missing:
        raise GanletError(
            f'This needs {", ".join(missing)}, not installed here; run `pip install "ganlet[train,cpu]"` first.'
        )
