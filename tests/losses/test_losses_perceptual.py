"""The perceptual net against the package that its weights come from."""

import importlib
import sys
import types
from pathlib import Path

import pytest
import torch

from ganlet.errors import GanletError
from ganlet.losses import perceptual as module
from ganlet.losses.perceptual import PerceptualNet, weights_path


def pictures(seed: int, size: int = 32, channels: int = 3) -> torch.Tensor:
    return torch.rand(2, channels, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def net() -> PerceptualNet:
    made = PerceptualNet()
    made.load()
    return made


@pytest.mark.slow
@pytest.mark.parametrize("size", [32, 64])
def test_its_distance_is_that_of_the_published_package(
    net: PerceptualNet, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("IPython", "torchsummary", "skimage", "skimage.measure", "skimage.color", "cv2"):  # imported, unused
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(embed=None, summary=None, compare_ssim=None))
    published = importlib.import_module("stlpips_pytorch.stlpips")
    theirs = published.LPIPS(net="alex", variant="shift_tolerant", verbose=False, model_path=str(weights_path()))
    one, other = pictures(1, size), pictures(2, size)
    with torch.no_grad():
        expected = theirs(one, other).mean()
        got = net(one, other)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-6)
    assert expected > 0.01


def test_it_is_never_trained_and_lets_gradients_through_to_the_student_alone(net: PerceptualNet) -> None:
    drawn, taught = pictures(1).requires_grad_(), pictures(2).requires_grad_()
    net(drawn, taught).backward()
    assert not any(p.requires_grad for p in net.parameters())
    assert taught.grad is None and drawn.grad is not None and drawn.grad.abs().sum() > 0


def test_grey_and_small_pictures(net: PerceptualNet) -> None:
    grey, other = pictures(1, 16, channels=1), pictures(2, 16, channels=1)
    torch.testing.assert_close(net(grey, other), net(grey.expand(-1, 3, -1, -1), other.expand(-1, 3, -1, -1)))
    assert net(grey, grey) == 0


def test_a_missing_package_and_a_foreign_file_are_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "PACKAGE", "no_such_package")
    with pytest.raises(GanletError, match=r"stlpips-pytorch, not installed here; .*ganlet\[perceptual\]"):
        PerceptualNet().load()
    torch.save({"net.slice1.0.weight": torch.zeros(2)}, tmp_path / "other.pth")
    monkeypatch.setattr(module, "weights_path", lambda: tmp_path / "other.pth")
    with pytest.raises(GanletError, match="does not hold the perceptual net"):
        PerceptualNet().load()
