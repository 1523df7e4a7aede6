"""Forecast of training memory without a graphics card: the very steps that train run on fake tensors.

For a card this is the allocator's view of tensors. A CUDA context and cuDNN's workspaces come on top; they were not
measured here, so they stand apart as intervals and are never added into one number. For the processor, what oneDNN
holds within a convolution is counted instead: its allocator sees it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)

from ganlet.data import Batch
from ganlet.errors import GanletError
from ganlet.files import MIB
from ganlet.memory.allocator import replay
from ganlet.memory.trace import LiveStorages, peak_of, peaks_by_phase
from ganlet.memory.workspace import has_rule, workspace_bytes
from ganlet.models.ports import zeros
from ganlet.training.ema import update_average
from ganlet.training.evaluate import FeatureNetMemory, eval_mode
from ganlet.training.phases import phase
from ganlet.training.plan import Plan, build_state
from ganlet.training.state import State
from ganlet.training.steps import RealBatch

UNSUPPORTED = (
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
    DataDependentOutputException,
    DynamicOutputShapeException,
)
Place = Literal["cuda", "cpu"]

STEPS = 2  # the second step is the first that finds gradients and optimiser state of the one before
CRITIC_UPDATES = 2  # of a step: the third and those after it find what the second found
TIMELINE_POINTS = 200
FORECASTS_KEPT = 64
FEATURE_NET = "feature net"
APART = ("teacher", "perceptual", "average", "best")  # networks that are not trained, each a part of its own

# Assumptions, not measurements of ours. A CUDA context with PyTorch's kernels takes some hundred MiB depending on the
# card and the driver. cuBLAS reserves 8 MiB and more (CUBLAS_WORKSPACE_CONFIG in its documentation); what cuDNN asks
# for depends on the algorithm, and PyTorch falls back to one with less where a card is full.
CONTEXT_MIB = (250.0, 600.0)
WORKSPACE_MIB = (8.0, 512.0)
NOTHING_MIB = (0.0, 0.0)


@dataclass(frozen=True)
class Forecast:
    """Memory of one training stage on a graphics card or on the processor (`place`), in MiB.

    `peak_mib` is the highest sum of live tensors (torch.cuda.max_memory_allocated), `reserved_mib` what PyTorch's
    caching allocator would have taken from the card for them, `parts` what the peak is made of, `phases` the peak of
    each part of a step, `timeline` the live memory over the second step. `context_mib` and `workspace_mib` are assumed,
    and nothing on the processor, which has no allocator that hoards either. A feature net that evaluates while training
    runs on the processor, and counts there: its weights all the time, the rest in a phase of its own after the step.
    """

    stage: str
    batch: int
    place: Place
    peak_mib: float
    peak_phase: str
    reserved_mib: float
    parts: dict[str, float]
    phases: dict[str, float]
    timeline: tuple[tuple[float, str], ...]
    context_mib: tuple[float, float]
    workspace_mib: tuple[float, float]
    notes: tuple[str, ...] = ()
    """What this forecast does not know, a sentence each."""

    @property
    def card_mib(self) -> tuple[float, float]:
        """What the whole process takes of a card, from the least to the most that is assumed; the peak elsewhere."""
        low, high = (context + work for context, work in zip(self.context_mib, self.workspace_mib, strict=True))
        return self.reserved_mib + low, self.reserved_mib + high

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"card_mib": self.card_mib}


@lru_cache(maxsize=FORECASTS_KEPT)
def forecast(plan: Plan, place: Place = "cuda") -> Forecast:
    """Run two steps of `plan` on fake tensors and replay what they allocate on a card, or on the processor.

    It takes a second or more, so that the same plan is forecast once in a process. Of a plan whose frozen layers thaw
    these are steps of its last phase. Raises GanletError naming the stage when an operator has no fake implementation.
    """
    tracker = LiveStorages(workspace_bytes if place == "cpu" else None)
    plan = plan.thawed()
    try:
        last_step = _run(plan, tracker, place)
    except UNSUPPORTED as error:
        named = getattr(error, "func", None) or (str(error).splitlines() or [type(error).__name__])[0]
        raise GanletError(
            f"The memory of {plan.stage} cannot be forecast: the operator {named} does not run on fake tensors, which "
            "hold no numbers; take it out of the step, or choose another loss."
        ) from error
    peak = peak_of(tracker)
    reserved_bytes = replay(tracker.changes).peak_reserved_bytes if place == "cuda" else peak.live_bytes
    return Forecast(
        stage=plan.stage,
        batch=plan.train.batch,
        place=place,
        peak_mib=peak.live_bytes / MIB,
        peak_phase=peak.phase,
        reserved_mib=reserved_bytes / MIB,
        parts={kind: size / MIB for kind, size in peak.kinds.items()},
        phases={name: size / MIB for name, size in peaks_by_phase(tracker).items()},
        timeline=tuple(_timeline(tracker, last_step)),
        context_mib=CONTEXT_MIB if place == "cuda" else NOTHING_MIB,
        workspace_mib=WORKSPACE_MIB if place == "cuda" else NOTHING_MIB,
        notes=tuple(_notes(tracker)) if place == "cpu" else (),
    )


def _notes(tracker: LiveStorages) -> Iterator[str]:
    """What is not known of the operators that ran on the processor."""
    unknown = sorted({str(func.overloadpacket.__name__) for func in tracker.operators if not has_rule(func)})
    if unknown:
        yield (
            f"No rule says what {', '.join(unknown)} hold on the processor beside their inputs and results: the peak "
            "may be higher."
        )


def place_of(device: str) -> Place:
    """Where a torch device keeps its tensors: "cuda:1" is a card; all that has no card's memory counts as processor."""
    return "cuda" if device.startswith("cuda") else "cpu"


def _run(plan: Plan, tracker: LiveStorages, place: Place) -> slice:
    """Two steps under `tracker`. Returns where in its log the second one lies."""
    train, size = plan.train, plan.generator.size_px
    shape = (train.batch, plan.generator.channels, size, size)
    plan = plan.with_train(n_critic=min(train.n_critic, CRITIC_UPDATES))
    before_last = after_last = 0
    with FakeTensorMode():
        state = build_state(plan, None, "cpu")
        state.autocast = train.amp != "off" and place == "cuda"
        _name_tensors(state, tracker)
        pictures = torch.zeros(shape)
        tracker.overlook(pictures)  # on the processor they lie in numpy's memory, which torch's allocator does not see
        label = torch.zeros(train.batch, dtype=torch.int64) if "label" in state.critic.sees else None
        if label is not None:
            tracker.overlook(label)
        reals: RealBatch = lambda position: Batch(pictures, label)  # noqa: E731
        if place == "cuda":  # each batch is copied to the card
            reals = lambda position: Batch(  # noqa: E731
                torch.zeros(shape), None if label is None else torch.zeros_like(label)
            )
        net = plan.feature_net if place == "cpu" and train.evaluate_steps else None
        if net is not None:
            tracker.hold(FEATURE_NET, net.weights_bytes)
        with tracker, _named_gradients(state, tracker):
            for _ in range(STEPS):
                before_last = len(tracker.changes)
                plan.step(state, reals, torch.Generator().manual_seed(0), plan.section)
                if state.average is not None:
                    with phase("average"):
                        update_average(state.average, state.generator, 0.5)
                after_last = len(tracker.changes)
                state.step += 1
                _name_tensors(state, tracker)
            if net is not None:
                _evaluate(state, tracker, net)
                after_last = len(tracker.changes)
    return slice(before_last, after_last)


def _evaluate(state: State, tracker: LiveStorages, net: FeatureNetMemory) -> None:
    """What measuring a generator holds at once: a batch of its pictures, and what the feature net makes of them."""
    with phase("evaluation"), torch.no_grad(), eval_mode(state.current):
        pictures = state.current(**zeros(state.current.ports, net.batch))
        tracker.hold(FEATURE_NET, net.working_bytes)()
        del pictures


def _name_tensors(state: State, tracker: LiveStorages) -> None:
    """Tell the tracker what the tensors between two steps are for."""
    for name, network in (state.networks() | state.still_networks()).items():
        for parameter in network.parameters():
            tracker.watch(parameter, name if name in APART else "parameters")
        for buffer in network.buffers():
            tracker.watch(buffer, "buffers")
    for optimiser in state.optimisers().values():
        for moments in optimiser.state.values():
            for value in moments.values():
                if isinstance(value, Tensor):
                    tracker.watch(value, "optimiser state")


@contextmanager
def _named_gradients(state: State, tracker: LiveStorages) -> Iterator[None]:
    """Name each gradient as soon as it has been added up."""

    def name(parameter: Tensor) -> None:
        if parameter.grad is not None:
            tracker.watch(parameter.grad, "gradients")

    trained = [p for network in state.networks().values() for p in network.parameters() if p.requires_grad]
    hooks = [parameter.register_post_accumulate_grad_hook(name) for parameter in trained]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _timeline(tracker: LiveStorages, step: slice) -> Iterator[tuple[float, str]]:
    """(live MiB, phase) after the changes of one step, thinned, each point the highest of its stretch."""
    live = sum(change.size_bytes for change in tracker.changes[: step.start])
    points: list[tuple[int, str]] = []
    for change in tracker.changes[step]:
        live += change.size_bytes
        points.append((live, change.phase))
    stretch = -(-len(points) // TIMELINE_POINTS)
    for first in range(0, len(points), stretch):
        highest, name = max(points[first : first + stretch])
        yield round(highest / MIB, 3), name
