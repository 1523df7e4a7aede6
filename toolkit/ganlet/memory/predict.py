"""Forecast of training memory without a graphics card: the very steps that train run on fake tensors."""

import weakref
from typing import Any

import numpy as np
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from ganlet.files import MIB
from ganlet.training.peak import tensors_of
from ganlet.training.plan import Plan, build_state


class LiveStorages(TorchDispatchMode):
    """Follows the bytes of distinct tensor storages: counted when an operator first returns one, until it is freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live_bytes = 0
        self.peak_bytes = 0
        self._seen: set[int] = set()

    def watch(self, tensor: torch.Tensor) -> None:
        """Count the storage of `tensor`, once, until it is freed."""
        storage = tensor.untyped_storage()
        identity = storage._cdata
        if identity in self._seen:
            return
        self._seen.add(identity)
        size = storage.nbytes()
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)
        weakref.finalize(storage, self._free, identity, size)

    def _free(self, identity: int, size: int) -> None:
        self._seen.discard(identity)
        self.live_bytes -= size

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for value in tree_iter(result):
            if isinstance(value, torch.Tensor):
                self.watch(value)
        return result


def predicted_peak_mib(plan: Plan) -> float:
    """Peak of live tensor bytes over two steps of `plan`, in MiB: weights, gradients, optimiser state, activations.

    Context and convolution workspaces of a graphics card come on top and are not in this number.
    """
    train = plan.train
    size = plan.generator.size_px
    fake = FakeTensorMode(allow_non_fake_inputs=True)
    with fake:
        state = build_state(plan, lambda generator, critic, teacher: None, "cpu")
        tracker = LiveStorages()
        for tensor in tensors_of(state):
            tracker.watch(tensor)
        shape = (train.batch, plan.generator.channels, size, size)
        with tracker:
            for _ in range(2):
                plan.step(
                    state, lambda position: np.zeros(shape, np.float32), torch.Generator().manual_seed(0), plan.section
                )
                state.step += 1
    return tracker.peak_bytes / MIB
