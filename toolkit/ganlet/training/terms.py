"""What a student is held against: the distances of a distillation that its recipe gives a weight."""

from typing import NamedTuple

import torch
from torch import Tensor

from ganlet.losses import PIXEL_TERMS, adapted_features, feature_l1, relation
from ganlet.models.config import hidden_pairs
from ganlet.models.ports import TensorFeed
from ganlet.recipe import Lessons
from ganlet.training.state import State


class Compared(NamedTuple):
    """The student's pictures of one feed beside its teacher's."""

    drawn: Tensor
    """(N, C, H, W), what the student drew."""
    scores: Tensor | None
    """(N,) the critic's scores of it, where they came along."""
    terms: dict[str, Tensor]
    """Distance by name, scalars."""


def weights_of(distill: Lessons) -> dict[str, float]:
    """The terms that the recipe asks for, with their weights."""
    weights = {"pixel": 0.0 if distill.pixel == "none" else 1.0}
    weights |= {name: getattr(distill, name) for name in ("features", "adapters", "relation", "perceptual")}
    return {name: weight for name, weight in weights.items() if weight}


def compare(state: State, distill: Lessons, feed: TensorFeed, seen: TensorFeed) -> Compared:
    """Draw a feed by student and teacher, the latter without gradients, and measure the terms with a weight.

    `seen`: what the critic is shown beside the pictures.
    """
    teacher, wanted = state.teacher, weights_of(distill)
    if teacher is None:
        raise ValueError("distillation needs state.teacher")
    terms: dict[str, Tensor] = {}
    scores = None
    if "adapters" in wanted or "relation" in wanted:
        with torch.no_grad():
            *known, taught = teacher.features(**feed)
        *maps, drawn = state.generator.features(**feed)
        pairs = hidden_pairs(state.generator.config, teacher.config)
        known = [known[theirs] for _, theirs in pairs]
        if state.adapters is not None:
            terms["adapters"] = adapted_features(state.adapters(maps), known)
        if "relation" in wanted:
            terms["relation"] = relation([maps[mine] for mine, _ in pairs], known)
    else:
        with torch.no_grad():
            taught = teacher(**feed)
        drawn = state.generator(**feed)
    if distill.pixel != "none":
        terms["pixel"] = PIXEL_TERMS[distill.pixel](drawn, taught)
    if "features" in wanted:
        with torch.no_grad():
            wanted_maps = list(state.critic.features(taught, **seen))[:-1]
        *maps, scores = state.critic.features(drawn, **seen)
        terms["features"] = feature_l1(maps, wanted_maps)
    if state.perceptual is not None:
        terms["perceptual"] = state.perceptual(drawn, taught)
    return Compared(drawn, scores, {name: terms[name] for name in wanted})
