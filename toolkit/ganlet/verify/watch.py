"""The distance to the data that training is watched by; it never sees what the verdict will rest on."""

from collections.abc import Iterable, Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ganlet.data import PictureSet
from ganlet.device import Sampler
from ganlet.device.pictures import to_uint8
from ganlet.metrics import Figure, Moments, compare, extract, feature_net, frechet_distance, moments
from ganlet.models.base import Generator
from ganlet.training.state import seed_of
from ganlet.verify.torch_runner import TorchRunner

CHUNK = 256


class DistanceToData:
    """A generator's Frechet distance from `samples` of the pictures at `indices`: an `Evaluate` for training.

    Give the training pictures: choosing the best generator by the held-out ones would flatter the verdict. For the same
    reason the latents are others than verification's; they are the same at every call, so that steps compare. The
    pictures of the data go through the feature net once, at the first call.
    """

    def __init__(
        self, pictures: PictureSet, indices: NDArray[np.int64], *, net_name: str, samples: int, seed: int
    ) -> None:
        self.seed = seed_of(seed, "evaluate")
        self.samples = samples
        self.pictures = pictures.pictures
        self.chosen = np.sort(np.random.default_rng(self.seed).permutation(indices)[:samples])
        self.net_name, self.net = net_name, feature_net(net_name)

    def __call__(self, generator: Generator) -> float:
        return frechet_distance(moments(extract(self.net, self._drawn(generator, self.samples))), self._data)

    def figure(self, generator: Generator) -> Figure:
        """The same distance with its interval, to be compared with another generator's on the same latents."""
        drawn = extract(self.net, self._drawn(generator, self.samples))
        return compare(drawn, self._features, net=self.net_name, seed=self.seed).fd

    def rehearse(self, generator: Generator) -> None:
        for images in self._drawn(generator, self.net.batch):
            self.net.features(images)

    def tensors(self) -> Iterable[Tensor]:
        return self.net.tensors()

    @cached_property
    def _data(self) -> Moments:
        return moments(extract(self.net, self._of_the_data()))

    @cached_property
    def _features(self) -> NDArray[np.float32]:
        return extract(self.net, self._of_the_data())

    def _of_the_data(self) -> Iterator[NDArray[np.uint8]]:
        for start in range(0, len(self.chosen), CHUNK):
            yield np.array(self.pictures[self.chosen[start : start + CHUNK]])

    def _drawn(self, generator: Generator, count: int) -> Iterator[NDArray[np.uint8]]:
        for images in Sampler.of(TorchRunner(generator, "generator in training")).stream(self.seed, 0, count):
            yield to_uint8(images).transpose(0, 3, 1, 2)
