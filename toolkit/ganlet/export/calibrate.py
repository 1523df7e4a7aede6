"""How large the numbers inside a generator get, and what range of them an int8 scale should cover."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, helper

from ganlet.device.feed import feed_at
from ganlet.export.contract import model_contract

SEED = 0x6361_6C69  # of the calibration's latents: others than those that verification draws
COUNT = 256  # latents that are looked at
BATCH = 16
BINS = 4096
COUNTED = 2**18  # numbers of a tensor that are counted in each batch, evenly spread: pictures are made of many more
LEVELS = 127  # steps of symmetric int8 on either side of zero

Array = NDArray[np.float64]


@dataclass
class Histogram:
    """How often the magnitudes of one tensor were seen, in BINS equal bins from 0 to `largest`."""

    largest: float = 0.0
    lowest: float = 0.0
    """Smallest value, with its sign."""
    counts: Array = field(default_factory=lambda: np.zeros(BINS))

    @property
    def centres(self) -> Array:
        return (np.arange(BINS, dtype=np.float64) + 0.5) * (self.largest / BINS)


def histograms(model: ModelProto, names: Sequence[str], count: int = COUNT, seed: int = SEED) -> dict[str, Histogram]:
    """Histograms of the named tensors of a fp32 model over `count` latents. Two passes: the range, then the counts."""
    found = {name: Histogram() for name in names}
    for tensors in observed(model, names, count, seed):
        for name, values in tensors.items():
            found[name].largest = max(found[name].largest, float(np.abs(values).max()))
            found[name].lowest = min(found[name].lowest, float(values.min()))
    for tensors in observed(model, names, count, seed):
        for name, values in tensors.items():
            seen = found[name]
            some = np.abs(values.reshape(-1)[:: values.size // COUNTED | 1])
            seen.counts += np.histogram(some, BINS, (0.0, seen.largest or 1.0))[0]
    return found


def observed(
    model: ModelProto, names: Sequence[str], count: int = COUNT, seed: int = SEED
) -> Iterator[Mapping[str, NDArray[np.float32]]]:
    """Yield the named tensors of a model of `count` rows of a feed, BATCH at a time."""
    import onnxruntime

    inside = onnx.ModelProto()
    inside.CopyFrom(model)
    ports = model_contract(model).ports
    entering = {port.name for port in ports}
    known = {output.name for output in model.graph.output} | entering
    more = [name for name in dict.fromkeys(names) if name not in known]
    inside.graph.output.extend(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in more)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone: it warns of shapes of its own making
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # numpy works between the calls
    session = onnxruntime.InferenceSession(inside.SerializeToString(), options, providers=["CPUExecutionProvider"])
    wanted = [name for name in dict.fromkeys(names) if name not in entering]
    for start in range(0, count, BATCH):
        feed = feed_at(ports, seed, start, min(BATCH, count - start))
        values = dict(zip(wanted, session.run(wanted, feed) if wanted else [], strict=True))
        yield values | {name: array for name, array in feed.items() if name in names}


# ---------------------------------------------------------------- what range to cover


def minmax(seen: Histogram, levels: int) -> float:
    """All that was seen: nothing is cut off, and every step is as coarse as the rarest number asks for."""
    return seen.largest


def percentile(seen: Histogram, levels: int, share: float = 0.9999) -> float:
    """What `share` of the numbers lie within."""
    reached = np.cumsum(seen.counts) >= share * seen.counts.sum()
    return float((np.argmax(reached) + 1) * seen.largest / BINS)


def least_squares(seen: Histogram, levels: int) -> float:
    """The range with the least mean square error of rounding within it and of cutting off beyond it (Max 1960)."""
    ranges = seen.largest * np.linspace(0.3, 1.0, 71)
    errors = []
    for top in ranges:
        step = top / levels
        kept = np.minimum(np.rint(seen.centres / step), levels) * step
        errors.append(float(seen.counts @ np.square(seen.centres - kept)))  # a step is 4 bins at least
    return float(ranges[int(np.argmin(errors))])


def entropy(seen: Histogram, levels: int) -> float:
    """The range whose quantised distribution tells most of the original (Kullback-Leibler; Migacz, GTC 2017).

    Zeros, which a ReLU makes and any scale keeps, are left out.
    """
    counts = seen.counts.copy()
    counts[0] = 0.0
    best, best_divergence = BINS, np.inf
    for end in range(levels, BINS + 1, max(1, BINS // 256)):
        kept = counts[:end].copy()
        kept[-1] += counts[end:].sum()
        edges = np.linspace(0, end, levels + 1).astype(int)[:-1]
        sums = np.add.reduceat(counts[:end], edges)
        filled = np.add.reduceat((counts[:end] > 0).astype(float), edges)
        widths = np.diff([*edges, end])
        coarse = np.repeat(np.divide(sums, filled, out=np.zeros_like(sums), where=filled > 0), widths)
        coarse[counts[:end] == 0] = 0.0
        divergence = _divergence(kept, coarse)
        if divergence < best_divergence:
            best, best_divergence = end, divergence
    return float(best * seen.largest / BINS)


def _divergence(p: Array, q: Array) -> float:
    """Kullback-Leibler divergence of two unnormalised distributions; where only q is empty a little is assumed."""
    p, q = p / max(p.sum(), 1e-12), q / max(q.sum(), 1e-12)
    here = p > 0
    return float(np.sum(p[here] * np.log(p[here] / np.maximum(q[here], 1e-9))))


METHODS: dict[str, Callable[[Histogram, int], float]] = {
    "minmax": minmax,
    "percentile": percentile,
    "least-squares": least_squares,
    "entropy": entropy,
}
"""Histogram of magnitudes and number of levels -> the largest magnitude that a scale covers."""

METHOD = "least-squares"
"""The one that is used unless another is asked for: on trained generators the nearest to fp32."""
