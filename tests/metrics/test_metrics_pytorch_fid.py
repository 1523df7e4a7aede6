"""Against pytorch-fid itself: its distance, its features from the same weights, its statistics files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganlet.errors import GanletError
from ganlet.metrics import Moments, extract, feature_net, frechet_distance, moments
from ganlet.metrics.inception import Inception
from ganlet.metrics.statistics import Statistics, read_statistics, write_statistics

fid_score = pytest.importorskip("pytorch_fid.fid_score", reason="pytorch-fid or torchvision is not installed")
scipy = pytest.importorskip("scipy")
needs_old_scipy = pytest.mark.skipif(
    tuple(int(part) for part in scipy.__version__.split(".")[:2]) >= (1, 18),
    reason="pytorch-fid's own distance needs SciPy below 1.18",
)


def rectified(seed: int, count: int, dim: int) -> np.ndarray:
    """Features like Inception's: not negative, of steeply falling variance, correlated."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(7).standard_normal((dim, dim)) / np.sqrt(dim)
    spread = np.exp(-np.linspace(0, 6, dim))
    return np.abs(generator.standard_normal((count, dim)) * spread @ mixing + 0.1 * seed)


def theirs(a: Moments, b: Moments) -> float:
    return float(fid_score.calculate_frechet_distance(a.mean, a.covariance, b.mean, b.covariance))


@needs_old_scipy
@pytest.mark.parametrize(("dim", "count", "tolerance"), [(192, 300, 1e-6), (192, 100, 1e-4), (64, 2, 1e-4)])
def test_distance_is_pytorch_fids(dim: int, count: int, tolerance: float) -> None:
    a, b = (moments(rectified(seed, count, dim)) for seed in (0, 1))
    np.testing.assert_allclose(frechet_distance(a, b), theirs(a, b), rtol=tolerance)


@pytest.mark.slow
@needs_old_scipy
@pytest.mark.parametrize(("count", "tolerance"), [(2500, 1e-6), (1000, 1e-4)])
def test_distance_in_2048_features_is_pytorch_fids(count: int, tolerance: float) -> None:
    a, b = (moments(rectified(seed, count, 2048)) for seed in (0, 1))
    np.testing.assert_allclose(frechet_distance(a, b), theirs(a, b), rtol=tolerance)


def folder(path: Path, seed: int, count: int) -> Path:
    path.mkdir()
    generator = np.random.default_rng(seed)
    for index in range(count):
        coarse = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((64, 64), Image.Resampling.BICUBIC).save(path / f"{index:03d}.png")
    return path


def pixels(path: Path) -> np.ndarray:
    return np.stack([np.asarray(Image.open(file)).transpose(2, 0, 1) for file in sorted(path.glob("*.png"))])


@pytest.mark.slow
@needs_old_scipy
def test_two_folders_give_pytorch_fids_features_and_distance(
    inception_file: Path, pytorch_fid_net: Any, tmp_path: Path
) -> None:
    net = Inception(weights=inception_file, weights_name="seeded")
    sides = []
    for seed, name in enumerate("ab"):
        path = folder(tmp_path / name, seed, 64)
        expected = fid_score.get_activations(sorted(path.glob("*.png")), pytorch_fid_net, batch_size=32)
        found = net.features(pixels(path))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * expected.max())
        sides.append((moments(found), moments(expected)))
    ours, plain = (frechet_distance(sides[0][i], sides[1][i]) for i in (0, 1))
    np.testing.assert_allclose(ours, plain, rtol=1e-5)
    # Its matrix square root of a singular product is itself off by this much.
    np.testing.assert_allclose(ours, theirs(sides[0][1], sides[1][1]), rtol=1e-4)


@pytest.mark.slow
def test_features_match_whatever_the_batch_and_colour(
    inception_file: Path, pytorch_fid_net: Any, speckled: np.ndarray
) -> None:
    import torch

    net = Inception(weights=inception_file, weights_name="seeded")
    with torch.no_grad():
        expected = pytorch_fid_net(torch.from_numpy(speckled) / 255)[0].flatten(1).numpy()
    whole = net.features(speckled)
    assert whole.shape == (6, 2048) and whole.dtype == np.float32 and 0.3 < whole.std() < 30
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-5 * expected.max())
    single = extract(net, (speckled[i : i + 2] for i in (0, 2, 4)))
    np.testing.assert_allclose(single, whole, rtol=0, atol=1e-5 * whole.max())
    grey = speckled[:2, :1]
    np.testing.assert_allclose(net.features(grey), net.features(grey.repeat(3, axis=1)), rtol=0, atol=1e-5)
    assert net.features(speckled[:0]).shape == (0, 2048)


@pytest.mark.slow
def test_the_clean_protocol_resizes_otherwise_and_says_so(inception_file: Path, speckled: np.ndarray) -> None:
    plain = feature_net("inception", weights=inception_file, weights_name="seeded")
    clean = feature_net("inception_clean", weights=inception_file, weights_name="seeded")
    assert (plain.name, clean.name) == ("inception-seeded", "inception-seeded_clean")
    assert plain.protocol != clean.protocol and "antialiased" in clean.protocol
    at_size = np.random.default_rng(0).integers(0, 256, (2, 3, 299, 299), dtype=np.uint8)
    # Nothing is resized at 299 pixels, so only there the two are the same.
    np.testing.assert_allclose(clean.features(at_size), plain.features(at_size), rtol=0, atol=1e-4)
    assert np.abs(clean.features(speckled) - plain.features(speckled)).max() > 0.01


def test_statistics_files_go_both_ways(tmp_path: Path) -> None:
    features = rectified(3, 50, 16)
    mean, covariance = features.mean(0), np.cov(features, rowvar=False)
    np.savez_compressed(tmp_path / "theirs.npz", mu=mean, sigma=covariance)  # as pytorch-fid's save_fid_stats does
    known = read_statistics(tmp_path / "theirs.npz")
    np.testing.assert_allclose(frechet_distance(known.moments, moments(features)), 0, atol=1e-12)
    assert (known.moments.count, known.protocol) == (0, "")
    write_statistics(tmp_path / "ours.npz", Statistics(moments(features), "lite0", "a protocol", "0" * 64))
    mu, sigma = fid_score.compute_statistics_of_path(str(tmp_path / "ours.npz"), None, 1, 16, "cpu")
    np.testing.assert_allclose(mu, mean, rtol=1e-12)
    np.testing.assert_allclose(sigma, covariance, rtol=1e-9, atol=1e-12)


def test_missing_packages_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pytorch_fid.inception", None)
    with pytest.raises(GanletError, match=r'needs torchvision and pytorch-fid .*pip install "ganlet\[fid\]"'):
        Inception()
