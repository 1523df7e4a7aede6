"""Variety: whether a generator draws as many different pictures as its teacher, and as the data."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.artifact import STAGE_OF_STEP
from ganlet.device.feed import Feed, feed_at
from ganlet.device.runner import Runner
from ganlet.device.sampler import Sampler
from ganlet.errors import GanletError
from ganlet.metrics import Figure, Interval, paired_change_percent
from ganlet.metrics.collapse import (
    CLUSTERS,
    cluster_centres,
    duplicate_rate,
    effective_rank,
    latent_spread,
    modes_covered,
    near_distance,
    total_spread,
    within_share,
)
from ganlet.verify.fidelity import FidelityResult, Reference

COMPRESSED = ("student", *STAGE_OF_STEP.values())  # the stages that are held against their teacher
SPREAD_LATENTS = 256  # that latent_spread is measured at
BATCH = 64

# A student is smaller than its teacher and may be a little less varied; those of the shipped recipes lose at most some
# percent. Warned of is a loss whose whole 95 % interval lies beyond these. Generators that are made to collapse on
# purpose lose more, even where their Frechet distance is within its limit still: benchmarks/collapse_warnings.py.
LEAST_CHANGE_PERCENT = {"effective_rank": -10.0, "within_share": -10.0, "spread": -20.0, "latent_spread": -15.0}
MOST_MORE_DUPLICATES = 0.05  # of the pictures, more than the teacher has
NAMES = {
    "effective_rank": "effective rank of its features",
    "within_share": "share of the spread that is within clusters",
    "spread": "spread of its features",
    "latent_spread": "movement of its pictures per unit of latent",
}


@dataclass(frozen=True)
class Variety:
    """Indicators of one subject. Data have no latents, pictures without labels no modes."""

    smooth: Mapping[str, Figure]
    """effective_rank, within_share, spread and, for a generator, latent_spread."""
    duplicates: Interval
    modes: Interval | None

    def as_json(self) -> dict[str, Any]:
        found = {name: figure.interval.as_json() for name, figure in self.smooth.items()}
        found["duplicate_rate"] = self.duplicates.as_json()
        return found | ({"modes_covered": self.modes.as_json()} if self.modes else {})


@dataclass(frozen=True)
class VarietyResult:
    """Indicators by subject ("data", "teacher", ...), and their change against the teacher in percent."""

    subjects: Mapping[str, Variety]
    change_percent: Mapping[str, Mapping[str, Interval]]
    baseline: str | None = "teacher"

    def as_json(self) -> dict[str, Any]:
        rows = {name: variety.as_json() for name, variety in self.subjects.items()}
        for name, changes in self.change_percent.items():
            rows[name]["change_percent"] = {key: change.as_json() for key, change in changes.items()}
        return rows

    def warnings(self) -> list[str]:
        """A sentence for each indicator by which a student, or a pruned one, has collapsed relative to its teacher."""
        if self.baseline is None:
            return []
        teacher, found = self.subjects[self.baseline], []
        for name in COMPRESSED:
            if name in self.change_percent:
                found += _changes_to_warn_of(name, self.change_percent[name])
                found += _shares_to_warn_of(name, self.subjects[name], teacher)
        return found


def measure_variety(
    fidelity: FidelityResult,
    runners: Mapping[str, Runner],
    reference: Reference,
    seed: int,
    stepped: Collection[str] = (),
) -> VarietyResult:
    """The indicators of every subject of `fidelity`, on its features; clusters and nearness are those of the data.

    `stepped`: subjects whose latents are rounded, as in int8: how far their pictures move for a small step of a latent
    is the rounding's doing, and is left out.
    """
    labels = reference.pictures.labels
    labels = None if labels is None else labels[reference.indices]
    data = fidelity.data
    alike = min(len(data), *(len(features) for features in fidelity.features.values()))
    near = near_distance(data[:alike])
    centres = cluster_centres(data, min(CLUSTERS, len(data)), seed)

    def judge(features: NDArray[np.float32], runner: Runner | None, moves: bool = True) -> Variety:
        smooth = {
            "effective_rank": effective_rank(features, seed),
            "within_share": within_share(features, centres, seed),
            "spread": total_spread(features, seed),
        }
        if runner is not None and moves:
            feed = feed_at(runner.ports, seed, 0, min(SPREAD_LATENTS, len(features)))
            smooth["latent_spread"] = latent_spread(partial(_with_latents, runner, feed), feed["z"], seed)
        modes = None
        if labels is not None and runner is not None:
            modes = modes_covered(features, data, labels, seed)
        return Variety(smooth, duplicate_rate(features[:alike], near), modes)

    subjects = {"data": judge(data, None)}
    subjects |= {n: judge(features, runners[n], n not in stepped) for n, features in fidelity.features.items()}
    baseline = fidelity.baseline
    changes = {name: _changes(subjects[name], subjects[baseline], seed) for name in fidelity.change_percent if baseline}
    return VarietyResult(subjects, changes, baseline)


def _changes(subject: Variety, teacher: Variety, seed: int) -> dict[str, Interval]:
    found = {}
    for key, figure in subject.smooth.items():
        try:
            found[key] = paired_change_percent(figure, teacher.smooth[key], seed)
        except GanletError:  # the teacher itself draws one picture: nothing can be less
            continue
    return found


def _changes_to_warn_of(name: str, changes: Mapping[str, Interval]) -> list[str]:
    return [
        f"{name}: the {NAMES[key]} is {-changes[key].value:.0f} % below its teacher's (95 % interval "
        f"{-changes[key].high:.0f} to {-changes[key].low:.0f} %), where up to {-limit:.0f} % is usual; look at its "
        "pictures for collapse."
        for key, limit in LEAST_CHANGE_PERCENT.items()
        if key in changes and changes[key].high < limit
    ]


def _shares_to_warn_of(name: str, student: Variety, teacher: Variety) -> list[str]:
    found = []
    if student.duplicates.low > teacher.duplicates.high + MOST_MORE_DUPLICATES:
        found.append(
            f"{name}: {student.duplicates.value:.1%} of its pictures have a double among themselves, of its teacher's "
            f"{teacher.duplicates.value:.1%}; look at its pictures for collapse."
        )
    if student.modes and teacher.modes and student.modes.high < teacher.modes.low:
        found.append(
            f"{name}: it draws {student.modes.value:.0%} of the classes of the data, its teacher "
            f"{teacher.modes.value:.0%}; look at its pictures for those that are missing."
        )
    return found


def _with_latents(runner: Runner, feed: Feed, z: NDArray[np.float32]) -> NDArray[np.float32]:
    return Sampler.of(runner, batch=BATCH).draw(feed | {"z": z})
