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

    kept = inception.load_state_dict_from_url
    try:  # its own constructor, stopped where it would download
        inception.load_state_dict_from_url = _stop
        inception.fid_inception_v3()
    except _Built as built:
        net = built.args[0]
    finally:
        inception.load_state_dict_from_url = kept
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


class _Built(Exception):
    pass


def _stop(*args: Any, **kwargs: Any) -> Any:
    import inspect

    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    raise _Built(frame.f_back.f_locals["inception"])


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

    kept = inception.load_state_dict_from_url
    inception.load_state_dict_from_url = lambda *args, **kwargs: torch.load(inception_file, weights_only=True)
    try:
        return inception.InceptionV3([3]).eval()
    finally:
        inception.load_state_dict_from_url = kept


@pytest.fixture
def speckled() -> np.ndarray:
    """uint8 (6, 3, 40, 40)."""
    return np.random.default_rng(0).integers(0, 256, (6, 3, 40, 40), dtype=np.uint8)
