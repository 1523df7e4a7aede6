"""What `ganlet fid` refuses: one sentence on stderr, exit code 2, nothing on stdout."""

import stat
import struct
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganlet.metrics import Moments
from ganlet.metrics.statistics import Statistics, write_statistics
from support import Answer, expect_refused, zip_of

Call = Callable[..., Answer]
Pictures = Callable[..., Path]


def test_fewer_pictures_than_the_metric_needs(ganlet: Call, net: Path, pictures: Pictures) -> None:
    one, few, many = pictures("one", count=1), pictures("few", count=5), pictures("many")
    expect_refused(ganlet("fid", one, many, "--features", net), "one holds 1 pictures, expected at least 2")
    expect_refused(ganlet("fid", many, few, "--features", net, "--prdc"), "few has 5 pictures, expected at least 6")
    expect_refused(
        ganlet("fid", few, many, "--features", net, "--extrapolate"), "few has 5 pictures, expected at least 10"
    )
    expect_refused(ganlet("fid", many, few, "--features", net, "--samples", 1), "--samples 1")
    expect_refused(ganlet("fid", many, many, "--protocol", "basework"), "many holds 24 pictures, expected at least 500")


def test_mixed_sizes(ganlet: Call, net: Path, pictures: Pictures) -> None:
    a = pictures("a")
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(a / "odd.png")
    expect_refused(
        ganlet("fid", a, pictures("b"), "--features", net),
        "2 different sizes (16x16 px 24 times, odd.png 30x20)",
        "--size 16",
    )
    expect_refused(ganlet("fid", a, a, "--features", net, "--size", 0), "--size 0; choose 1 to 2048 pixels")


def test_corrupt_files_are_all_named_before_the_work(ganlet: Call, net: Path, pictures: Pictures) -> None:
    a, b = pictures("a"), pictures("b")
    whole = (a / "003.png").read_bytes()
    (a / "003.png").write_bytes(whole[: len(whole) // 2])  # its size can be read, its pixels cannot
    (a / "004.png").write_bytes(whole[:-30])
    expect_refused(
        ganlet("fid", a, b, "--features", net), "2 of the 24 pictures of", "003.png is damaged", "004.png is damaged"
    )
    (a / "005.png").write_text("no picture")
    (a / "006.png").write_bytes(b"")
    expect_refused(ganlet("fid", a, b, "--features", net), "005.png is not a JPEG, PNG", "006.png is empty")


@pytest.mark.parametrize(
    ("mode", "words"),
    [("F", "floating-point values (mode F)"), ("I", "32 bits or with a sign (mode I)"), ("LAB", "of the mode LAB")],
)
def test_modes_that_cannot_be_read_exactly(ganlet: Call, net: Path, pictures: Pictures, mode: str, words: str) -> None:
    a = pictures("a")
    Image.new(mode, (16, 16)).save(a / "deep.tif")
    for size in ((), ("--size", 16)):
        answer = ganlet("fid", a, a, "--features", net, *size)
        expect_refused(answer, "1 of the 25 pictures of", "deep.tif holds", words, "8 bits")


def test_folders_and_archives_without_pictures_and_other_files(
    ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path
) -> None:
    b = pictures("b")
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "note.txt").write_text("no picture")
    zip_of(tmp_path / "empty", tmp_path / "empty.zip")
    (tmp_path / "odd.txt").write_text("text")
    for name, words in (
        ("empty", "holds 0 files but no picture"),
        ("texts", "holds 1 files but no picture"),
        ("empty.zip", "holds 0 files but no picture"),
        ("odd.txt", "is none of: a run, an .onnx file"),
        ("none", "does not exist"),
    ):
        expect_refused(ganlet("fid", tmp_path / name, b, "--features", net), name, words)


def test_damaged_archives(ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path) -> None:
    b = pictures("b")
    whole = zip_of(b, tmp_path / "whole.zip").read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.zip").write_text("text")
    for name in ("cut", "text"):
        expect_refused(
            ganlet("fid", tmp_path / f"{name}.zip", b, "--features", net), f"{name}.zip is not a whole zip archive"
        )
    flipped = bytearray(whole)
    flipped[200] ^= 0xFF  # inside the first picture: the archive's checksum tells
    (tmp_path / "flipped.zip").write_bytes(flipped)
    expect_refused(ganlet("fid", tmp_path / "flipped.zip", b, "--features", net), "000.png is damaged")


@pytest.mark.parametrize("name", ["../out.png", "/root.png", "a/../../out.png", "C:/out.png", "..\\out.png"])
def test_archives_that_point_out_of_themselves(
    ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path, name: str
) -> None:
    b = pictures("b")
    path = zip_of(b, tmp_path / "trick.zip")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, (b / "000.png").read_bytes())
    expect_refused(ganlet("fid", path, b, "--features", net), "points out of the archive")
    assert not list(tmp_path.glob("out.png"))


def test_archives_with_links_and_encrypted_ones(ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path) -> None:
    b = pictures("b")
    path = zip_of(b, tmp_path / "link.zip")
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    expect_refused(ganlet("fid", path, b, "--features", net), "holds the link 'link.png'")
    content = bytearray(zip_of(b, tmp_path / "locked.zip").read_bytes())
    at = content.index(b"PK\x01\x02")  # the first entry of the directory at the end
    content[at + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(content)
    expect_refused(ganlet("fid", tmp_path / "locked.zip", b, "--features", net), "is encrypted")


def test_statistics_that_are_none(ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path) -> None:
    a = pictures("a")
    for name, arrays, words in (
        ("shape", {"mu": np.zeros(12), "sigma": np.eye(11)}, "expected (d,) and (d, d)"),
        ("nan", {"mu": np.full(12, np.nan), "sigma": np.eye(12)}, "not finite"),
        ("huge", {"mu": np.full(12, 1e200), "sigma": np.eye(12)}, "beyond 1e+100"),
        ("keys", {"mean": np.zeros(12)}, "holds mean, expected mu and sigma"),
        ("pickle", {"mu": np.array([{}], dtype=object), "sigma": np.eye(12)}, "is not a whole .npz"),
        ("other", {"mu": np.zeros(2048), "sigma": np.eye(2048)}, "2048 features a picture but quarters gives 12"),
    ):
        np.savez(tmp_path / f"{name}.npz", **arrays)
        expect_refused(ganlet("fid", a, tmp_path / f"{name}.npz", "--features", net), f"{name}.npz", words)


def test_damaged_statistics(ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path) -> None:
    a, path = pictures("a"), tmp_path / "deflate.npz"
    np.savez_compressed(path, mu=np.random.default_rng(0).random(12), sigma=np.eye(12))
    content = bytearray(path.read_bytes())
    content[60:90] = b"\xff" * 30
    path.write_bytes(content)
    expect_refused(ganlet("fid", a, path, "--features", net), "deflate.npz", "is not a whole .npz")
    header = b"\x93NUMPY\x01\x00" + struct.pack("<H", 118)
    header += f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({10**14},), }}".ljust(117).encode() + b"\n"
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as archive:
        archive.writestr("mu.npy", header)
        archive.writestr("sigma.npy", header)
    expect_refused(ganlet("fid", a, tmp_path / "claims.npz", "--features", net), "claims.npz", "is not a whole .npz")


def test_statistics_of_another_protocol(ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path) -> None:
    a = pictures("a")
    for name, protocol in (("one", "protocol one"), ("two", "protocol two")):
        known = Statistics(Moments(np.zeros(12), np.eye(12), 50), "quarters", protocol, "0" * 64)
        write_statistics(tmp_path / f"{name}.npz", known)
    one, two = tmp_path / "one.npz", tmp_path / "two.npz"
    expect_refused(ganlet("fid", a, one, "--features", net), "one.npz was measured by the protocol (protocol one)")
    expect_refused(ganlet("fid", one, two), "protocol one", "protocol two", "means nothing")
    expect_refused(
        ganlet("fid", one, one, "--features", "lite0"), "was measured in quarters features, but --features lite0"
    )
    expect_refused(ganlet("fid", a, one, "--features", net, "--kid"), "holds mean and covariance only")
    expect_refused(ganlet("fid", one, one, "--protocol", "basework"), "holds statistics of 50 pictures, expected 500")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--features", "vgg"), "There is no feature net 'vgg'"),
        (("--features", "none.onnx"), "none.onnx does not exist"),
        (("--protocol", "mine"), "There is no protocol 'mine'; expected basework"),
        (("--protocol", "basework", "--features", "lite0"), "leave --features and --samples out"),
        (("--weights", "none.pth"), "the feature net lite0 takes none"),
        (("--samples", "10", "--seed", "-1"), "--seed -1"),
    ],
)
def test_options_that_do_not_fit(ganlet: Call, pictures: Pictures, words: tuple[Any, ...], told: str) -> None:
    a = pictures("a")
    expect_refused(ganlet("fid", a, a, *words), told)


def test_options_without_a_use(ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path) -> None:
    known, path = Statistics(Moments(np.zeros(12), np.eye(12), 50), "", "", "0" * 64), tmp_path / "one.npz"
    write_statistics(path, known)
    for words, told in (
        (("--samples", 100, "--size", 32), "no use for --size and --samples"),
        (("--weights", "none.pth"), "no use for --weights"),
        (("--features", "nonsense"), "names no net of these statistics; expected lite0"),
        (("--seed", -3), "--seed -3"),
    ):
        expect_refused(ganlet("fid", path, path, *words), told)


def test_divergences_and_scores_that_cannot_be_had(
    ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, few, path = pictures("a"), pictures("few", count=9), tmp_path / "one.npz"
    write_statistics(path, Statistics(Moments(np.zeros(12), np.eye(12), 12), "quarters", "", "0" * 64))
    answer = ganlet("fid", path, path, "--divergences")
    expect_refused(answer, "12 pictures in 12 features is not of full rank", "use more pictures")
    words = ("--features", net, "--inception-score")
    expect_refused(ganlet("fid", a, a, *words), "takes the classes of Inception", "leave --features out")
    expect_refused(ganlet("fid", path, a, "--inception-score"), "one.npz holds mean and covariance only", "score of A")
    expect_refused(ganlet("fid", a, few, "--inception-score"), "few has 9 pictures, expected at least 10")
    monkeypatch.setattr("ganlet.commands.fid.compare.find_spec", lambda name: None)
    expect_refused(ganlet("fid", a, a, "--features", net, "--divergences"), "scikit-learn", "ganlet[fid]")


def test_the_inception_score_without_weights_is_refused_as_the_fid_is(
    ganlet: Call, pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("pytorch_fid.inception", reason="pytorch-fid or torchvision is not installed")

    def no_network(url: str, timeout: float) -> Any:
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv("GANLET_INCEPTION_WEIGHTS", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    a = pictures("a")
    answers = [ganlet("fid", a, a, *words) for words in (("--inception-score",), ("--features", "inception"))]
    for answer in answers:
        expect_refused(answer, "weights are not here", "no network in this test", "download https://", "--weights")
    told = [[line for line in answer[2].splitlines() if line.startswith("ganlet: ")] for answer in answers]
    assert told[0] == told[1]


def test_weights_of_the_wrong_hash(ganlet: Call, pictures: Pictures, tmp_path: Path) -> None:
    pytest.importorskip("pytorch_fid.inception", reason="pytorch-fid or torchvision is not installed")
    (tmp_path / "other.pth").write_bytes(b"weights")
    a = pictures("a")
    words = ("--features", "inception", "--weights", tmp_path / "other.pth")
    expect_refused(
        ganlet("fid", a, a, *words), "other.pth has the SHA-256", "expected 6726825d0af5f729", "--weights-name"
    )
    expect_refused(
        ganlet("fid", a, a, *words, "--weights-name", "mine"), "does not hold the weights of this Inception network"
    )


def test_generators_that_are_none(ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path) -> None:
    b = pictures("b")
    expect_refused(ganlet("fid", net, b, "--features", net), "is not a Ganlet generator")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    expect_refused(
        ganlet("fid", tmp_path / "broken.onnx", b, "--features", net), "broken.onnx is not a whole ONNX model"
    )
