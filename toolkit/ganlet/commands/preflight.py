"""What can be found wrong before hours of work: packages, sources, folder, disk, memory."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ganlet.artifact import CONFIG, STAGES, Stage, find_stage, is_stage
from ganlet.device.runtimes import check_onnxruntime_conflict, load_onnxruntime
from ganlet.errors import GanletError
from ganlet.files import MB, write_failed
from ganlet.limits import quota_threads
from ganlet.own_files import MANIFEST, REPORT, STAGE, check_not_foreign
from ganlet.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from ganlet.training.plan import Plan


def preflight(recipe: Recipe, run: Path) -> None:
    """Raise GanletError for what would fail after hours: packages, sources, folder, disk, memory.

    Writes nothing into `run`: a refused command leaves a finished run as it was.
    """
    require_training_packages()
    check_onnxruntime_conflict()
    load_onnxruntime()
    from ganlet.memory.guard import require_memory
    from ganlet.metrics import feature_net
    from ganlet.training.loop import pick_device

    set_threads(recipe.run.threads)
    check_names(run)
    device = pick_device(recipe.run.device)
    feature_net(recipe.verify.features)
    plans = [with_feature_net(p, recipe) for p in _trainings(recipe) if not is_complete(recipe, run, p.stage)]
    require_memory(plans, device, recipe.budget.training_memory_mib)
    try:
        run.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=run):  # whether it can be written; nothing of the run is changed here
            free_mb = shutil.disk_usage(run).free / MB
    except OSError as error:
        raise write_failed(run, error) from error
    needed_mb = disk_mb(plans)
    if free_mb < needed_mb:
        raise GanletError(
            f"{run} has {free_mb:.0f} MB free and this recipe writes about {needed_mb:.0f} MB; free some space, or "
            "choose another disk with --out."
        )


def check_names(run: Path) -> None:
    """Raise GanletError where a file of another program has the name of one that a run writes."""
    for path in (run / stage / CONFIG for stage in STAGES):
        check_not_foreign(path, STAGE)
    check_not_foreign(run / "manifest.json", MANIFEST)
    check_not_foreign(run / "report.json", REPORT)


def set_threads(threads: int | None) -> None:
    """Set torch's threads to the recipe's number; without one torch keeps its own, at most the quota of a container."""
    import torch

    quota = quota_threads()
    if threads is not None:
        torch.set_num_threads(threads)
    elif quota is not None and quota < torch.get_num_threads():
        torch.set_num_threads(quota)


def is_complete(recipe: Recipe, run: Path, stage: str) -> bool:
    """Whether RUN/STAGE was finished by this very recipe: nothing is forecast for it then.

    Of other pictures it is made again all the same; its memory is looked at when that turns out.
    """
    return is_stage(run / stage) and is_recipe_of(run, recipe)


def is_recipe_of(run: Path, recipe: Recipe) -> bool:
    """Whether RUN/recipe.toml is this recipe."""
    try:
        return (run / "recipe.toml").is_file() and load_recipe(run / "recipe.toml") == recipe
    except GanletError:
        return False


def plans_of(recipe: Recipe) -> "list[Plan]":
    """The training stages of a recipe, each planned from the one before as if that were trained already.

    Raises GanletError when a run that the recipe starts from is missing or does not fit.
    """
    return [with_feature_net(plan, recipe) for plan in _trainings(recipe)]


def _trainings(recipe: Recipe) -> "list[Plan]":
    """The plans, without what measuring the generators takes."""
    from ganlet.compress.distill import distill_plan
    from ganlet.compress.freeze import transfer_plan
    from ganlet.training.plan import planned_stage, teacher_plan

    plans = [teacher_plan(recipe)] if recipe.teacher is not None else []
    if recipe.transfer is not None:
        plans.append(transfer_plan(recipe, find_stage(Path(recipe.transfer.source_run))))
    if recipe.distill is not None:
        path = recipe.distill.teacher_run
        plans.append(distill_plan(recipe, find_stage(Path(path)) if path else planned_stage(plans[-1])))
    if recipe.compress:
        plans += _compress_plans(recipe, planned_stage(plans[-1]) if plans else None)
    return plans


def _compress_plans(recipe: Recipe, before: Stage | None) -> "list[Plan]":
    """The trainings of [[compress]], of `before` or of another run."""
    from ganlet.compress.cuts import planned_config, tune_plan
    from ganlet.compress.quantize import quantize_plan
    from ganlet.training.load import generator_config_of

    plans: list[Plan] = []
    for step in recipe.compress:
        source = find_stage(Path(step.source_run)) if step.source_run else before
        if source is None:
            raise GanletError(f"[[compress]] of {recipe.run.name} has nothing to {step.method}; name a run by `from`.")
        before = source
        if step.method == "prune":
            config = generator_config_of(source)
            if step.tune is not None:  # the first cut leaves the most to train
                plans.append(tune_plan(recipe, source, planned_config(step, config, 1).widths, 1))
            left = planned_config(step, config, step.rounds).model_dump(mode="json")
            before = replace(source, config=source.config | {"generator": left})
        elif step.tune is not None:
            plans.append(quantize_plan(recipe, source))
    return plans


def with_feature_net(plan: "Plan", recipe: Recipe) -> "Plan":
    """The plan, and what the net takes of memory that measures its generator while it trains, if one does."""
    if not plan.train.evaluate_steps:
        return plan
    from ganlet.memory.feature_net import feature_net_memory
    from ganlet.metrics import feature_net

    net = feature_net(recipe.verify.features)
    pictures = np.zeros((net.batch, recipe.data.channels, recipe.data.size, recipe.data.size), np.uint8)
    memory = feature_net_memory(net.tensors(), net.batch, lambda: net.features(pictures))
    return replace(plan, feature_net=memory)


def disk_mb(plans: "Sequence[Plan]") -> float:
    """Megabytes that a run writes: per stage a checkpoint (weights, average, two moments), three times
    (the newest, the one before and the one that is being written), and the results.
    """
    from ganlet.models.families import build_critic, build_generator

    total = 20.0  # logs, pictures, the page
    for plan in plans:
        networks = (build_generator(plan.generator), build_critic(plan.critic))
        total += sum(p.numel() for network in networks for p in network.parameters()) * 4 * (3 * 4 + 2) / MB
    return total


PACKAGES = (  # by the names that they are imported by
    *("torch", "onnx", "onnxscript", "safetensors", "torch_pruning", "scipy", "sklearn", "jinja2", "matplotlib"),
)


def require_training_packages() -> None:
    """Raise GanletError naming what is missing of the packages that training, export and verification need."""
    missing = [name for name in PACKAGES if not find_spec(name)]
    if missing:
        raise GanletError(
            f'This needs {", ".join(missing)}, not installed here; run `pip install "ganlet[train,cpu]"` first.'
        )
