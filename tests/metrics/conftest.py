"""An Inception of pytorch-fid's architecture with seeded weights: the real ones are a download."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def seeded_inception(seed: int = 0) -> Any:
    """State dict with the names and shapes of pytorch-fid's weights, scaled so that features stay of order one."""
    import torch
    from pytorch_fid import inception

    with pytest.MonkeyPatch.context() as patch:  # its own constructor, without the download
        patch.setattr(inception, "load_state_dict_from_url", lambda *args, **kwargs: {})
        patch.setattr(torch.nn.Module, "load_state_dict", lambda *args, **kwargs: None)
        net = inception.fid_inception_v3()
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            fan_in = module.weight[0].numel()
            module.weight.data.normal_(0, (2 / fan_in) ** 0.5, generator=generator)
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.3, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            module.weight.data.uniform_(0.7, 1.3, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
        elif isinstance(module, torch.nn.Linear):
            module.weight.data.normal_(0, 0.02, generator=generator)
    return net.state_dict()


@pytest.fixture(scope="session")
def inception_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A weights file for both tools, or a skip where pytorch-fid is not installed."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("pytorch_fid.inception", reason="pytorch-fid or torchvision is not installed")
    path = tmp_path_factory.mktemp("weights") / "seeded.pth"
    torch.save(seeded_inception(), path)
    yield path
    path.unlink()


@pytest.fixture(scope="session")
def pytorch_fid_net(inception_file: Path) -> Any:
    """pytorch-fid's own InceptionV3 with those weights."""
    import torch
    from pytorch_fid import inception

    with pytest.MonkeyPatch.context() as patch:
        weights = torch.load(inception_file, weights_only=True)
        patch.setattr(inception, "load_state_dict_from_url", lambda *args, **kwargs: weights)
        return inception.InceptionV3([3]).eval()


@pytest.fixture
def speckled() -> np.ndarray:
    """uint8 (6, 3, 40, 40)."""
    return np.random.default_rng(0).integers(0, 256, (6, 3, 40, 40), dtype=np.uint8)
