"""The network that an artifact was made from, behind the interface of every runner."""

import numpy as np
import torch
from numpy.typing import NDArray

from ganlet.artifact import Stage
from ganlet.device.feed import Feed, check_feed
from ganlet.device.runner import check_pictures
from ganlet.models.base import Generator
from ganlet.training.load import load_generator


class TorchRunner:
    """runner(feed) -> images, as `ganlet.device.runner.Runner` says, by torch in eval mode, where the generator is."""

    provider = "CPUExecutionProvider"

    def __init__(self, generator: Generator, name: str) -> None:
        config = generator.config
        self.generator = generator.eval()
        self.name = name
        self.ports = generator.ports
        self.picture_shape = (config.channels, config.size_px, config.size_px)

    @classmethod
    def of_stage(cls, stage: Stage) -> "TorchRunner":
        """The runner of a stage's generator; its weights are verified first."""
        return cls(load_generator(stage), f"{stage.name} (torch)")

    def __call__(self, feed: Feed) -> NDArray[np.float32]:
        """Draw the pictures of a feed, as `ganlet.device.runner.Runner` says."""
        count = check_feed(self.name, self.ports, feed)
        place = next(self.generator.parameters()).device  # a generator in training may be on a card
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array).to(place) for name, array in feed.items()}
            images: NDArray[np.float32] = self.generator(**tensors).cpu().numpy()
        check_pictures(self, images, count)
        return images
