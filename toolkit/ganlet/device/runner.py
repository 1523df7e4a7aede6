"""The one interface of every backend: latents in, pictures out. FID, parity, budgets and sampling know nothing else."""

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError

FEW = 8192  # numbers; BLAS would wake its threads for more


class Runner(Protocol):
    """A generator loaded on some runtime.

    `latent_dim`: values in a latent. `picture_shape`: (channels, height, width). `classes`: number of labels of a
    conditional generator, else None. `name`: what messages call it. `provider`: what really runs it.
    """

    @property
    def latent_dim(self) -> int: ...
    @property
    def picture_shape(self) -> tuple[int, int, int]: ...
    @property
    def classes(self) -> int | None: ...
    @property
    def name(self) -> str: ...
    @property
    def provider(self) -> str: ...

    def __call__(self, z: NDArray[np.float32], label: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
        """z float32 (N, latent_dim), label int64 (N,) if conditional -> float32 (N, *picture_shape) in [-1, 1]."""
        ...


def check_inputs(runner: Runner, z: Any, label: Any) -> None:
    """Raise GanletError unless `z` is finite float32 (N >= 1, latent_dim), and `label` int64 (N,) if conditional."""
    if not isinstance(z, np.ndarray) or z.dtype != np.float32 or z.ndim != 2 or z.shape[1] != runner.latent_dim:
        raise GanletError(
            f"{runner.name} got latents of {_describe(z)}; expected float32 (N, {runner.latent_dim}), as "
            "ganlet.device.latents draws them."
        )
    if len(z) == 0 or not all_finite(z):
        raise GanletError(f"{runner.name} got {len(z)} latents; expected one or more, all finite numbers.")
    if runner.classes is None:
        if label is not None:
            raise GanletError(f"{runner.name} got a label, but it is not conditional; leave the label out.")
        return
    if not isinstance(label, np.ndarray) or label.dtype != np.int64 or label.shape != (len(z),):
        raise GanletError(f"{runner.name} got labels of {_describe(label)}; expected int64 ({len(z)},), one a latent.")
    if label.min() < 0 or label.max() >= runner.classes:
        raise GanletError(
            f"{runner.name} got labels from {label.min()} to {label.max()}; expected 0 to {runner.classes - 1}."
        )


def check_pictures(runner: Runner, pictures: Any, count: int) -> None:
    """Raise GanletError unless `pictures` is float32 (count, channels, height, width) without NaN or infinity."""
    expected = (count, *runner.picture_shape)
    if not isinstance(pictures, np.ndarray) or pictures.dtype != np.float32 or pictures.shape != expected:
        raise GanletError(f"{runner.name} drew {_describe(pictures)}; expected float32 {expected}; export it again.")
    if not all_finite(pictures):
        raise GanletError(
            f"{runner.name} works no more: its pictures hold NaN or infinite values, expected [-1, 1]; export it again "
            "(in fp32, if this is fp16 or int8), or train again with a lower learning rate."
        )


def all_finite(numbers: NDArray[np.float32]) -> bool:
    """Whether none of the numbers is NaN or infinite.

    Of few numbers the sum of squares tells it in half the time, which counts where a picture takes 60 microseconds.
    """
    if numbers.size <= FEW and math.isfinite(np.vdot(numbers, numbers)):
        return True
    return bool(np.isfinite(numbers).all())


def _describe(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
