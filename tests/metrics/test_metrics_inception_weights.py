"""Where the weights come from, and which are refused. Nothing is downloaded here."""

import hashlib
import io
import os
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.metrics import inception_weights
from ganlet.metrics.features import feature_net, frechet_metric
from ganlet.metrics.inception_weights import FILE_NAME, SHA256, URL, VARIABLE, find_weights

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", _no_network)


def _no_network(url: str, timeout: float) -> Any:
    raise urllib.error.URLError("no network in this test")


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small file that counts as the original."""
    path = tmp_path / "original.pth"
    path.write_bytes(b"weights")
    monkeypatch.setattr(inception_weights, "SHA256", hashlib.sha256(b"weights").hexdigest())
    return path


def test_the_hash_begins_as_the_published_name_says() -> None:
    assert FILE_NAME.endswith(f"-{SHA256[:8]}.pth") and URL.endswith(FILE_NAME)


def test_a_named_file_comes_before_the_variable_and_that_before_the_cache(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "hub" / "checkpoints" / FILE_NAME
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"weights")
    assert find_weights(None).path == cached
    by_variable = tmp_path / "variable.pth"
    by_variable.write_bytes(b"weights")
    monkeypatch.setenv(VARIABLE, str(by_variable))
    assert find_weights(None).path == by_variable
    found = find_weights(original)
    assert found.path == original and found.original


def test_without_file_and_network_the_sentence_names_address_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(GanletError) as fault:
        find_weights(None)
    for words in (URL, FILE_NAME, str(tmp_path / "hub" / "checkpoints"), "--weights", "no network in this test"):
        assert words in str(fault.value)


def test_a_download_is_kept_where_pytorch_fid_keeps_its_own(
    original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def answer(url: str, timeout: float) -> Any:
        asked.append(url)
        return io.BytesIO(b"weights")

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    path = tmp_path / "hub" / "checkpoints" / FILE_NAME
    assert find_weights(None).path == path and path.read_bytes() == b"weights"
    find_weights(None)
    assert asked == [URL]


def test_a_download_of_another_hash_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(b"a login page"))
    with pytest.raises(GanletError, match="downloaded Inception weights have the SHA-256"):
        find_weights(None)
    assert not list(tmp_path.rglob("*.pth*"))


def test_a_file_of_another_hash_needs_a_name(original: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.pth"
    other.write_bytes(b"other weights")
    with pytest.raises(GanletError, match=r"has the SHA-256 .* expected .*--weights-name"):
        find_weights(other)
    found = find_weights(other, "mine")
    assert not found.original and found.sha256 == hashlib.sha256(b"other weights").hexdigest()
    with pytest.raises(GanletError, match="holds the original Inception weights"):
        find_weights(original, "mine")


def test_a_missing_file_and_a_name_without_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(GanletError, match=r"none.pth cannot be read \(No such file"):
        find_weights(tmp_path / "none.pth")
    with pytest.raises(GanletError, match="need their file"):
        find_weights(None, "mine")


def test_weights_of_another_network_are_told(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_fid.inception", reason="pytorch-fid or torchvision is not installed")
    for name, content in (("garbage", b"no weights"), ("other", None)):
        path = tmp_path / f"{name}.pth"
        if content is None:
            torch.save({"weight": torch.zeros(3)}, path)
        else:
            path.write_bytes(content)
        with pytest.raises(GanletError, match="does not hold the weights of this Inception network"):
            feature_net("inception", weights=path, weights_name=name)


def test_pickled_code_in_a_weights_file_does_not_run(tmp_path: Path) -> None:
    pytest.importorskip("pytorch_fid.inception", reason="pytorch-fid or torchvision is not installed")
    trace = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (trace,))

    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(GanletError, match="does not hold the weights"):
        feature_net("inception", weights=tmp_path / "evil.pth", weights_name="evil")
    assert not trace.exists()


def test_names_that_would_spoil_a_figures_name_are_refused(original: Path) -> None:
    with pytest.raises(GanletError, match="would be part of a figure's name"):
        feature_net("inception", weights=original, weights_name="my_net 2k")
    with pytest.raises(GanletError, match="the feature net lite0 takes none"):
        feature_net("lite0", weights=original)


def test_only_the_original_weights_give_a_fid() -> None:
    assert [frechet_metric(n) for n in ("inception", "inception_clean")] == ["fid", "fid"]
    assert [frechet_metric(n) for n in ("inception-mine", "inception-mine_clean", "lite0")] == ["fd", "fd", "fd"]


@pytest.mark.slow
def test_class_probabilities_sum_to_one(inception_file: Path) -> None:
    net = feature_net("inception", weights=inception_file, weights_name="seeded")
    features = np.abs(np.random.default_rng(0).standard_normal((4, 2048)))
    found = net.class_probabilities(features)
    expected = torch.softmax(torch.from_numpy(features) @ torch.load(inception_file)["fc.weight"].double().T, 1)
    assert found.shape == (4, 1008)
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-9)


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_pipe_is_not_waited_for(by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tmp_path / "weights.pth"
    os.mkfifo(pipe)
    if by == "variable":
        monkeypatch.setenv("GANLET_INCEPTION_WEIGHTS", str(pipe))
    with pytest.raises(GanletError, match="a pipe or a device"):
        find_weights(pipe if by == "option" else None)
