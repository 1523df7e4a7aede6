"""What a folder or an archive gives, and what is passed over, by kind and number."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ganlet.data import load_pictures
from ganlet.data.listing import Intake, list_folder, list_members


def picture(path: Path, shade: int = 9, kind: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), (shade, 60, 200), np.uint8)).save(path, format=kind)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANLET_CACHE", str(tmp_path / "cache"))
    (tmp_path / "pictures").mkdir()
    return tmp_path / "pictures"


def test_every_kind_that_fid_reads_is_trained_on(root: Path) -> None:
    kinds = ("png", "bmp", "tif", "tiff", "gif", "ppm", "webp", "jpg")
    for number, kind in enumerate(kinds):
        picture(root / f"{number}.{kind}")
    (root / "more.TIF").write_bytes((root / "2.tif").read_bytes())
    found = load_pictures("folder", path=root, size=8, channels=3)
    assert len(found) == 9 and found.intake.taken[".tif"] == 2 and not found.intake.passed_over
    assert np.abs(found.pictures.astype(int) - np.array([9, 60, 200]).reshape(3, 1, 1)).max() <= 6


def test_what_is_passed_over_is_said_by_kind_from_the_cache_too(root: Path, tmp_path: Path) -> None:
    picture(root / "a.png")
    picture(root / "scan", kind="TIFF")  # no suffix, a picture by its content
    (root / "readme").write_text("no picture")
    for name in ("x.HEIC", "y.heic", "z.CR2", "notes.txt"):
        (root / name).write_bytes(b"....ftypheic")
    (root / "more").symlink_to(tmp_path, target_is_directory=True)
    said: list[list[str]] = [[], []]
    for lines in said:
        found = load_pictures("folder", path=root, size=8, channels=3, say=lines.append)
    assert said[0] == said[1] and said[0][0] == "2 pictures taken (1 .png, 1 no suffix)"
    expected = {".heic": 2, ".cr2": 1, ".txt": 1, "linked folder": 1, "no suffix": 1}
    assert dict(found.intake.passed_over) == expected
    assert found.as_json()["passed_over"] == expected
    words = said[0][1]
    assert all(f"{number} {kind}" in words for kind, number in expected.items())
    assert "convert .heic .cr2 to PNG or JPEG" in words and "links to folders are not followed" in words


@pytest.mark.parametrize("name", ["@eaDir", ".thumbnails", "__MACOSX", ".git", "$RECYCLE.BIN", "lost+found"])
def test_folders_of_vendors_and_systems_are_passed_over(root: Path, name: str) -> None:
    picture(root / "sub" / "a.png")
    picture(root / "sub" / name / "a.png" / "SYNOPHOTO_THUMB_M.jpg", 70)
    (root / "Thumbs.db").write_bytes(b"x")
    picture(root / "._a.jpg", kind="PNG")
    found = load_pictures("folder", path=root, size=8, channels=3)
    assert found.names == ("sub/a.png",)
    assert dict(found.intake.passed_over) == {f"folder {name}": 1, "Thumbs.db": 1, "hidden file": 1}


def test_the_same_rules_hold_for_the_members_of_an_archive() -> None:
    names = ["a.png", "d\\b.GIF", "__MACOSX/._a.png", "__MACOSX/x.png", "d/@eaDir/t.jpg", "bild.heic", "scan", "notes"]
    pictures, intake = list_members(names, lambda name: name == "scan")
    assert pictures == ["a.png", "d\\b.GIF", "scan"]
    assert dict(intake.taken) == {".gif": 1, ".png": 1, "no suffix": 1}
    assert dict(intake.passed_over) == {".heic": 1, "folder @eaDir": 1, "folder __MACOSX": 1, "no suffix": 1}


def test_kinds_with_odd_names_and_many_kinds_stay_one_short_line(root: Path) -> None:
    names = [f"a.k{number}" for number in range(20)]
    for name in (*names, "b.\x1b[31m", "c.d e", "\udcff.\udcfe"):
        (root / name).write_bytes(b"x")
    intake = list_folder(root, lambda file: False).intake
    assert intake.passed_over["other suffix"] == 3
    assert intake.passed_over_words().endswith("of 13 other kinds")
    assert intake.passed_over_words().isprintable()


def test_embedded_and_idx_sources_say_what_they_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GANLET_CACHE", str(tmp_path / "cache"))
    header = bytes.fromhex("00000803") + b"".join(number.to_bytes(4, "big") for number in (3, 8, 8))
    (tmp_path / "i.idx").write_bytes(header + bytes(range(192)))
    lines: list[str] = []
    found = load_pictures("idx", path=tmp_path / "i.idx", size=8, channels=1, say=lines.append)
    assert lines[0] == "3 pictures taken (3 idx)" and found.intake == Intake({"idx": 3})


def test_a_folder_of_the_kinds_read_before_keeps_its_hash_and_its_cache(root: Path) -> None:
    """The key and the hash are those that the reader of JPEG, PNG and WebP alone gave for the same file."""
    (root / "a.png").write_bytes(PNG_OF_A_POINT)
    found = load_pictures("folder", path=root, size=2, channels=3)
    assert found.sha256 == "6dca01bcf4938174b38d859b732d36273cce425352fa39f1e9c58775d024c4e3"
    assert [path.stem for path in (root.parent / "cache").glob("*.npy")] == ["folder-b5af9e5bf022412145c2cda038ae4ed9"]


PNG_OF_A_POINT = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63e03a21070001"
    "d000f1245c91f40000000049454e44ae426082"
)
