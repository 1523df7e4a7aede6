"""The Inception network of the original FID, with the arithmetic of pytorch-fid at about half its time."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ganlet.errors import GanletError, words_of
from ganlet.metrics.checks import require_pictures
from ganlet.metrics.inception_weights import find_weights
from ganlet.metrics.resize import resize_clean

ORIGINAL_NAMES = ("inception", "inception_clean")
# The way of the data up to the pooled features (Szegedy et al. 2016, table 1); None is a max pooling 3x3 of stride 2.
LAYERS = (
    *("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", None, "Conv2d_3b_1x1", "Conv2d_4a_3x3", None),
    *("Mixed_5b", "Mixed_5c", "Mixed_5d", "Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"),
    *("Mixed_7a", "Mixed_7b", "Mixed_7c"),
)


class Inception:
    """pool3 of Inception v3 as in Heusel et al. 2017: 2048 features a picture, by pytorch-fid's network and weights.

    `clean` resizes antialiased in float (see `resize_clean`) in place of the plain bilinear of pytorch-fid, whose
    figures are then not comparable: the net's name is `inception_clean`. `weights` is a file, else the weights are
    found as `find_weights` says. `weights_name` admits other weights than the original: the net is then called
    `inception-WEIGHTS_NAME`, which makes its figures `fd_`. Raises GanletError at once for missing packages or
    weights, and for a file that does not fit the network.
    """

    dim = 2048
    side = 299
    batch = 16  # fastest on 2 cores in channels_last; the results do not depend on it

    def __init__(self, *, clean: bool = False, weights: Path | None = None, weights_name: str = "") -> None:
        if weights_name and not re.fullmatch(r"[a-z0-9-]{1,24}", weights_name):
            raise GanletError(
                f"The weights' name {weights_name!r} would be part of a figure's name; use a-z, 0-9 and -, 24 at most."
            )
        _require_packages()
        file = find_weights(weights, weights_name)
        self.clean = clean
        base = "inception" if file.original else f"inception-{weights_name}"
        self.name = f"{base}_clean" if clean else base
        resizing = (
            "bicubic antialiased to 299x299 per channel in float, not clipped (Pillow); x/255"
            if clean
            else "x/255; bilinear to 299x299, align_corners=False, no antialiasing (torch)"
        )
        self.protocol = (
            f"inception v3 of pytorch-fid, weights {file.sha256}; grey to rgb; {resizing}; 2x-1; pool3; float32"
        )
        self._layers, self._fc = _load(file.path)

    def features(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (n, 2048) float32 of `pictures` uint8 (n, 1 or 3, height, width), in batches.

        Raises GanletError for another dtype or shape.
        """
        import torch

        require_pictures(pictures)
        found = np.empty((len(pictures), self.dim), dtype=np.float32)
        with torch.inference_mode():
            for start in range(0, len(pictures), self.batch):
                x = self._prepared(pictures[start : start + self.batch])
                for layer in self._layers:
                    x = layer(x)
                found[start : start + self.batch] = x.mean((2, 3)).numpy()
        return found

    def tensors(self) -> Iterable[Any]:
        """The weights of its layers, torch.Tensor."""
        return [tensor for layer in self._layers for tensor in layer.state_dict().values()]

    def class_probabilities(self, features: NDArray[np.generic]) -> NDArray[np.float64]:
        """Probabilities (n, 1008) float64 of the classes for `features` (n, 2048), for the Inception score.

        Without the bias of the last layer, as in the code of Salimans et al. 2016.
        """
        logits = features.astype(np.float64) @ self._fc.T
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits)
        probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    def _prepared(self, pictures: NDArray[np.uint8]) -> Any:
        """float32 (n, 3, 299, 299) in about [-1, 1], channels last."""
        import torch
        from torch.nn.functional import interpolate

        size = (self.side, self.side)
        if self.clean:
            scaled = torch.from_numpy(resize_clean(pictures, *size)).div_(255)
        else:
            scaled = torch.from_numpy(np.ascontiguousarray(pictures)).to(torch.float32).div_(255)
            scaled = interpolate(scaled, size=size, mode="bilinear", align_corners=False)
        scaled = (2 * scaled - 1).expand(-1, 3, -1, -1)
        return scaled.contiguous(memory_format=torch.channels_last)


def _require_packages() -> None:
    try:
        import pytorch_fid.inception  # noqa: F401
    except (ImportError, RuntimeError) as error:  # a torchvision of another torch fails with a RuntimeError
        raise GanletError(
            f"The feature net inception needs torchvision and pytorch-fid ({words_of(error)}); "
            'run: pip install "ganlet[fid]"'
        ) from error


def _network() -> Any:
    """pytorch-fid's `fid_inception_v3` without its download: torchvision's network with nine blocks exchanged."""
    import torch
    from pytorch_fid import inception as blocks
    from torchvision.models import inception_v3

    # Made without storage: no random initialisation, so a seeded training around this stays undisturbed.
    with torch.device("meta"):
        net = inception_v3(num_classes=1008, aux_logits=False, weights=None, init_weights=False)
        for name, channels, pool in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
            setattr(net, f"Mixed_{name}", blocks.FIDInceptionA(channels, pool_features=pool))
        for name, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
            setattr(net, f"Mixed_{name}", blocks.FIDInceptionC(768, channels_7x7=width))
        net.Mixed_7b, net.Mixed_7c = blocks.FIDInceptionE_1(1280), blocks.FIDInceptionE_2(2048)
    return net


def _load(path: Path) -> tuple[list[Any], NDArray[np.float64]]:
    """The layers in evaluation mode, folded, and the last layer's weights (1008, 2048)."""
    import torch

    net = _network()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        net.load_state_dict(state, strict=True, assign=True)
    except Exception as error:  # unpickling, zip, key and shape errors share no base class
        words = words_of((str(error).strip().splitlines() or [type(error).__name__])[-1])
        raise GanletError(
            f"{path} does not hold the weights of this Inception network ({words}); expected a state "
            "dict with the names and shapes of pytorch-fid's."
        ) from error
    net.eval().requires_grad_(False)
    fc = net.fc.weight.detach().to(torch.float64).numpy()
    _fold(net)
    net.to(memory_format=torch.channels_last)
    pool = torch.nn.MaxPool2d(kernel_size=3, stride=2)
    return [pool if name is None else getattr(net, name) for name in LAYERS], fc


def _fold(net: Any) -> None:
    """Fold each batch norm into the convolution before it: the same function to 1e-6, in half the time."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for block in net.modules():
        if hasattr(block, "conv") and hasattr(block, "bn"):
            block.conv = fuse_conv_bn_eval(block.conv, block.bn)
            block.bn = torch.nn.Identity()
