"""idx files: content, labels, and headers that lie."""

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganlet.data import PictureSet, load_pictures
from ganlet.errors import GanletError

PIXELS = np.random.default_rng(1).integers(0, 256, (6, 7, 9), dtype=np.uint8)
LABELS = bytes([3, 0, 1, 3, 2, 0])
NAME = "train-images-idx3-ubyte"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLET_CACHE", str(tmp_path / "cache"))


def images(*dims: int, magic: int = 0x803, body: bytes = PIXELS.tobytes()) -> bytes:
    return struct.pack(f">I{len(dims or (6, 7, 9))}I", magic, *(dims or (6, 7, 9))) + body


def load(path: Path, size: int = 7, channels: int = 1, **settings: Any) -> PictureSet:
    return load_pictures("idx", path=path, size=size, channels=channels, **settings)


@pytest.mark.parametrize("zipped", [True, False])
def test_pictures_and_labels(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / (NAME + (".gz" if zipped else ""))
    path.write_bytes(gzip.compress(images()) if zipped else images())
    found = load(path)
    np.testing.assert_array_equal(found.pictures[:, 0], PIXELS[:, :, 1:8])
    assert found.labels is None and found.label_names == ()
    labels = tmp_path / "train-labels-idx1-ubyte.gz"  # gzipped beside either
    labels.write_bytes(gzip.compress(struct.pack(">2I", 0x801, 6) + LABELS))
    found = load(path)
    np.testing.assert_array_equal(found.labels, list(LABELS))
    assert found.label_names == ("0", "1", "2", "3")


def test_no_crop_and_three_channels_as_pillow_does(tmp_path: Path) -> None:
    (tmp_path / "some.idx").write_bytes(images())
    found = load(tmp_path / "some.idx", 5, 3, crop="none")
    expected = np.asarray(Image.fromarray(PIXELS[2]).resize((5, 5), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(found.pictures[2, 1] - expected).max() <= 2


HUGE = 2**32 - 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "starts with nothing"),
        (b"PNG", "is not an idx file of pictures: it starts with 504e47"),
        (images(magic=0x801), "starts with 00000801 where 00000803"),
        (images(magic=0xD03), "starts with 00000d03"),
        (images()[:12], "is not an idx file"),
        (images(body=PIXELS.tobytes()[:-1]), r"promises 6x7x9 pictures \(378 bytes\) but 377 bytes follow"),
        (images(body=PIXELS.tobytes() + b"x"), r"promises 6x7x9 pictures \(378 bytes\) but more bytes follow"),
        (images(HUGE, 4096, 4096), "but 378 bytes follow"),
        (images(6, HUGE, HUGE), "1 to 4096 pixels a side"),
        (images(0, 7, 9, body=b""), "at least one"),
        (images(6, 0, 9), "at least one"),
        (gzip.compress(images())[:-20], "cannot be read"),
        (gzip.compress(images())[:-8] + bytes(8), "cannot be read"),  # a wrong checksum
        (b"\x1f\x8b\x08" + bytes(7) + b"\xff" * 40, "cannot be read"),
        (gzip.compress(images(body=bytes(10**7))), "but more bytes follow"),
    ],
)
def test_lying_files(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "images.idx"
    path.write_bytes(content)
    with pytest.raises(GanletError, match=message) as caught:
        load(path)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")


def test_lying_header_does_not_allocate(tmp_path: Path) -> None:
    tracemalloc = pytest.importorskip("tracemalloc")
    path = tmp_path / "images.idx.gz"
    path.write_bytes(gzip.compress(images(HUGE, 4096, 4096, body=bytes(3 * 10**7))))
    tracemalloc.start()
    with pytest.raises(GanletError, match="bytes follow"):
        load(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20, peak


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (struct.pack(">2I", 0x801, 5) + LABELS[:5], "6 pictures but train-labels-idx1-ubyte holds 5 labels"),
        (struct.pack(">2I", 0x803, 6) + LABELS, "is not an idx file of labels"),
        (struct.pack(">2I", 0x801, 6) + LABELS[:4], "promises 6 labels"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, labels: bytes, message: str) -> None:
    (tmp_path / NAME).write_bytes(images())
    (tmp_path / NAME.replace("images-idx3", "labels-idx1")).write_bytes(labels)
    with pytest.raises(GanletError, match=message):
        load(tmp_path / NAME)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.idx", tmp_path):
        with pytest.raises(GanletError, match="cannot be read"):
            load(path)
    with pytest.raises(GanletError, match="no path is given"):
        load_pictures("idx", size=8, channels=1)
