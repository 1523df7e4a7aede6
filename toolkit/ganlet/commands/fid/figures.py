"""The figures of two measured sides, each under the name of its estimator and with a 95 % interval."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.commands.fid.measured import Measured, Progress
from ganlet.errors import GanletError
from ganlet.metrics.divergence import (
    bins_of,
    gaussian_js,
    gaussian_kl,
    gaussian_kl_of_chance,
    histogram_js_influence,
    histogram_kl_influence,
)
from ganlet.metrics.extrapolation import frechet_extrapolated
from ganlet.metrics.features import frechet_metric
from ganlet.metrics.fidelity import key
from ganlet.metrics.frechet import Side, couple
from ganlet.metrics.inception import Inception
from ganlet.metrics.inception_score import inception_score
from ganlet.metrics.intervals import figure, paired_figure
from ganlet.metrics.kernel import SUBSET_SIZE, kernel_influence, kernel_subsets
from ganlet.metrics.neighbourhoods import neighbourhoods

NORMAL_95 = 1.959964  # standard errors on each side of a 95 % interval
JS_DRAWS = 4000  # of each Gaussian: 40 MB of 1,280 features
NOTHING = np.zeros(1)  # the influences of a side that is held fixed


class Figures:
    """Collects `found`, by name, and `notes` on what the intervals leave out. Side a is judged against side b."""

    def __init__(self, a: Measured, b: Measured, net_name: str, seed: int) -> None:
        self.a, self.b, self.net, self.seed = a, b, net_name, seed
        self.metric = frechet_metric(net_name)
        self.count = a.source.count or b.source.count
        self.same_latents = a.source.kind == b.source.kind == "generator" and a.source.count == b.source.count
        self.figure = paired_figure if self.same_latents else figure
        self.found: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []

    def frechet(self) -> None:
        """The Frechet distance: a bootstrap where both sides have features, else an analytic interval."""
        coupled = couple(self.a.statistics.moments, self.b.statistics.moments)
        a, b = self.a.features, self.b.features
        if a is not None and b is not None:
            psi_a, psi_b = coupled.a.influence(a), coupled.b.influence(b)
            found = self.figure(coupled.value, psi_a, psi_b, seed=self.seed, least=0.0)
            self._add(self.metric, found.interval.as_json())
        else:
            variances = [self._variance(self.a, coupled.a), self._variance(self.b, coupled.b)]
            known = [variance for variance in variances if variance is not None]
            spread = NORMAL_95 * float(np.sqrt(sum(known)))
            low, high = (max(0.0, coupled.value - spread), coupled.value + spread) if known else (None, None)
            self._add(self.metric, {"value": coupled.value, "low": low, "high": high})

    def kernel(self) -> None:
        """KID of the whole sample, and over random subsets as the literature prints it."""
        a, b = self._features()
        influence = kernel_influence(a, b, same_latents=self.same_latents)
        sure = self.figure(*influence, seed=self.seed).interval.as_json()
        # A subset of all the pictures would have no spread: of few, half are drawn.
        size = max(2, min(SUBSET_SIZE, len(a) // 2, len(b) // 2))
        over = kernel_subsets(a, b, size=size)
        spread = {"subset_mean": over.mean, "subset_std": over.std, "subsets": over.subsets, "subset_size": over.size}
        self._add("kid", sure | spread)

    def neighbourhoods(self, progress: Progress) -> None:
        """Precision, recall, density and coverage; each interval holds the other side's balls fixed."""
        found = neighbourhoods(*self._features(), progress=progress)
        for name, of_a, of_b in (
            ("precision", found.precision_of_a, None),
            ("recall", None, found.recall_of_b),
            ("density", found.density_of_a, None),
            ("coverage", None, found.coverage_of_b),
        ):
            own = of_a if of_a is not None else of_b
            assert own is not None
            psi = own - own.mean()
            sides = (psi, NOTHING) if of_a is not None else (NOTHING, psi)
            self._add(name, figure(float(own.mean()), *sides, seed=self.seed, least=0.0).interval.as_json())

    def divergences(self) -> None:
        """KL(A || B) and the Jensen-Shannon divergence: of histograms over clusters of B, and of fitted Gaussians."""
        a, b = self.a.features, self.b.features
        if a is not None and b is not None:
            bins = bins_of(a, b, self.seed)
            for name, influence in (
                ("kl_clusters", histogram_kl_influence(*bins)),
                ("js_clusters", histogram_js_influence(*bins)),
            ):
                self._add(name, self.figure(*influence, seed=self.seed, least=0.0).interval.as_json())
            used = int(bins[1].max()) + 1
            chance = (used - 1) * (1 / len(a) + 1 / len(b))
            self.notes.append(
                f"divergences are in nats; over {used} clusters of B two sets of one distribution would come to about "
                f"{chance / 2:.2g} (KL) and {chance / 8:.2g} (JS) by chance"
            )
        try:
            self._gaussian_divergences()
        except GanletError as error:
            if a is None or b is None:
                raise
            self.notes.append(f"no divergence of fitted Gaussians: {str(error).rstrip('.')}")

    def _gaussian_divergences(self) -> None:
        a, b = self.a.statistics.moments, self.b.statistics.moments
        kl, js = gaussian_kl(a, b), gaussian_js(a, b, draws=JS_DRAWS, seed=self.seed)
        spread = NORMAL_95 * js.error
        self._add("kl_gaussian", {"value": kl, "low": None, "high": None})
        self._add("js_gaussian", {"value": js.value, "low": max(0.0, js.value - spread), "high": js.value + spread})
        self.notes.append(
            "the interval of js_gaussian is that of its draws, without the chance of the pictures; kl_gaussian has none"
        )
        if min(a.count, b.count) > 1:
            chance = gaussian_kl_of_chance(len(a.mean), a.count, b.count)
            self.notes.append(
                f"kl_gaussian of two sets of one Gaussian would come to about {chance:,.3g} nats by chance at these "
                f"numbers of pictures and features"
            )

    def inception_scores(self, net: Inception) -> None:
        """The Inception score of A and, to hold it against, of B where its pictures are known."""
        for name, side in (("inception_score", self.a), ("inception_score_of_b", self.b)):
            if side.features is None:
                continue
            score = inception_score(net.class_probabilities(side.features))
            sure = figure(score.whole, score.influence, NOTHING, seed=self.seed, least=1.0).interval.as_json()
            over = {"split_mean": score.mean, "split_std": score.std, "splits": score.splits}
            self.found[key(name, self.net, len(side.features))] = sure | over
        self.notes.append(
            "the Inception score takes the 1,008 classes of ImageNet; of pictures of other things it says little"
        )

    def extrapolation(self, progress: Progress) -> None:
        """The Frechet distance of infinitely many pictures on both sides; the interval is that of the line."""
        a, b = self._features()
        found = frechet_extrapolated(a, b, seed=self.seed, progress=progress)
        spread = NORMAL_95 * found.error
        self.found[f"{self.metric}_{self.net}_inf"] = {
            "value": found.value,
            "low": found.value - spread,
            "high": found.value + spread,
            "slope": found.slope,
        }
        self.notes.append("the interval of the extrapolation is that of its line, without the chance of the pictures")
        if min(found.counts) < a.shape[1]:
            self.notes.append(
                f"the line of the extrapolation starts at {min(found.counts)} pictures, fewer than the {a.shape[1]} "
                "features: it is less biased, not unbiased"
            )

    def _add(self, metric: str, sure: dict[str, Any]) -> None:
        name = key(metric, self.net, self.count) if self.count else f"{metric}_{self.net}_unknown"
        self.found[name] = sure

    def _features(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert self.a.features is not None and self.b.features is not None, "the preflight refuses statistics files"
        return self.a.features, self.b.features

    def _variance(self, side: Measured, coupled: Side) -> float | None:
        """Variance of the figure by the chance of one side's pictures; None where their number is unknown."""
        count = side.statistics.moments.count
        if side.features is not None:
            return float(coupled.influence(side.features).var() / count)
        if count < 2:
            self.notes.append(f"the interval leaves the chance of {side.source.label} out: its count is unknown")
            return None
        self.notes.append(
            f"the interval takes the features of {side.source.label} for Gaussian: only moments are known"
        )
        return coupled.gaussian_variance() / count
