"""The form of each layer by measured time on this machine, layer by layer, the whole model timed each time."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto

from ganlet.device.feed import example_feed
from ganlet.device.ratios import median_interval
from ganlet.errors import GanletError
from ganlet.export.contract import model_contract
from ganlet.export.lower import Form, layers_of

ROUNDS = 15
LEAST_MS = 20.0  # that one round runs each model for: a single call of a small one is shorter than a clock can tell
GAIN = 0.98  # of the time at most that a form has to take to be chosen: less is noise


@dataclass(frozen=True)
class Trial:
    """A layer in a form that was tried: the model's time relative to what had been chosen until then, at most."""

    layer: str
    form: Form
    ratio: float
    chosen: bool


Build = Callable[[dict[str, Form]], ModelProto]
Ratio = Callable[[ModelProto, ModelProto], float]
"""(candidate, current) -> time of the candidate relative to the current one, at most: noise chooses nothing."""


def tuned_forms(
    model: ModelProto,
    start: dict[str, Form],
    build: Callable[[dict[str, Form]], ModelProto],
    ratio: Ratio | None = None,
) -> tuple[dict[str, Form], list[Trial]]:
    """The fastest form of each layer found, and all that was tried on the way.

    Greedy: from the forms `start` on, each layer in turn is tried in its other forms, and the fastest is kept. `build`
    makes the model to be timed of the forms; those that it refuses are passed over, such as an int8 model without a
    layer to quantise. `ratio` times two models; ONNX Runtime on this machine unless told.
    """
    ratio = ratio or time_ratio
    forms, trials = dict(start), []
    current = build(forms)
    for layer in layers_of(model):
        tried = {}
        for form in layer.forms:
            if form == forms[layer.name]:
                continue
            try:
                candidate = build(forms | {layer.name: form})
            except GanletError:
                continue
            tried[form] = (ratio(candidate, current), candidate)
        best = min(tried, key=lambda form: tried[form][0], default=None)
        wins = best is not None and tried[best][0] < GAIN
        trials += [Trial(layer.name, form, found, wins and form == best) for form, (found, _) in tried.items()]
        if wins and best is not None:
            forms[layer.name], current = best, tried[best][1]
    return forms, trials


def time_ratio(candidate: ModelProto, current: ModelProto, batch: int = 1) -> float:
    """The upper end of what the candidate takes of the current model's time, by interleaved rounds of ONNX Runtime."""
    sessions = [_session(model) for model in (candidate, current)]
    feed = example_feed(model_contract(candidate).ports, batch)
    calls = max(1, round(LEAST_MS / max(_elapsed_ms(session, feed, 1) for session in sessions for _ in range(3))))
    ratios = []
    for index in range(ROUNDS):
        taken = {which: _elapsed_ms(sessions[which], feed, calls) for which in _order(index)}
        ratios.append(taken[0] / taken[1])
    return median_interval(ratios).high


def _order(index: int) -> tuple[int, int]:
    """Neither always runs in the other's warm caches."""
    return (0, 1) if index % 2 else (1, 0)


def _session(model: ModelProto) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone: it warns of shapes of its own making
    # The threads of one session would spin for a while after each call, in the way of the other session's.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _elapsed_ms(session: Any, feed: dict[str, Any], calls: int) -> float:
    started = time.perf_counter()
    for _ in range(calls):
        session.run(["images"], feed)
    return (time.perf_counter() - started) * 1e3
