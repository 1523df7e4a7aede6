"""`ganlet fid` reads pictures as training does, says what it took, and bounds its memory."""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from ganlet.commands.fid.files import chunks_of, decode, folder_files
from support import Answer, expect_refused, zip_of

Call = Callable[..., Answer]
Pictures = Callable[..., Path]


def document(answer: Answer) -> dict[str, Any]:
    code, out, err = answer
    assert code == 0, err
    return dict(json.loads(out.splitlines()[-1]))


def distance(answer: Answer) -> float:
    return float(next(iter(document(answer)["figures"].values()))["value"])


def save_as(source: Path, folder: Path, kind: str) -> Path:
    """The pictures of `source` once more, so that the toolkit has to read them as the same."""
    folder.mkdir()
    for file in sorted(source.iterdir()):
        with Image.open(file) as image:
            pixels = np.asarray(image)
        path = folder / file.name
        exif = Image.Exif()
        if kind == "turned":
            exif[0x0112] = 3
            Image.fromarray(np.ascontiguousarray(pixels[::-1, ::-1])).save(path, exif=exif)
        elif kind == "transparent":
            clear = np.zeros((*pixels.shape[:2], 1), np.uint8)
            Image.fromarray(np.dstack([pixels, np.where(pixels[..., :1] > 0, 255, clear)])).save(path)
        elif kind == "long texts":
            info = PngImagePlugin.PngInfo()
            info.add_text("parameters", "x" * 2**21, zip=True)
            Image.fromarray(pixels).save(path, pnginfo=info)
        else:
            Image.fromarray(pixels).save(path.with_suffix(kind))
    return folder


@pytest.mark.parametrize(
    ("kind", "note"),
    [
        ("turned", "A: 24 of 24 pictures are turned upright by their EXIF orientation"),
        ("transparent", "A: 24 of 24 pictures have an alpha channel and are laid on white"),
        ("long texts", ""),
        (".bmp", ""),
        (".gif", ""),
    ],
)
@pytest.mark.parametrize("size", [(), ("--size", 16)])
def test_a_set_saved_in_another_way_is_at_zero(
    ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path, kind: str, note: str, size: tuple[Any, ...]
) -> None:
    b = pictures("b")
    if kind == "transparent":  # what is transparent is to be white
        for file in b.iterdir():
            pixels = np.asarray(Image.open(file)).copy()
            pixels[pixels[..., 0] == 0] = 0
            Image.fromarray(np.where(pixels[..., :1] == 0, 0, pixels).astype(np.uint8)).save(file)
    a = save_as(b, tmp_path / "a", kind)
    if kind == "transparent":
        for file in b.iterdir():
            pixels = np.asarray(Image.open(file))
            Image.fromarray(np.where(pixels[..., :1] == 0, 255, pixels).astype(np.uint8)).save(file)
    if kind == ".gif":
        for file in a.iterdir():  # a palette may have changed the colours
            Image.open(file).convert("RGB").save(b / file.with_suffix(".png").name)
    answer = ganlet("fid", a, b, "--features", net, *size, "--json")
    assert distance(answer) == pytest.approx(0, abs=1e-6)
    notes = document(answer)["notes"]
    assert notes[-1].startswith("A and B are the same pictures")
    assert len(notes) == 1 if not note else notes[0].startswith(note)


def test_deep_pictures_that_are_dark_are_said(ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    drawn = np.random.default_rng(0).integers(0, 4096, (24, 16, 16), dtype=np.uint16)
    for number, picture in enumerate(drawn):
        Image.fromarray(picture).save(tmp_path / "deep" / f"{number}.png")
    for _ in range(2):  # the second time from the cache
        notes = document(ganlet("fid", tmp_path / "deep", pictures(str(_)), "--features", net, "--json"))["notes"]
        assert notes[0].startswith("A: the pictures use 17 of 256 levels (0 to 16)")


def test_both_sides_say_what_they_took_and_passed_over(ganlet: Call, net: Path, pictures: Pictures) -> None:
    a, b = pictures("a"), pictures("b", seed=1)
    (a / "x.heic").write_bytes(b"....ftypheic")
    (a / "@eaDir").mkdir()
    (a / "link").symlink_to(b, target_is_directory=True)
    archive = zip_of(b, b.parent / "b.zip")
    with zipfile.ZipFile(archive, "a") as opened:
        opened.writestr("__MACOSX/._000.png", b"x")
        opened.writestr("notes.txt", b"x")
    code, out, err = ganlet("fid", a, archive, "--features", net, "--json")
    found = document((code, out, err))
    assert found["a"]["taken"] == {".png": 24} and found["b"]["taken"] == {".png": 24}
    assert found["a"]["passed_over"] == {".heic": 1, "folder @eaDir": 1, "linked folder": 1}
    assert found["b"]["passed_over"] == {".txt": 1, "folder __MACOSX": 1}
    assert "A: passed over: 1 .heic, 1 folder @eaDir, 1 linked folder; convert .heic" in err
    assert any(note.startswith("B: passed over: 1 .txt, 1 folder __MACOSX") for note in found["notes"])


@pytest.mark.parametrize(
    "name",
    ["a:1.png", "12:30.png", "folder\\b.png", "\x1b[31mred.png", "new\nline.png", "Ελληνικά.png", "猫.png", "é.png"],
)
def test_members_with_odd_names_are_read(
    ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path, name: str
) -> None:
    b = pictures("b")
    path = tmp_path / "odd.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(b.iterdir()):
            archive.write(file, name if file.name == "000.png" else file.name)
    assert distance(ganlet("fid", path, b, "--features", net, "--json")) == pytest.approx(0, abs=1e-6)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("bad" + name, b"no picture")
    code, _, err = ganlet("fid", path, b, "--features", net)
    assert code == 2 and "\x1b" not in err and len(err.rstrip().splitlines()[-1]) > 60


def test_members_in_an_old_code_page_are_read(ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path) -> None:
    b = pictures("b")
    content = zip_of(b, tmp_path / "old.zip").read_bytes()
    (tmp_path / "old.zip").write_bytes(content.replace(b"000.png", b"\x81\xff0.png"))
    assert distance(ganlet("fid", tmp_path / "old.zip", b, "--features", net, "--json")) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["pipe", "pipe.zip", "pipe.npz", "pipe.onnx"])
def test_a_pipe_as_a_side_does_not_hang(ganlet: Call, net: Path, pictures: Pictures, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    expect_refused(ganlet("fid", tmp_path / name, pictures("b"), "--features", net), "a pipe or a device")
    expect_refused(ganlet("fid", tmp_path / ("x" * 300), pictures("c"), "--features", net), "File name too long")


def test_pipes_and_devices_among_the_pictures_do_not_hang(ganlet: Call, net: Path, pictures: Pictures) -> None:
    a = pictures("a")
    os.mkfifo(a / "pipe.png")
    (a / "zero.png").symlink_to("/dev/zero")
    answer = ganlet("fid", a, a, "--features", net)
    expect_refused(answer, "pipe.png is not a regular file", "zero.png is not a regular file")


def test_large_pictures_are_held_one_at_a_time_and_give_the_same_pixels(
    pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    files, _ = folder_files(pictures("a"))
    whole = np.concatenate(list(chunks_of(files, "a", None, (16, 16), 64)))
    monkeypatch.setattr("ganlet.commands.fid.files.HELD_BYTES", 3 * 16 * 16 * 2)
    chunks = list(chunks_of(files, "a", None, (16, 16), 64))
    assert [len(chunk) for chunk in chunks] == [2] * 12
    np.testing.assert_array_equal(np.concatenate(chunks), whole)


def test_too_many_pixels_name_the_option_that_shrinks(
    ganlet: Call, net: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pictures("a"), pictures("b", seed=1)
    monkeypatch.setattr("ganlet.commands.fid.files.MAX_WHOLE_PIXELS", 255)
    expect_refused(ganlet("fid", a, b, "--features", net), "000.png has 16x16 pixels", "are read with --size")
    assert distance(ganlet("fid", a, b, "--features", net, "--size", 8, "--json")) > 0


def test_plain_colours_are_read_as_pytorch_fid_reads_them(pictures: Pictures) -> None:
    for file in pictures("a").iterdir():
        with Image.open(file) as image:
            expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        np.testing.assert_array_equal(decode(lambda file=file: file.open("rb"), None), expected)  # type: ignore[misc]
