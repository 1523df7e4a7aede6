"""The int8 model that is the nearest to fp32: which calibration, and which layers are too sensitive, by measurement."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto

from ganlet.device.feed import feed_at
from ganlet.export.calibrate import BATCH, COUNT, METHODS, histograms
from ganlet.export.contract import model_contract
from ganlet.export.fold import fold_batch_norm
from ganlet.export.graph import Graph, layer_name
from ganlet.export.int8 import (
    QUANTISED,
    LayerScales,
    Scale,
    quantised,
    scales_by,
    scales_by_layer,
    tensors_to_scale,
)
from ganlet.export.lower import Form, rewritten
from ganlet.export.profiles import forms_by, profile_named

SEED = 0x6572_726F  # of the latents that errors are measured at: neither calibration's nor verification's
JUDGED = 1024  # of them: among 64, chance decided between ways that draw one picture in 300 badly and ways that do not
PEAK = 2.0  # of a pixel, from -1 to 1
MOST_KEPT = 0.5  # part of the weights that may stay in fp32


@dataclass(frozen=True)
class Nearest:
    """The model, and what was measured on the way. PSNR to the fp32 model in dB, at latents of its own."""

    model: ModelProto
    method: str
    keep: tuple[str, ...]
    """Layers that stay in fp32, the most sensitive first."""
    psnr_db: float
    by_method: Mapping[str, float]
    """With every layer in int8."""
    by_layer: Mapping[str, float]
    """With that layer alone in int8, by the best method: the lower, the more sensitive."""
    scales: Mapping[str, LayerScales]
    """Of the layers that are in int8."""

    def as_json(self) -> dict[str, Any]:
        """What the manifest keeps of it."""
        rounded = {name: told_db(value) for name, value in self.by_method.items()}
        layers = {name: told_db(value) for name, value in self.by_layer.items()}
        kept = {"fp32_layers": list(self.keep)} if self.keep else {}
        return {"method": self.method, "psnr_db": told_db(self.psnr_db), "methods": rounded, "alone": layers} | kept


def told_db(value: float) -> float | None:
    """A PSNR as a file keeps it: to 0.01 dB, None where pictures are equal, which no JSON number says."""
    return round(value, 2) if math.isfinite(value) else None


def nearest_int8(
    model: ModelProto,
    profile: str,
    *,
    forms: Mapping[str, Form] | None = None,
    least_psnr_db: float = 0.0,
    most_kept: float = MOST_KEPT,
    count: int = COUNT,
) -> Nearest:
    """Any fp32 generator file of Ganlet in int8, as near to it as calibration and `most_kept` of its weights allow.

    Every one of METHODS is tried with all layers in int8, and the nearest taken. Where it stays below `least_psnr_db`
    the layers that are the farthest off alone stay in fp32, one more at a time, until it is reached or their weights
    would be more than `most_kept` of all. Raises GanletError as `to_int8`.
    """
    folded, chosen = fold_batch_norm(model), profile_named(profile)
    lowered = rewritten(folded, forms_by(chosen, folded) if forms is None else forms)
    sizes = _weights(lowered)
    each = [frozenset(sizes) - {name} for name in sizes]
    decisive = {d for keep in (frozenset[str](), *each) for d in tensors_to_scale(lowered, keep).values()}
    seen = histograms(lowered, sorted(decisive), count)

    def scales(method: str, keep: frozenset[str]) -> dict[str, Scale]:
        return scales_by(seen, tensors_to_scale(lowered, keep), method, chosen.unsigned)

    def made(method: str, keep: frozenset[str]) -> ModelProto:
        return quantised(lowered, scales(method, keep), keep)

    near = nearness(lowered)
    by_method = {method: near(made(method, frozenset())) for method in METHODS}
    method = max(by_method, key=lambda name: by_method[name])
    by_layer = {name: near(made(method, keep)) for name, keep in zip(sizes, each, strict=True)}
    kept: list[str] = []
    psnr_db = by_method[method]
    for name in sorted(by_layer, key=lambda layer: by_layer[layer]):
        room = most_kept * sum(sizes.values()) - sum(sizes[other] for other in kept)
        if psnr_db >= least_psnr_db or len(kept) + 1 == len(sizes):
            break
        if sizes[name] <= room:
            kept.append(name)
            psnr_db = near(made(method, frozenset(kept)))
    left = frozenset(kept)
    between = scales_by_layer(lowered, scales(method, left), left)
    return Nearest(made(method, left), method, tuple(kept), psnr_db, by_method, by_layer, between)


def _weights(model: ModelProto) -> dict[str, int]:
    """Number of weights of every layer that can be int8, in their order."""
    graph = Graph(model)
    return {layer_name(n): graph.constants[n.input[1]].size for n in graph.nodes if n.op_type in QUANTISED}


def nearness(reference: ModelProto) -> Callable[[ModelProto], float]:
    """What gives the PSNR of a model's pictures to the reference's: 10 log10(4 / mean square), infinite where equal.

    Both draw JUDGED latents of their own seed.
    """
    wanted = _pictures(reference)

    def psnr_db(model: ModelProto) -> float:
        square = float(np.square(_pictures(model) - wanted).mean())
        return 10 * float(np.log10(PEAK**2 / square)) if square else float("inf")

    return psnr_db


def _pictures(model: ModelProto) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(JUDGED, channels, size, size) float64"""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    ports = model_contract(model).ports
    drawn = [session.run(None, feed_at(ports, SEED, start, BATCH))[0] for start in range(0, JUDGED, BATCH)]
    return np.concatenate(drawn).astype(np.float64)
