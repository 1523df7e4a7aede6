"""What fits a card: the largest batch of each way to train, and the words that choose it."""

from collections.abc import Iterator
from dataclasses import dataclass

from ganlet.errors import GanletError
from ganlet.memory.forecast import Forecast, forecast
from ganlet.recipe import Distill, Transfer
from ganlet.training.guard import section_of
from ganlet.training.plan import Plan

LARGEST_BATCH = 4096
SMALLEST_BATCH = 2  # batch normalisation needs two pictures


@dataclass(frozen=True)
class Option:
    """One way to train a stage. `batch` is None where not even the smallest fits; `words` go on the command line."""

    way: str
    batch: int | None
    forecast: Forecast | None
    words: tuple[str, ...]


def options(plan: Plan, limit_mib: float) -> list[Option]:
    """The largest batch that fits `limit_mib` in every way that suits the plan: as it is, and with mixed precision.

    What is compared with the limit is the upper end of `Forecast.card_mib`: assumed context and workspace included.
    """
    return [_option(way, plan, changed, words, limit_mib) for way, changed, words in _ways(plan)]


def recommended(found: list[Option], wanted_batch: int) -> Option | None:
    """The plainest option that holds the wanted batch, else the one with the largest batch; None when nothing fits."""
    fitting = [option for option in found if option.batch is not None]
    enough = [option for option in fitting if (option.batch or 0) >= wanted_batch]
    return enough[0] if enough else max(fitting, key=lambda option: option.batch or 0, default=None)


def largest_batch(plan: Plan, limit_mib: float) -> tuple[int, Forecast] | None:
    """The largest batch whose forecast stays within `limit_mib`, by bisection; None when the smallest does not.

    Raises GanletError when the weights alone are above the limit.
    """
    smallest = forecast(plan.with_train(batch=SMALLEST_BATCH))
    if needed_mib(smallest) > limit_mib:
        return None
    fits, best, above = SMALLEST_BATCH, smallest, LARGEST_BATCH + 1
    guess = 2 * SMALLEST_BATCH
    while above - fits > max(1, fits // 32):  # a batch that is right within three percent
        guess = min(max(guess, fits + 1), above - 1)
        tried = forecast(plan.with_train(batch=guess))
        if needed_mib(tried) <= limit_mib:
            fits, best = guess, tried
        else:
            above = guess
        guess = _interpolated(smallest, tried, limit_mib) if above > LARGEST_BATCH else (fits + above) // 2
    return fits, best


def needed_mib(found: Forecast) -> float:
    """What has to be there for a forecast to be safe: reserved memory and the most that is assumed beside it."""
    return found.card_mib[1]


def require_weights_fit(found: Forecast, limit_mib: float, what: str) -> None:
    """Raise GanletError when a limit is below what never shrinks: weights, gradients and optimiser state."""
    fixed_mib = sum(size for kind, size in found.parts.items() if kind != "activations")
    if fixed_mib > limit_mib:
        raise GanletError(
            f"{what} of {limit_mib:.0f} MiB is below the weights, gradients and optimiser state of {found.stage} alone "
            f"({fixed_mib:.0f} MiB): no batch fits; make its networks narrower or raise the limit."
        )


def _ways(plan: Plan) -> Iterator[tuple[str, Plan, tuple[str, ...]]]:
    section = section_of(plan)
    name = (
        "distilled"
        if isinstance(plan.section, Distill)
        else "frozen"
        if isinstance(plan.section, Transfer)
        else "plain"
    )
    yield name, plan, ()
    if plan.section.loss != "wgan-gp":
        words = (f"--set {section}.train.amp=fp16",)
        yield f"{name}, mixed precision", plan.with_train(amp="fp16"), words


def _option(way: str, plan: Plan, changed: Plan, words: tuple[str, ...], limit_mib: float) -> Option:
    section = section_of(plan)
    found = largest_batch(changed, limit_mib)
    if found is None:
        return Option(way, None, None, words)
    batch, forecasted = found
    return Option(way, batch, forecasted, (f"--set {section}.train.batch={batch}", *words))


def _interpolated(smallest: Forecast, tried: Forecast, limit_mib: float) -> int:
    """The batch at the limit, if memory grew with the batch along a line through both forecasts."""
    slope = (needed_mib(tried) - needed_mib(smallest)) / max(1, tried.batch - smallest.batch)
    if slope <= 0:
        return 2 * tried.batch
    return int(smallest.batch + (limit_mib - needed_mib(smallest)) / slope)
