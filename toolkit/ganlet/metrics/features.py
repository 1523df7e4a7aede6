"""Feature nets: pictures in, one vector a picture out. Another net is one class in a file of its own and one line here.

The name of a net is part of every figure's name. `fid_` belongs to the original Inception weights alone; a figure of
any other net, or of Inception with other weights, is an `fd_NET_`.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError
from ganlet.metrics.inception import ORIGINAL_NAMES, Inception
from ganlet.metrics.lite0 import Lite0
from ganlet.metrics.onnx_net import OnnxNet

if TYPE_CHECKING:
    from torch import Tensor


class FeatureNet(Protocol):
    """What the distances know of a feature net."""

    name: str
    dim: int
    protocol: str  # all that decides the figures: weights, resizing, range, layer; hash it beside stored features
    batch: int  # pictures that go through it at once; the features do not depend on it

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (n, dim) of uint8 pictures (n, channels, height, width)."""
        ...

    def tensors(self) -> "Iterable[Tensor]":
        """Its weights, as far as they lie in torch's memory."""
        ...


FEATURES: dict[str, Callable[[], FeatureNet]] = {
    "lite0": Lite0,
    "inception": Inception,
    "inception_clean": lambda: Inception(clean=True),
}


def feature_net(name: str, *, weights: Path | None = None, weights_name: str = "") -> FeatureNet:
    """Load the feature net `name`: a key of `FEATURES`, or the path of an ONNX model (see `OnnxNet`).

    `weights` and `weights_name` are for Inception (see `Inception`). Raises GanletError when the net is unknown, a
    package or file of it is missing or not what it should be, or weights are given to a net that takes none.
    """
    if name in ORIGINAL_NAMES:
        return Inception(clean=name == "inception_clean", weights=weights, weights_name=weights_name)
    if weights is not None or weights_name:
        raise GanletError(
            f"Weights were given but the feature net {name} takes none; leave them out, or use inception."
        )
    if name.lower().endswith(".onnx"):
        return OnnxNet(Path(name))
    if name not in FEATURES:
        raise GanletError(
            f"There is no feature net {name!r}; choose one of {', '.join(sorted(FEATURES))}, or the path of an "
            ".onnx file."
        )
    return FEATURES[name]()


def frechet_metric(net_name: str) -> str:
    """ "fid" for the original Inception weights, "fd" for every other net."""
    return "fid" if net_name in ORIGINAL_NAMES else "fd"
