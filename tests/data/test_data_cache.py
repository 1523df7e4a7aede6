"""The cache: hits, damage, keys, races and full disks."""

import json
import multiprocessing
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganlet.data import PictureSet, folder, load_pictures
from ganlet.data.cache import default_cache, npy_header
from ganlet.errors import GanletError


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    root = tmp_path / "pictures"
    root.mkdir()
    for number in range(3):
        Image.new("RGB", (20, 12), (number * 40, 10, 200)).save(root / f"{number}.png")
    return root


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files decoded so far."""
    seen: list[Path] = []
    real = folder.decode_picture

    def spy(file: Path, **settings: Any) -> Any:
        seen.append(file)
        return real(file, **settings)

    monkeypatch.setattr(folder, "decode_picture", spy)
    return seen


def load(root: Path, cache: Path, **settings: Any) -> PictureSet:
    return load_pictures("folder", path=root, size=8, channels=3, cache_dir=cache, **settings)


def test_second_load_decodes_nothing(pictures: Path, tmp_path: Path, decoded: list[Path]) -> None:
    first = load(pictures, tmp_path / "cache")
    assert len(decoded) == 3
    second = load(pictures, tmp_path / "cache")
    assert len(decoded) == 3
    assert first.sha256 == second.sha256 and first.names == second.names and first.credit == second.credit
    np.testing.assert_array_equal(first.pictures, second.pictures)
    assert isinstance(second.pictures, np.memmap) and not second.pictures.flags.writeable
    assert not list((tmp_path / "cache").glob(".*"))


def test_settings_and_content_are_in_the_key(pictures: Path, tmp_path: Path, decoded: list[Path]) -> None:
    cache = tmp_path / "cache"
    first = load(pictures, cache)
    load(pictures, cache, crop="none")
    load(pictures, cache, skip_bad=True)
    assert len(decoded) == 9
    Image.new("RGB", (20, 12), (1, 2, 3)).save(pictures / "1.png")
    assert load(pictures, cache).sha256 != first.sha256
    (pictures / "1.png").rename(pictures / "9.png")
    assert load(pictures, cache).names == ("0.png", "2.png", "9.png")
    assert len(decoded) == 15


def test_a_moved_folder_is_still_known(pictures: Path, tmp_path: Path, decoded: list[Path]) -> None:
    load(pictures, tmp_path / "cache")
    moved = pictures.rename(tmp_path / "moved")
    assert load(moved, tmp_path / "cache").credit.endswith("moved")
    assert len(decoded) == 3


@pytest.mark.parametrize("damage", ["truncate", "flip", "grow", "no-meta", "bad-meta", "labels", "shape", "header"])
def test_damaged_entry_is_rebuilt(pictures: Path, tmp_path: Path, decoded: list[Path], damage: str) -> None:
    cache = tmp_path / "cache"
    sound = load(pictures, cache)
    sha256, content = sound.sha256, np.array(sound.pictures)
    del sound
    (npy,), (meta,) = cache.glob("*.npy"), cache.glob("*.json")
    raw, fields = bytearray(npy.read_bytes()), json.loads(meta.read_text())
    if damage == "truncate":
        npy.write_bytes(raw[:-5])
    elif damage == "flip":
        raw[200] ^= 1
        npy.write_bytes(raw)
    elif damage == "grow":
        npy.write_bytes(raw + b"x")
    elif damage == "header":
        npy.write_bytes(b"garbage")
    elif damage == "no-meta":
        meta.unlink()
    elif damage == "bad-meta":
        meta.write_text("{")
    elif damage == "labels":
        meta.write_text(json.dumps({**fields, "labels": [0, 0, 0], "label_names": ["x"]}))
    else:
        meta.write_text(json.dumps({**fields, "shape": [2, 3, 8, 8]}))
    again = load(pictures, cache)
    assert len(decoded) == 6
    assert again.sha256 == sha256
    np.testing.assert_array_equal(again.pictures, content)
    load(pictures, cache)
    assert len(decoded) == 6


def _load_in_process(root: Path, cache: Path, results: Any) -> None:
    found = load(root, cache)
    results.put((found.sha256, int(found.pictures.sum())))


def test_two_processes_make_one_sound_entry(pictures: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    args = (pictures, tmp_path / "cache", results)
    processes = [context.Process(target=_load_in_process, args=args) for _ in range(3)]
    for process in processes:
        process.start()
    found = {results.get(timeout=20) for _ in processes}
    for process in processes:
        process.join(20)
        assert process.exitcode == 0
    assert len(found) == 1
    assert load(*args[:2]).sha256 == found.pop()[0]
    assert len(list(args[1].iterdir())) == 2


def test_progress_counts_to_the_total_and_keeps_quiet_on_a_hit(pictures: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    for _ in range(2):
        load(pictures, tmp_path / "cache", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_full_disk_is_found_before_the_work(
    pictures: Path, tmp_path: Path, decoded: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 99, 1))
    with pytest.raises(GanletError, match=r"0\.0 MiB free .* GANLET_CACHE"):
        load(pictures, tmp_path / "cache")
    assert decoded == []


def test_unwritable_cache_is_found_before_the_work(pictures: Path, tmp_path: Path, decoded: list[Path]) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GanletError, match=r"Cannot write to the cache folder .* GANLET_CACHE"):
        load(pictures, tmp_path / "file" / "cache")
    assert decoded == []


def test_disk_that_fills_up_meanwhile_leaves_nothing(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    class Full:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def __enter__(self) -> "Full":
            return self

        def __exit__(self, *_: object) -> None:
            self.stream.close()

        def write(self, _: bytes) -> int:
            raise OSError(28, "No space left on device")

    def opened(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        stream = real(path, mode, *args, **kwargs)
        return Full(stream) if mode == "wb" else stream

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(GanletError, match="No space left"):
        load(pictures, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, pictures: Path) -> None:
    monkeypatch.setenv("GANLET_CACHE", str(tmp_path / "named"))
    load_pictures("folder", path=pictures, size=8, channels=1)
    assert len(list((tmp_path / "named").glob("folder-*.npy"))) == 1
    monkeypatch.delenv("GANLET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "ganlet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache() == tmp_path / "home" / ".cache" / "ganlet"


def test_header_is_read_by_numpy(tmp_path: Path) -> None:
    shape = (2, 3, 4, 5)
    assert len(npy_header((10**12, 3, 2048, 2048))) == len(npy_header(shape)) == 128
    (tmp_path / "x.npy").write_bytes(npy_header(shape) + bytes(range(120)))
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy").ravel(), np.arange(120))


@pytest.mark.parametrize("home", [None, "/proc/none", "file"])
def test_a_user_without_a_usable_home_has_a_cache_among_the_temporary_files(
    home: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No HOME and no entry in the list of users, a HOME that is not there, a HOME that is no folder."""
    from ganlet.data.cache import default_cache

    for name in ("GANLET_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path.replace("~", home) if home else path)
    (tmp_path / "file").write_text("")
    if home == "file":
        monkeypatch.setattr("os.path.expanduser", lambda path: path.replace("~", str(tmp_path / "file")))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    cache = default_cache()
    assert cache.parent == tmp_path and cache.stat().st_mode & 0o777 == 0o700


def test_a_cache_that_another_user_made_among_the_temporary_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ganlet.data.cache import default_cache

    for name in ("GANLET_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"ganlet-cache-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GanletError, match="set GANLET_CACHE"):
        default_cache()
