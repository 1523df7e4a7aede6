"""Walks as files: what Pillow and ffmpeg read back, and that frames are not kept."""

import sys
import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from ganlet.device import movies
from ganlet.device.movies import write_movie
from ganlet.errors import GanletError

SIDE = 16


def frames(count: int, channels: int = 3) -> list[NDArray[np.uint8]]:
    """A bright square that wanders over a dark ground: colours that survive every format."""
    made = []
    for index in range(count):
        picture = np.full((SIDE, SIDE, channels), 40, np.uint8)
        picture[index % 12 : index % 12 + 4, 4:8] = 220
        made.append(picture)
    return made


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".apng", ".gif", ".webp"])
def test_pillow_reads_every_frame_back(suffix: str, channels: int, tmp_path: Path) -> None:
    path, drawn = tmp_path / f"walk{suffix}", frames(13, channels)
    write_movie(path, drawn, len(drawn), fps=20)
    with Image.open(path) as movie:
        read = [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(movie)]
        assert movie.info["duration"] == 50 and movie.info["loop"] == 0 and movie.size == (SIDE, SIDE)
    assert len(read) == len(drawn)
    for got, expected in zip(read, drawn, strict=True):
        error = np.abs(got - np.broadcast_to(expected, (SIDE, SIDE, 3)))
        assert error.mean() < 6 if suffix == ".webp" else error.max() == 0
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_ffmpeg_reads_every_frame_back(tmp_path: Path) -> None:
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    drawn = frames(9)
    write_movie(tmp_path / "walk.mp4", drawn, len(drawn), fps=25)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "walk.mp4"))
    about = next(reader)
    read = [np.frombuffer(frame, np.uint8).reshape(SIDE, SIDE, 3).astype(int) for frame in reader]
    assert about["size"] == (SIDE, SIDE) and about["fps"] == 25 and len(read) == 9
    assert all(np.abs(got - expected).mean() < 8 for got, expected in zip(read, drawn, strict=True))


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_frames_are_let_go_once_written(suffix: str, tmp_path: Path) -> None:
    alive: list[weakref.ref[NDArray[np.uint8]]] = []
    most = 0

    def drawn() -> Iterator[NDArray[np.uint8]]:
        nonlocal most
        for index in range(60):
            picture = np.full((8, 8, 3), 4 * index, np.uint8)
            alive.append(weakref.ref(picture))
            most = max(most, sum(reference() is not None for reference in alive))
            yield picture
            del picture

    write_movie(tmp_path / f"walk{suffix}", drawn(), 60, fps=10)
    assert len(alive) == 60 and most <= 3


def test_a_walk_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> Iterator[NDArray[np.uint8]]:
        yield frames(1)[0]
        raise GanletError("the generator broke")

    for suffix in movies.MOVIES:
        with pytest.raises(GanletError, match="the generator broke"):
            write_movie(tmp_path / f"walk{suffix}", broken(), 2, fps=10)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("walk.avi", "walk"):
        with pytest.raises(GanletError, match=r"expected a file ending in \.webp, \.png"):
            write_movie(tmp_path / name, [], 0, fps=10)
    for fps in (0, 61):
        with pytest.raises(GanletError, match="expected 1 to 60"):
            write_movie(tmp_path / "walk.gif", [], 0, fps=fps)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(GanletError, match=r'pip install "ganlet\[video\]"'):
        write_movie(tmp_path / "walk.mp4", [], 0, fps=10)
    monkeypatch.setattr(movies.features, "check", lambda name: False)
    with pytest.raises(GanletError, match="Pillow with WebP"):
        write_movie(tmp_path / "walk.webp", [], 0, fps=10)
    assert list(tmp_path.iterdir()) == []
