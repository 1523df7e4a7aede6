"""The distance to the data that training is watched by; it never sees what the verdict will rest on."""

from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ganlet.data import PictureSet
from ganlet.device import Sampler
from ganlet.device.pictures import to_uint8
from ganlet.metrics import FeatureNet, Moments, extract, feature_net, frechet_distance, moments
from ganlet.models import Generator
from ganlet.training.state import seed_of
from ganlet.verify.torch_runner import TorchRunner

CHUNK = 256


def distance_to_data(
    pictures: PictureSet, indices: NDArray[np.int64], *, net_name: str, samples: int, seed: int
) -> Callable[[Generator], float]:
    """A function that gives a generator's Frechet distance from `samples` of the pictures at `indices`.

    Give the training pictures: choosing the best generator by the held-out ones would flatter the verdict. For the same
    reason the latents are others than verification's; they are the same at every call, so that steps compare. The
    pictures of the data go through the feature net once, at the first call.
    """
    own_seed = seed_of(seed, "evaluate")
    chosen = np.sort(np.random.default_rng(own_seed).permutation(indices)[:samples])

    @cache
    def reference() -> tuple[FeatureNet, Moments]:
        net = feature_net(net_name)
        chunks = (np.array(pictures.pictures[chosen[i : i + CHUNK]]) for i in range(0, len(chosen), CHUNK))
        return net, moments(extract(net, chunks))

    def drawn(generator: Generator) -> Iterator[NDArray[np.uint8]]:
        for images in Sampler.of(TorchRunner(generator, "generator in training")).stream(own_seed, 0, samples):
            yield to_uint8(images).transpose(0, 3, 1, 2)

    def distance(generator: Generator) -> float:
        net, data = reference()
        return frechet_distance(moments(extract(net, drawn(generator))), data)

    return distance
