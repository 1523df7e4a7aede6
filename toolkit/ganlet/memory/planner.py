"""What fits a card: the largest batch of each way to train, and the words that choose it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ganlet.errors import GanletError
from ganlet.memory.forecast import Forecast, Place, forecast
from ganlet.memory.ways import Way, ways_of
from ganlet.recipe import Recipe
from ganlet.training.plan import Plan

LARGEST_BATCH = 4096
SMALLEST_BATCH = 2  # batch normalisation needs two pictures
LARGEST_ACCUMULATION = 64
Need = Callable[[Forecast], float]
"""MiB of a forecast that a limit is compared with."""


@dataclass(frozen=True)
class Option:
    """One way to train a stage. `batch` is None where not even the smallest fits; `words` go on the command line."""

    way: Way
    batch: int | None
    forecast: Forecast | None

    @property
    def words(self) -> tuple[str, ...]:
        return self.way.words(self.batch) if self.batch is not None else ()


def needed_mib(found: Forecast) -> float:
    """What has to be there for a forecast to be safe: reserved memory and the most that is assumed beside it."""
    return found.card_mib[1]


def options(recipe: Recipe, plan: Plan, limit_mib: float, place: Place = "cuda") -> list[Option]:
    """The largest batch that fits `limit_mib` in every way to train a stage of `recipe`, the plainest way first.

    What is compared with the limit is the upper end of `Forecast.card_mib`: assumed context and workspace included.
    """
    return [_option(way, plan.train.batch, limit_mib, place) for way in ways_of(recipe, plan)]


def recommended(found: list[Option], wanted_batch: int) -> Option | None:
    """The plainest option that holds the wanted batch, else the one with the largest batch; None when nothing fits.

    Ways that need another trained run (frozen, distilled) come last: they are recommended where nothing else fits.
    """
    fitting = [option for option in found if option.batch is not None]
    own = [option for option in fitting if not option.way.needs_a_run] or fitting
    enough = [option for option in own if (option.batch or 0) >= wanted_batch]
    return enough[0] if enough else max(own, key=lambda option: option.batch or 0, default=None)


def largest_batch(plan: Plan, limit_mib: float, place: Place, need: Need = needed_mib) -> tuple[int, Forecast] | None:
    """The largest batch whose forecast stays within `limit_mib`, by bisection; None when the smallest does not.

    The plan's own batch is tried first, since its forecast is mostly known, then the largest or the smallest there is.
    """
    own = forecast(plan, place)
    end = LARGEST_BATCH if need(own) <= limit_mib else SMALLEST_BATCH * plan.train.accumulate
    other = own if own.batch == end else forecast(plan.with_train(batch=end), place)
    low, high = sorted((own, other), key=lambda found: found.batch)
    if need(low) > limit_mib:
        return None
    if need(high) <= limit_mib:
        return high.batch, high
    best, above, tried = low, high, high
    while above.batch - best.batch > (closeness := max(1, best.batch // 32)):  # right within three percent
        guess = _interpolated(low, tried, limit_mib, need)
        tried = forecast(plan.with_train(batch=min(max(guess, best.batch + closeness), above.batch - 1)), place)
        if need(tried) <= limit_mib:
            best = tried
        else:
            above = tried
    return best.batch, best


def require_weights_fit(found: Forecast, limit_mib: float, what: str) -> None:
    """Raise GanletError when a limit is below what never shrinks: weights, gradients and optimiser state."""
    shrinks = ("activations", "workspace")
    fixed_mib = sum(size for kind, size in found.parts.items() if kind not in shrinks)
    if fixed_mib > limit_mib:
        raise GanletError(
            f"{what} of {_mib(limit_mib)} is below the weights, gradients and optimiser state of {found.stage} alone "
            f"({_mib(fixed_mib)}): no batch fits; make its networks narrower or raise the limit."
        )


def _option(way: Way, wanted_batch: int, limit_mib: float, place: Place) -> Option:
    for tried in _by_parts(way, wanted_batch, limit_mib, place):
        found = largest_batch(tried.plan, limit_mib, place)
        return Option(tried, *(found or (None, None)))
    return Option(way, None, None)


def _by_parts(way: Way, wanted_batch: int, limit_mib: float, place: Place) -> Iterator[Way]:
    """The way itself; of gradient accumulation the one with the fewest parts that hold the wanted batch."""
    if not way.accumulates:
        yield way
        return
    parts = way.plan.train.accumulate
    while parts <= min(LARGEST_ACCUMULATION, wanted_batch // SMALLEST_BATCH):
        tried = replace(way, plan=way.plan.with_train(accumulate=parts))
        if needed_mib(forecast(tried.plan.with_train(batch=wanted_batch), place)) <= limit_mib:
            yield tried
            return
        parts *= 2


def _interpolated(low: Forecast, tried: Forecast, limit_mib: float, need: Need) -> int:
    """The batch at the limit, if memory grew with the batch along a line through both forecasts."""
    slope = (need(tried) - need(low)) / (tried.batch - low.batch)
    return int(low.batch + (limit_mib - need(low)) / slope) if slope > 0 else 2 * tried.batch


def _mib(size_mib: float) -> str:
    """A size that is never told as 0 MiB where it is not."""
    return f"{size_mib:.0f} MiB" if size_mib >= 10 else f"{size_mib:.2g} MiB"
