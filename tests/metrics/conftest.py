"""pytorch-fid's own network, and small pictures."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest


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
