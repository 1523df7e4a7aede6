"""How far one set of pictures is from another: feature nets, Frechet and kernel distance, how sure it is."""

from ganlet.metrics.features import FEATURES, FeatureNet, feature_net
from ganlet.metrics.fidelity import Fidelity, compare, key
from ganlet.metrics.frechet import Moments, MomentsAccumulator, frechet_distance, moments
from ganlet.metrics.intervals import Figure, Interval, decide, paired_change_percent, pictures_needed, proportion
from ganlet.metrics.kernel import kernel_distance
from ganlet.metrics.streams import extract

__all__ = [
    "FEATURES",
    "FeatureNet",
    "Fidelity",
    "Figure",
    "Interval",
    "Moments",
    "MomentsAccumulator",
    "compare",
    "decide",
    "extract",
    "feature_net",
    "frechet_distance",
    "kernel_distance",
    "key",
    "moments",
    "paired_change_percent",
    "pictures_needed",
    "proportion",
]
