"""The network that an artifact was made from, behind the interface of every runner."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ganlet.artifact import Stage
from ganlet.device.runner import check_inputs, check_pictures
from ganlet.models import Generator
from ganlet.training.load import load_generator


class TorchRunner:
    """runner(z) -> images, as `ganlet.device.runner.Runner` says, by torch in eval mode, where the generator is."""

    provider = "CPUExecutionProvider"
    classes: int | None = None

    def __init__(self, generator: Generator, name: str) -> None:
        config = generator.config
        self.generator = generator.eval()
        self.name = name
        self.latent_dim = config.latent
        self.picture_shape = (config.channels, config.size_px, config.size_px)

    @classmethod
    def of_stage(cls, stage: Stage) -> "TorchRunner":
        """The runner of a stage's generator; its weights are verified first."""
        return cls(load_generator(stage), f"{stage.name} (torch)")

    def __call__(self, z: NDArray[np.float32], label: NDArray[Any] | None = None) -> NDArray[np.float32]:
        check_inputs(self, z, label)
        place = next(self.generator.parameters()).device  # a generator in training may be on a card
        with torch.inference_mode():
            images: NDArray[np.float32] = self.generator(torch.from_numpy(z).to(place)).cpu().numpy()
        check_pictures(self, images, len(z))
        return images
