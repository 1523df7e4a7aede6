"""The one interface of every backend: a feed in, pictures out. FID, parity, budgets and sampling know nothing else."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ganlet.device.feed import Feed, Ports, all_finite, describe
from ganlet.errors import GanletError


class Runner(Protocol):
    """A generator loaded on some runtime.

    `ports`: what it takes. `picture_shape`: (channels, height, width). `name`: what messages call it. `provider`: what
    really runs it.
    """

    @property
    def ports(self) -> Ports: ...
    @property
    def picture_shape(self) -> tuple[int, int, int]: ...
    @property
    def name(self) -> str: ...
    @property
    def provider(self) -> str: ...

    def __call__(self, feed: Feed) -> NDArray[np.float32]:
        """A feed of N rows (`ganlet.device.feed`) -> float32 (N, *picture_shape) in [-1, 1].

        Raises GanletError for a feed that does not fit the ports, when the runtime fails, and for NaN in the pictures.
        """
        ...


def check_pictures(runner: Runner, pictures: Any, count: int) -> None:
    """Raise GanletError unless `pictures` is float32 (count, channels, height, width) without NaN or infinity."""
    expected = (count, *runner.picture_shape)
    if not isinstance(pictures, np.ndarray) or pictures.dtype != np.float32 or pictures.shape != expected:
        raise GanletError(f"{runner.name} drew {describe(pictures)}; expected float32 {expected}; export it again.")
    if not all_finite(pictures):
        raise GanletError(
            f"{runner.name} works no more: its pictures hold NaN or infinite values, expected [-1, 1]; export it again "
            "(in fp32, if this is fp16 or int8), or train again with a lower learning rate."
        )
