"""Figures as people read them: 1.07 M, 4.3 MB, 1 min 50 s. A figure that is not there is a dash."""

from ganlet.report.document import Interval, Metric

DASH = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
TIMES = "\N{MULTIPLICATION SIGN}"
MOST_PERCENT = 1000  # a percentage beyond it says no more than that it is beyond
METRICS = {"fd": "Fréchet distance", "fid": "FID", "kid": "Kernel distance"}


def figure(value: float | None, unit: str = "", digits: int = 4) -> str:
    """Up to `digits` significant digits, thousands in groups, small powers of ten as 1e-7; never 1e+06."""
    if value is None:
        return DASH
    if unit in ("%", "points") and abs(value) > MOST_PERCENT:
        return _beyond(value, "") + f" {unit}"
    if value == 0:
        text = "0"
    elif abs(value) >= 10 ** (digits - 1):
        text = f"{value:,.0f}"
    elif abs(value) < 1e-3:
        mantissa, exponent = f"{value:.2g}".split("e") if "e" in f"{value:.2g}" else (f"{value:.2g}", "")
        text = f"{mantissa}e{int(exponent)}" if exponent else mantissa
    else:
        text = f"{value:.{digits}g}"
    return text.replace("-", MINUS) + (f" {unit}" if unit else "")


def count(value: float | None) -> str:
    """1070000 -> 1.07 M, 43210 -> 43.2 k."""
    if value is None:
        return DASH
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{figure(value / limit, digits=3 if abs(value) < 1e3 * limit else 4)} {letter}"
    return figure(value)


def whole(value: float | None) -> str:
    """A count with every digit: 48,000."""
    return DASH if value is None else f"{value:,.0f}"


def seconds(value: float | None) -> str:
    """110 -> 1 min 50 s."""
    if value is None:
        return DASH
    if value < 60:
        return f"{figure(value, digits=3)} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def percent(value: float | None) -> str:
    """With its sign and one decimal: +3.2 %."""
    return DASH if value is None else f"{_signed(value)} %"


def bounds(known: Interval | None, as_percent: bool = False) -> str:
    """`low to high`, or nothing where there is no interval."""
    if known is None or known.low is None or known.high is None:
        return ""
    write = _signed if as_percent else figure
    return f"{write(known.low)} to {write(known.high)}"


def _signed(value: float) -> str:
    if abs(value) > MOST_PERCENT:
        return _beyond(value, "+")
    text = f"{value:+.1f}"
    return "0.0" if text in ("+0.0", "-0.0") else text.replace("-", MINUS)


def _beyond(percent: float, plus: str) -> str:
    return f"over {plus}{MOST_PERCENT:,}" if percent > 0 else f"below {MINUS}{MOST_PERCENT:,}"


def metric_name(metric: Metric) -> str:
    """fd_lite0_2k -> Fréchet distance (lite0 features, 2,000 samples)."""
    kind, net, samples = metric.parts
    if samples is None:
        return metric.key
    return f"{METRICS.get(kind, kind.upper())} ({net} features, {samples:,} samples)"


def short_metric_name(metric: Metric) -> str:
    """fd_lite0_2k -> FD lite0, 2,000 samples."""
    kind, net, samples = metric.parts
    return metric.key if samples is None else f"{kind.upper()} {net}, {samples:,} samples"
