"""The quality figures of a set of pictures against a reference, under the keys of report.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ganlet.metrics.features import frechet_metric
from ganlet.metrics.frechet import frechet_influence
from ganlet.metrics.intervals import Figure, figure, paired_figure
from ganlet.metrics.kernel import kernel_influence


def key(metric: str, net: str, count: int) -> str:
    """Name a figure by estimator: `key("fd", "lite0", 2000) == "fd_lite0_2k"`, 1500 pictures are "1500".

    The count is part of the name because the Frechet distance depends on it.
    """
    return f"{metric}_{net}_{count // 1000}k" if count and count % 1000 == 0 else f"{metric}_{net}_{count}"


@dataclass(frozen=True, eq=False)
class Fidelity:
    """Figures of one comparison by key: `fd_NET_COUNT` (squared feature units) and `kid_NET_COUNT` (no unit).

    Of the original Inception the first is `fid_NET_COUNT`.
    """

    net: str
    count: int
    figures: Mapping[str, Figure]

    @property
    def fd(self) -> Figure:
        """The Frechet distance."""
        return self.figures[key(frechet_metric(self.net), self.net, self.count)]

    @property
    def kid(self) -> Figure:
        """The kernel distance."""
        return self.figures[key("kid", self.net, self.count)]

    def as_json(self) -> dict[str, dict[str, float]]:
        """`{"fd_lite0_2k": {"value": ..., "low": ..., "high": ...}, "kid_lite0_2k": {...}}`."""
        return {name: figure.interval.as_json() for name, figure in self.figures.items()}


def compare(
    a_features: NDArray[np.generic],
    b_features: NDArray[np.generic],
    *,
    net: str,
    seed: int = 0,
    same_latents: bool = False,
) -> Fidelity:
    """Measure `a_features` (N, d), the pictures to judge, against `b_features` (M, d), the reference.

    `net` names the feature net of both; N is the count in the keys. `same_latents`: picture i of both sides is drawn
    from the same latent. Raises GanletError for fewer than two pictures a side, features that are not finite, or
    different numbers of features.
    """
    count = len(a_features)
    interval = paired_figure if same_latents else figure
    # A squared distance is not negative; the unbiased kernel estimate may be.
    fd = interval(*frechet_influence(a_features, b_features), seed=seed, least=0.0)
    kid = interval(*kernel_influence(a_features, b_features, same_latents=same_latents), seed=seed)
    figures = {key(frechet_metric(net), net, count): fd, key("kid", net, count): kid}
    return Fidelity(net, count, MappingProxyType(figures))
