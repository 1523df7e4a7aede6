"""How many layers a transfer may leave frozen: memory against quality, one network after the other."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from ganlet.errors import Diverged, GanletError
from ganlet.metrics import Figure, Interval, decide, paired_change_percent


@dataclass(frozen=True, order=True)
class Freezing:
    """Frozen layers of each network."""

    generator: int
    critic: int

    def __str__(self) -> str:
        return f"generator {self.generator}, critic {self.critic}"


@dataclass(frozen=True, eq=False)
class Tried:
    """A candidate, the memory that training takes with it, and its distance; None with the reason in `note`."""

    freezing: Freezing
    memory_mib: float
    distance: Figure | None
    note: str = ""


@dataclass(frozen=True)
class Rules:
    """What is still as good as the best, and what still fits."""

    tolerance_percent: float
    limit_mib: float | None = None


Memory = Callable[[Freezing], float]
Measure = Callable[[Freezing], Figure]


def search_freezing(
    generators: Sequence[int], critics: Sequence[int], memory_of: Memory, measure: Measure, rules: Rules
) -> list[Tried]:
    """Try every number of the critic's layers, and with the one chosen of these every number of the generator's.

    The critic comes first, for freezing its first layers is what is known to help (Mo et al. 2020, FreezeD); meanwhile
    the generator has as few frozen layers as leave room for any critic. One after the other that is 7 runs for networks
    of 4 layers and 11 for those of 6, where all pairs would be 16 and 36. What does not fit is not run. `generators`
    and `critics` rise. Raises GanletError where nothing fits.
    """
    memory_of = cache(memory_of)

    def fits(freezing: Freezing) -> bool:
        return rules.limit_mib is None or memory_of(freezing) <= rules.limit_mib

    first = next((k for k in generators if fits(Freezing(k, critics[-1]))), None)
    if first is None:
        least_mib = memory_of(Freezing(generators[-1], critics[-1]))
        raise GanletError(
            f"The limit of {rules.limit_mib:.4g} MiB is below the {least_mib:.4g} MiB that a transfer takes with the "
            "most layers frozen; give a smaller batch, or raise transfer.auto.memory_mib (or the budget)."
        )
    tried: dict[Freezing, Tried] = {}

    def try_all(freezings: Iterable[Freezing]) -> None:
        for freezing in freezings:
            if freezing not in tried:
                tried[freezing] = _try(freezing, memory_of, measure if fits(freezing) else None)

    try_all(Freezing(first, k) for k in critics)
    critic = choose(tried.values(), rules).freezing.critic
    try_all(Freezing(k, critic) for k in generators)
    return list(tried.values())


def _try(freezing: Freezing, memory_of: Memory, measure: Measure | None) -> Tried:
    if measure is None:
        return Tried(freezing, memory_of(freezing), None, "does not fit")
    try:
        return Tried(freezing, memory_of(freezing), measure(freezing))
    except Diverged as error:
        return Tried(freezing, memory_of(freezing), None, str(error))


def best_of(tried: Iterable[Tried]) -> Tried:
    """The one with the least distance. Raises GanletError where none was measured."""
    measured = [t for t in tried if t.distance is not None]
    if not measured:
        raise GanletError("Training broke with every number of frozen layers; lower transfer.train.lr.")
    return min(measured, key=lambda t: t.distance.value)  # type: ignore[union-attr]


def change_percent(tried: Tried, best: Tried) -> Interval | None:
    """How much further from the data than the best, on the same latents; None for the best, and without a distance."""
    if tried.distance is None or best.distance is None or tried is best:
        return None
    return paired_change_percent(tried.distance, best.distance)


def choose(tried: Iterable[Tried], rules: Rules) -> Tried:
    """The least memory among those not measurably more than the tolerance further from the data than the best.

    Where memory is the same the nearer one.
    """
    all_tried = list(tried)
    best = best_of(all_tried)
    as_good = [best]
    for one in all_tried:
        change = change_percent(one, best)
        if change is not None and decide(change, rules.tolerance_percent) != "failed":
            as_good.append(one)
    return min(as_good, key=lambda t: (t.memory_mib, t.distance.value))  # type: ignore[union-attr]
