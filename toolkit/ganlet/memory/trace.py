"""Which tensors live when: a log of every storage's birth and death while something runs, on real or fake tensors."""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from ganlet.memory.allocator import Change
from ganlet.training.phases import current_phase

OTHER = "activations"  # what nobody named: activations, and what operators hold between two results
WORKSPACE = "workspace"  # what an operator holds while it runs

Workspace = Callable[[Any, Any, Any], int]
"""Bytes that an operator holds beside its inputs and results: (operator, arguments, results)."""


@dataclass(frozen=True)
class Moment(Change):
    """A storage began to live (size_bytes > 0) or was freed (size_bytes < 0), in a phase of the step."""

    phase: str


class LiveStorages(TorchDispatchMode):
    """Follows distinct tensor storages: one lives from the operator that first returns it until it is freed.

    `workspace` adds what operators hold while they run, which no tensor shows.
    """

    def __init__(self, workspace: Workspace | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.workspace = workspace
        self.operators: set[Any] = set()
        """Every operator that has run."""
        self.changes: list[Moment] = []
        self.live_bytes = 0
        self.peak_bytes = 0
        self._kinds: dict[int, str] = {}
        self._serials: dict[int, int] = {}

    def watch(self, tensor: torch.Tensor, kind: str | None = None) -> None:
        """Follow the storage of `tensor` until it is freed. `kind` names what it is for, all its life long."""
        storage = tensor.untyped_storage()
        identity = storage._cdata
        if identity not in self._serials:
            serial, size_bytes = len(self.changes), storage.nbytes()
            self._serials[identity] = serial
            self._change(serial, size_bytes)
            weakref.finalize(storage, self._free, identity, serial, size_bytes)
        if kind is not None:
            self._kinds[self._serials[identity]] = kind

    def overlook(self, tensor: torch.Tensor) -> None:
        """Never count the storage of `tensor`, which has to outlive the log: its memory is not the allocator's."""
        self._serials[tensor.untyped_storage()._cdata] = -1

    def hold(self, kind: str, size_bytes: int) -> Callable[[], None]:
        """Count bytes that no tensor here shows, until the function returned is called."""
        serial = len(self.changes)
        self._kinds[serial] = kind
        self._change(serial, size_bytes)
        return lambda: self._change(serial, -size_bytes)

    def kind_of(self, serial: int) -> str:
        """What a storage was for."""
        return self._kinds.get(serial, OTHER)

    def _free(self, identity: int, serial: int, size_bytes: int) -> None:
        del self._serials[identity]
        self._change(serial, -size_bytes)

    def _change(self, serial: int, size_bytes: int) -> None:
        self.changes.append(Moment(serial, size_bytes, current_phase()))
        self.live_bytes += size_bytes
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operators.add(func)
        for value in tree_iter(result):
            if isinstance(value, torch.Tensor):
                self.watch(value)
        if self.workspace is not None and (size_bytes := self.workspace(func, args, result)):
            self.hold(WORKSPACE, size_bytes)()
        return result


@dataclass(frozen=True)
class Peak:
    """The highest moment of a log: how much, in which phase, and made of what. All in bytes."""

    live_bytes: int
    phase: str
    kinds: dict[str, int]


def peak_of(tracker: LiveStorages) -> Peak:
    """Replay a tracker's log and find its highest moment."""
    log = tracker.changes
    live = highest = place = 0
    for number, change in enumerate(log):
        live += change.size_bytes
        if live > highest:
            highest, place = live, number
    kinds: dict[str, int] = {}
    for change in log[: place + 1]:
        kind = tracker.kind_of(change.serial)
        kinds[kind] = kinds.get(kind, 0) + change.size_bytes
    return Peak(highest, log[place].phase if log else "", {k: v for k, v in sorted(kinds.items()) if v})


def peaks_by_phase(tracker: LiveStorages) -> dict[str, int]:
    """The highest live bytes seen within each phase, in the order in which phases first come."""
    live = 0
    highest: dict[str, int] = {}
    for change in tracker.changes:
        live += change.size_bytes
        highest[change.phase] = max(highest.get(change.phase, 0), live)
    return highest
