"""The same pictures in every batch, chunk and file."""

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ganlet.device import Sampler, latents
from ganlet.device.feed import Feed, Ports, z_port
from ganlet.device.latents import labels
from ganlet.device.pictures import to_uint8
from ganlet.errors import GanletError

Make = Callable[..., Path]


@dataclass
class ShapeDependent:
    """A backend like cuDNN: its last bits depend on the number of rows of a call."""

    provider: str
    ports: Ports = (z_port(4),)
    picture_shape: tuple[int, int, int] = (1, 2, 2)
    name: str = "fake"
    rows: list[int] = field(default_factory=list)

    def __call__(self, feed: Feed) -> NDArray[np.float32]:
        z = feed["z"]
        self.rows.append(len(z))
        return np.tanh(z).reshape(-1, 1, 2, 2) + np.float32(len(z) * 1e-3)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_batch_size_changes_no_bit(generator: Path, threads: int) -> None:
    floats = [Sampler(generator, batch=batch, threads=threads).floats(3, 70, seed=5) for batch in (1, 4, 7, 64)]
    for other in floats[1:]:
        assert np.array_equal(floats[0], other)
    pictures = Sampler(generator, batch=7, threads=threads).images(3, 70, seed=5)
    assert pictures.dtype == np.uint8 and pictures.shape == (70, 16, 16, 3)
    assert np.array_equal(pictures, to_uint8(floats[0]))


def test_off_the_cpu_every_call_has_the_same_number_of_rows() -> None:
    runner = ShapeDependent("CUDAExecutionProvider")
    floats = [Sampler.of(runner, batch=batch).floats(0, 70) for batch in (1, 4, 7, 64)]
    for other in floats[1:]:
        assert np.array_equal(floats[0], other)
    assert set(runner.rows) == {32}
    on_cpu = ShapeDependent("CPUExecutionProvider")
    assert not np.array_equal(Sampler.of(on_cpu, batch=1).floats(0, 4), Sampler.of(on_cpu, batch=4).floats(0, 4))


def test_a_picture_depends_on_seed_and_index_alone(generator: Path) -> None:
    sampler = Sampler(generator, threads=1)
    assert np.array_equal(sampler.images(0, 10)[4:7], sampler.images(4, 3))
    assert not np.array_equal(sampler.images(0, 2, seed=0), sampler.images(0, 2, seed=1))
    assert np.array_equal(sampler.floats(2, 3, seed=9), sampler.runner({"z": latents(9, 2, 3, 8)}))


def test_stream_is_lazy_and_bounded() -> None:
    runner = ShapeDependent("CPUExecutionProvider")
    chunks = Sampler.of(runner, batch=5).stream(0, 0, 10**12)
    assert runner.rows == [] and next(chunks).shape == (5, 1, 2, 2) and runner.rows == [5]
    assert [len(chunk) for chunk in Sampler.of(runner, batch=5).stream(0, 0, 12)] == [5, 5, 2]


def test_conditional_pictures(make_generator: Make) -> None:
    sampler = Sampler(make_generator(classes=3, channels=1), threads=1, batch=2)
    z = latents(0, 0, 5, 8)
    assert np.array_equal(sampler.floats(0, 5), sampler.runner({"z": z, "label": labels(0, 0, 5, 3)}))
    assert np.array_equal(sampler.floats(0, 5, label=2), sampler.runner({"z": z, "label": np.full(5, 2)}))
    for label in (-1, 3):
        with pytest.raises(GanletError, match="expected 0 to 2"):
            sampler.stream(0, 0, 5, label)


@pytest.mark.parametrize("channels", [1, 3])
def test_save_writes_the_pictures_and_a_sheet(make_generator: Make, tmp_path: Path, channels: int) -> None:
    sampler = Sampler(make_generator(channels=channels), threads=1, batch=3)
    calls: list[tuple[int, int]] = []
    out = tmp_path / "a" / "b"
    paths = sampler.save(out, 5, seed=1, start=10, grid=True, progress=lambda done, total: calls.append((done, total)))
    assert [path.name for path in paths] == [f"{index:06d}.png" for index in range(10, 15)] + ["grid.png"]
    assert sorted(out.iterdir()) == sorted(paths), "nothing temporary may remain"
    assert calls == [(done, 5) for done in range(1, 6)]
    for path, expected in zip(paths, sampler.images(10, 5, seed=1), strict=False):
        assert np.array_equal(np.asarray(Image.open(path)).reshape(expected.shape), expected)
    assert Image.open(paths[-1]).size == (3 * 18 + 2, 2 * 18 + 2)
    before = [path.read_bytes() for path in paths]
    assert [path.read_bytes() for path in sampler.save(out, 5, seed=1, start=10, grid=True)] == before


def test_the_sheet_holds_64_at_most(tmp_path: Path) -> None:
    sampler = Sampler.of(ShapeDependent("CPUExecutionProvider"))
    sheet = sampler.save(tmp_path, 70, grid=True)[-1]
    assert Image.open(io.BytesIO(sheet.read_bytes())).size == (8 * 4 + 2, 8 * 4 + 2)


def test_save_names_a_folder_it_cannot_make(generator: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    for out in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(GanletError, match=r"Cannot write .*taken"):
            Sampler(generator, threads=1).save(out, 1)


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(GanletError, match="No space left"):
        Sampler.of(ShapeDependent("CPUExecutionProvider")).save(tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("count", [0, -3])
def test_counts_below_one_are_refused_before_work(count: int, tmp_path: Path) -> None:
    sampler = Sampler.of(ShapeDependent("CPUExecutionProvider"))
    for draw in (lambda: sampler.images(0, count), lambda: sampler.stream(0, 0, count)):
        with pytest.raises(GanletError, match="count"):
            draw()
    with pytest.raises(GanletError, match="count"):
        sampler.save(tmp_path / "out", count)
    assert not (tmp_path / "out").exists()


def test_other_faults_are_told_at_once(generator: Path) -> None:
    sampler = Sampler.of(ShapeDependent("CPUExecutionProvider"))
    with pytest.raises(GanletError, match="takes z alone: it has no classes"):
        sampler.stream(0, 0, 1, label=1)
    with pytest.raises(GanletError, match="seed"):
        sampler.stream(-1, 0, 1)
    with pytest.raises(GanletError, match="first index"):
        sampler.stream(0, -5, 3)
    for make in (lambda: Sampler(generator, batch=0), lambda: Sampler.of(sampler.runner, batch=0)):
        with pytest.raises(GanletError, match="batch"):
            make()
