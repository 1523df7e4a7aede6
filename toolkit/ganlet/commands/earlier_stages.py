"""Stages in a run's folder that were made before: found complete, taken back, gone on from, or moved aside.

Nothing here loses a stage: one that is not wanted any more is renamed to NAME.previous, NAME.previous2, ...
"""

import glob
import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganlet.artifact import STAGES, Stage, is_stage, load_stage, versions
from ganlet.errors import GanletError
from ganlet.files import copy_onto
from ganlet.recipe import Basis, is_images

if TYPE_CHECKING:
    from ganlet.training.checkpoint import Checkpoint
    from ganlet.training.plan import Plan

CHECKPOINT = "checkpoint"
LOGS = ("metrics.jsonl", "progress", "tensorboard", f"{CHECKPOINT}/cost.json")
IN_WORDS = {
    "data_sha256": "the pictures",
    "source": "the stage that it starts from",
    "source_critic": "the critic that it starts from",
    "threads": "run.threads",
}

Say = Callable[[str], None]


@dataclass(frozen=True)
class EarlierStage:
    """A stage in a folder, complete or not. `changes` are the values that have changed since it was made, None where
    it is too old to tell.
    """

    folder: Path
    changes: frozenset[str] | None
    stage: Stage | None = None
    checkpoint: "Checkpoint | None" = None

    @property
    def is_same(self) -> bool:
        """Whether it stands for what is asked for. Another number of threads changes last bits only."""
        return self.changes is not None and self.changes <= {"threads"}

    @property
    def is_of_other_length(self) -> bool:
        """Whether the number of pictures to train on is all that has changed."""
        changes = [] if self.changes is None else list(self.changes - {"threads"})
        return len(changes) == 1 and is_images(changes[0])


def look(folder: Path, basis: Basis) -> EarlierStage | None:
    """What is in `folder`, or None where there is neither a stage nor a checkpoint. Raises GanletError for damage."""
    from ganlet.training.checkpoint import find_checkpoint

    if is_stage(folder):
        stage = load_stage(folder)
        provenance, images = stage.config["provenance"], stage.training.get("images")
        known = basis.changes_since(stage.key, provenance.get("rests_on"), images if type(images) is int else None)
        return EarlierStage(folder, known, stage=stage)
    checkpoint = find_checkpoint(folder / CHECKPOINT)
    if checkpoint is None:
        return None
    return EarlierStage(
        folder, basis.changes_since(checkpoint.key, checkpoint.note.get("rests_on")), checkpoint=checkpoint
    )


def refuse_damaged(run: Path) -> None:
    """Raise GanletError where an unfinished stage of a run has a damaged checkpoint that stops its training.

    It would be raised later all the same; here it is found before any library is loaded.
    """
    from ganlet.training.checkpoint import open_checkpoint

    for name in STAGES:
        folder = run / name
        if (folder / CHECKPOINT).is_dir() and not is_stage(folder) and not any(run.glob(f"{name}.previous*")):
            open_checkpoint(folder / CHECKPOINT, lambda text: None)


def find_complete(folder: Path, basis: Basis, say: Say) -> Stage | None:
    """The stage in `folder` where it is complete and made of the same; one that was moved aside is taken back."""
    _take_back(folder, basis, say)
    if not is_stage(folder) or (kept := look(folder, basis)) is None or not kept.is_same:
        return None
    other = ", made with another run.threads, which changes its last bits only" if kept.changes else ""
    say(f"{folder.name}: complete, skipped{other}")
    return kept.stage


def begin(folder: Path, basis: Basis, plan: "Plan", say: Say) -> Path | None:
    """Make `folder` ready for training `plan`: with a checkpoint to go on from, or empty.

    What was there and is not wanted is moved aside. Returns the folder of the finished stage that is gone on from, if
    any. Raises GanletError where a checkpoint is there and none is whole.
    """
    kept = look(folder, basis)
    if kept is not None and kept.checkpoint is not None:
        changed = kept.is_of_other_length and _obstacle(plan, kept.checkpoint.step) is None
        if kept.is_same or changed:
            if kept.changes:
                names = _in_words(kept.changes)
                say(f"{folder.name}: goes on from step {kept.checkpoint.step}, from which on {names} is another")
                _give_key(kept.checkpoint, folder, basis)
            return None
    shorter = _to_go_on_from(folder, kept, basis, plan)
    aside = move_aside(folder, basis, say, quietly=shorter is not None and shorter.folder == folder)
    if shorter is None or shorter.stage is None:
        return None
    if shorter.folder == folder and aside is not None:
        shorter = replace(shorter, folder=aside)
    return shorter.folder if _go_on(shorter, folder, basis, plan, say) else None


def move_aside(folder: Path, basis: Basis, say: Say, quietly: bool = False) -> Path | None:
    """Rename a stage made from another recipe, complete or not; the path that it has then."""
    kept = look(folder, basis)
    if kept is None or (kept.stage is None and kept.is_same):
        return None
    previous = _free_name(folder)
    folder.rename(previous)
    if not quietly:
        names = "the recipe or its input" if not kept.changes else _in_words(kept.changes)
        verb = "have" if kept.changes and len(kept.changes) > 1 else "has"
        say(f"{folder.name}: {names} {verb} changed, the old stage is kept as {previous}")
    return previous


def close(folder: Path, plan: "Plan", went_on_from: Path | None) -> None:
    """Of a stage that is finished, keep the last checkpoint where more pictures could go on from it, and no other."""
    from ganlet.training.checkpoint import ASIDE, BEFORE

    for name in (ASIDE, BEFORE):
        with suppress(OSError):
            (folder / CHECKPOINT / name).unlink(missing_ok=True)
    if schedule(plan) is not None:
        shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
    if went_on_from is not None:
        shutil.rmtree(went_on_from / CHECKPOINT, ignore_errors=True)


def schedule(plan: "Plan") -> str | None:
    """What of a plan depends on how many steps there are in all, in words; None where nothing does."""
    alpha, end = getattr(plan.section, "alpha", 0.0), getattr(plan.section, "end_alpha", 0.0)
    if plan.train.decay:
        return f"its learning rates fell over its last part (decay = {plan.train.decay:g})"
    if alpha != end:
        return f"its alpha went from {alpha:g} to {end:g} over all of its steps"
    if plan.unfreeze:
        return "its frozen layers began to learn after shares of all of its steps"
    return None


# ---------------------------------------------------------------- going on


def _obstacle(plan: "Plan", step: int) -> str | None:
    if step > plan.train.steps:
        return f"it has {step} steps already, and {plan.train.steps} are asked for"
    return schedule(plan)


def _to_go_on_from(folder: Path, here: EarlierStage | None, basis: Basis, plan: "Plan") -> EarlierStage | None:
    """The finished stage that differs in its number of pictures alone: the longest that is not too long, else any."""
    every = [kept for kept in [here, *_moved_aside(folder, basis)] if kept is not None]
    finished = [kept for kept in every if kept.stage is not None and kept.is_of_other_length]
    steps = {id(kept): int(kept.stage.training.get("steps", 0)) for kept in finished if kept.stage is not None}
    return max(finished, key=lambda kept: (steps[id(kept)] <= plan.train.steps, steps[id(kept)]), default=None)


def _go_on(shorter: EarlierStage, folder: Path, basis: Basis, plan: "Plan", say: Say) -> bool:
    """Copy checkpoint and logs of a finished stage into `folder`, or say why training starts from step 0."""
    from ganlet.training.checkpoint import find_checkpoint

    assert shorter.stage is not None
    steps = int(shorter.stage.training.get("steps", 0))
    obstacle, checkpoint = _obstacle(plan, steps), None
    if obstacle is None:
        try:
            checkpoint = find_checkpoint(shorter.folder / CHECKPOINT)
            if checkpoint is None:
                obstacle = "its last checkpoint is not there any more, or an earlier version kept none"
            elif checkpoint.step != steps:
                obstacle = f"its checkpoint is of step {checkpoint.step}, not of its end"
        except GanletError as error:
            obstacle = str(error).partition(";")[0]
    if obstacle is not None or checkpoint is None:
        say(f"{folder.name}: starts from step 0, not from the end of the finished stage {shorter.folder}: {obstacle}")
        return False
    for name in LOGS:
        with suppress(OSError, shutil.Error):
            copy_onto(shorter.folder / name, folder / name)
    _give_key(checkpoint, folder, basis)  # last, so that a kill before leaves nothing to mistake for a checkpoint
    say(
        f"{folder.name}: goes on from step {steps} of the finished stage, which is kept as {shorter.folder}; "
        f"{_differences(shorter, plan, steps)}"
    )
    return True


def _differences(shorter: EarlierStage, plan: "Plan", steps: int) -> str:
    """How the result will differ from that of a training of the whole length."""
    assert shorter.stage is not None
    differences = []
    if "threads" in (shorter.changes or ()):
        differences.append("its first part was made with another run.threads")
    made_by, here = shorter.stage.config["provenance"].get("versions", {}), versions()
    if isinstance(made_by, dict) and made_by.get("torch") != here.get("torch"):
        differences.append(f"its first part was made by torch {made_by.get('torch')}")
    if plan.train.evaluate_steps and steps % plan.train.evaluate_steps:
        differences.append(f"its distance was measured at step {steps} as well")
    if not differences:
        return "on the same kind of machine the weights are those of one training of this length, bit by bit"
    return f"unlike one training of this length, {' and '.join(differences)}"


def _give_key(checkpoint: "Checkpoint", folder: Path, basis: Basis) -> None:
    """Write a checkpoint into `folder` under the key of `basis`."""
    from ganlet.training.checkpoint import write_checkpoint

    note: dict[str, Any] = checkpoint.note | {"key": basis.key, "rests_on": basis.values}
    write_checkpoint(folder / CHECKPOINT, checkpoint.tensors(), note)


# ---------------------------------------------------------------- names


def _in_words(changes: frozenset[str]) -> str:
    names = sorted(IN_WORDS.get(name, name) for name in changes)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _free_name(folder: Path) -> Path:
    names = (f"{folder.name}.previous{number if number > 1 else ''}" for number in itertools.count(1))
    return next(path for path in map(folder.with_name, names) if not path.exists())


def _moved_aside(folder: Path, basis: Basis) -> Iterator[EarlierStage]:
    """The stages that were moved aside from `folder`; what is damaged is passed over."""
    for path in sorted(folder.parent.glob(f"{glob.escape(folder.name)}.previous*")):
        with suppress(GanletError):
            if (kept := look(path, basis)) is not None:
                yield kept


def _take_back(folder: Path, basis: Basis, say: Say) -> None:
    """Where another stage, or none, is in `folder`, put the one made of the same there that was once moved aside."""
    with suppress(GanletError):
        here = look(folder, basis)
        if here is not None and here.is_same:
            return
    for kept in _moved_aside(folder, basis):
        if kept.is_same:
            state = "unfinished" if kept.stage is None else "complete"
            # Out of the way of what goes aside, by a name that is found again if this is interrupted.
            waiting = kept.folder.rename(folder.with_name(f"{folder.name}.previous-wanted"))
            if folder.exists():
                folder.rename(_free_name(folder))
            waiting.rename(folder)
            say(f"{folder.name}: {state}, taken back from {kept.folder}")
            return
