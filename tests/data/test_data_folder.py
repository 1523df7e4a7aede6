"""Folders of pictures: modes, crops, orientation, labels and every kind of bad picture."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ganlet.data import PictureSet, load_pictures
from ganlet.data.landmarks import BadPictureError, landmark_box, read_landmarks
from ganlet.errors import GanletError

RNG = np.random.default_rng(0)


def load(root: Path, size: int = 8, channels: int = 3, **settings: Any) -> PictureSet:
    return load_pictures("folder", path=root, size=size, channels=channels, **settings)


def noise(width: int, height: int, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def planes(image: Image.Image) -> np.ndarray:
    pixels = np.asarray(image).astype(np.int64)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def test_center_crop_and_antialiased_shrinking_as_pillow_does(root: Path) -> None:
    image = Image.fromarray(noise(90, 50)).resize((300, 200))
    image.save(root / "a.png")
    expected = image.crop((50, 0, 250, 200)).resize((16, 16), Image.Resampling.LANCZOS)
    found = load(root, 16).pictures
    assert found.shape == (1, 3, 16, 16) and found.dtype == np.uint8
    assert np.abs(found[0] - planes(expected)).mean() < 1.5


def test_center_crop_without_scaling_is_exact(root: Path) -> None:
    pixels = noise(13, 8)
    Image.fromarray(pixels).save(root / "a.png")
    np.testing.assert_array_equal(load(root, 8).pictures[0], pixels[:, 2:10].transpose(2, 0, 1))


def test_no_crop_squeezes_the_whole_picture(root: Path) -> None:
    image = Image.fromarray(noise(32, 8))
    image.save(root / "a.png")
    found = load(root, 8, crop="none").pictures[0]
    assert np.abs(found - planes(image.resize((8, 8), Image.Resampling.LANCZOS))).mean() < 1.5


def test_large_jpeg_survives_the_fast_decoder(root: Path) -> None:
    image = Image.fromarray(noise(12, 9)).resize((1600, 1201), Image.Resampling.BICUBIC)
    image.save(root / "a.JPG", quality=95)
    side = image.crop((199, 0, 1400, 1201)).resize((32, 32), Image.Resampling.LANCZOS)
    assert np.abs(load(root, 32).pictures[0] - planes(side)).mean() < 0.6  # misplaced by a fraction of a pixel: 3.3


def test_every_format_and_extension_case(root: Path) -> None:
    image = Image.new("RGB", (9, 9), (200, 30, 90))
    for name in ("a.jpg", "b.JPEG", "c.Png", "d.WEBP", "e.jpe"):
        image.save(root / name, format={"c.Png": "PNG", "d.WEBP": "WEBP"}.get(name, "JPEG"))
    (root / "notes.txt").write_text("not a picture")
    (root / "._a.jpg").write_bytes(b"left behind by macOS")
    (root / ".thumbnails").mkdir()
    image.save(root / ".thumbnails" / "t.png")
    found = load(root)
    assert found.names == ("a.jpg", "b.JPEG", "c.Png", "d.WEBP", "e.jpe")
    assert np.abs(found.pictures.astype(int) - np.array([200, 30, 90]).reshape(3, 1, 1)).max() <= 6


@pytest.mark.parametrize("channels", [1, 3])
def test_modes_end_on_white(root: Path, channels: int) -> None:
    half_red = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    half_red.save(root / "rgba.png")
    half_red.save(root / "webp.webp", lossless=True)
    Image.new("LA", (8, 8), (0, 0)).save(root / "la.png")
    Image.new("L", (8, 8), 77).save(root / "l.png")
    Image.new("1", (8, 8), 1).save(root / "one.png")
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 200, 30])
    palette.save(root / "p.png")
    palette.save(root / "pt.png", transparency=1)
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(root / "cmyk.jpg", quality=100)
    found = load(root, channels=channels)
    assert found.names is not None
    got = {name: found.pictures[i, :, 4, 4].astype(int) for i, name in enumerate(found.names)}
    pink, green = (255, 127, 127), (10, 200, 30)
    expected = {"rgba.png": pink, "webp.webp": pink, "la.png": (255,) * 3, "l.png": (77,) * 3, "one.png": (255,) * 3}
    expected |= {"p.png": green, "pt.png": (255,) * 3, "cmyk.jpg": (254, 0, 0)}
    assert set(got) == set(expected)
    for name, colour in expected.items():
        wanted = colour if channels == 3 else (np.dot(colour, [0.299, 0.587, 0.114]),)
        np.testing.assert_allclose(got[name], wanted, atol=3, err_msg=name)


def test_sixteen_bit_grey_keeps_its_shades(root: Path) -> None:
    values = np.array([0, 257, 20_000, 40_000, 65_535], dtype=np.uint16)
    Image.fromarray(np.tile(values[:, None], (1, 5))).save(root / "wide.png")
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(load(root, 5, 1).pictures[0, 0, :, 0], expected)
    np.testing.assert_array_equal(load(root, 5, 3).pictures[0, 2, :, 0], expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(root: Path, orientation: int) -> None:
    upright = noise(8, 8)
    # What the camera stored, so that the tag turns it upright: EXIF 2.3, tag 274.
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright, 1), 7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(root / "a.png", exif=exif)
    np.testing.assert_array_equal(load(root, 8).pictures[0], upright.transpose(2, 0, 1))


def test_order_is_by_name_and_labels_are_first_level_folders(root: Path) -> None:
    for name in ("dog/z.png", "cat/b.png", "cat/a/deep.png", "ant/a.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 9).save(root / name)
    found = load(root)
    assert found.names == ("ant/a.png", "cat/a/deep.png", "cat/b.png", "dog/z.png")
    assert found.label_names == ("ant", "cat", "dog")
    assert found.labels is not None and found.labels.dtype == np.int64
    np.testing.assert_array_equal(found.labels, [0, 1, 1, 2])
    Image.new("L", (8, 8), 9).save(root / "loose.png")
    assert load(root).labels is None and load(root).label_names == ()


def test_links_to_folders_are_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    Image.new("L", (8, 8), 9).save(tmp_path / "elsewhere" / "x.png")
    Image.new("L", (8, 8), 9).save(root / "a.png")
    (root / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "loop").symlink_to(root, target_is_directory=True)
    assert load(root).names == ("a.png",)


def bomb() -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def spoil(root: Path) -> list[str]:
    """A good picture, and one of each kind of bad one; returns the sorted names of the bad ones."""
    Image.fromarray(noise(40, 40)).save(root / "good.png")
    stream = io.BytesIO()
    Image.fromarray(noise(40, 40)).save(stream, "JPEG")
    (root / "cut.jpg").write_bytes(stream.getvalue()[:600])
    (root / "cut.png").write_bytes((root / "good.png").read_bytes()[:900])
    (root / "empty.png").write_bytes(b"")
    (root / "text.jpg").write_text("hello")
    stream = io.BytesIO()
    Image.new("P", (5, 5)).save(stream, "TGA")
    (root / "tga.png").write_bytes(stream.getvalue())
    (root / "bomb.png").write_bytes(bomb())
    (root / "broken-link.png").symlink_to(root / "nowhere.png")
    (root / "folder.png").symlink_to("/dev/null")
    return sorted(
        ["cut.jpg", "cut.png", "empty.png", "text.jpg", "tga.png", "bomb.png", "broken-link.png", "folder.png"]
    )


def test_bad_pictures_make_one_error_with_names_and_reasons(root: Path) -> None:
    bad = spoil(root)
    with pytest.raises(GanletError) as caught:
        load(root)
    message = str(caught.value)
    assert message.startswith(f"8 of the 9 pictures in {root} cannot be used: ")
    assert all(name in message for name in bad) and "good.png" not in message
    assert "empty.png is empty (0 bytes)" in message
    assert "text.jpg is not a JPEG, PNG, WebP, BMP, TIFF, GIF or PNM picture" in message
    assert "bomb.png has more than 178 million pixels" in message
    assert "folder.png is not a regular file" in message
    assert "data.skip_bad = true" in message and "\n" not in message
    assert not list(root.parent.glob("cache/*"))


def test_skip_bad_goes_on_and_says_what_it_left_out(root: Path) -> None:
    bad = spoil(root)
    progress: list[tuple[int, int]] = []
    found = load(root, 40, skip_bad=True, progress=lambda *state: progress.append(state))
    assert found.names == ("good.png",) and len(found) == 1
    assert [entry.split()[0] for entry in found.skipped] == bad
    with Image.open(root / "good.png") as image:
        np.testing.assert_array_equal(found.pictures[0], planes(image))
    assert load(root, 40, skip_bad=True).skipped == found.skipped
    assert progress[-1][1] == 9


def test_only_ten_of_many_are_listed(root: Path) -> None:
    for number in range(23):
        (root / f"{number:02}.png").write_bytes(b"")
    Image.new("L", (8, 8)).save(root / "good.png")
    with pytest.raises(GanletError, match=r"23 of the 24 .* 09\.png is empty \(0 bytes\) and 13 more; mend"):
        load(root)


def test_all_bad_is_an_error_even_when_skipping(root: Path) -> None:
    (root / "a.png").write_bytes(b"")
    for skip_bad in (False, True):
        with pytest.raises(GanletError, match=r"None of the 1 pictures in .* a\.png is empty"):
            load(root, skip_bad=skip_bad)


def test_folders_without_pictures(root: Path) -> None:
    with pytest.raises(GanletError, match="is empty; put JPEG"):
        load(root)
    (root / "notes.txt").write_text("x")
    (root / "more.csv").write_text("x")
    with pytest.raises(GanletError, match=r"holds 2 files \(such as more\.csv\) but no picture; put JPEG.*data\.path"):
        load(root)
    with pytest.raises(GanletError, match=r"cannot be opened \(No such file or directory\); set data\.path"):
        load(root / "missing")
    with pytest.raises(GanletError, match="is a file, but a folder"):
        load(root / "notes.txt")
    with pytest.raises(GanletError, match="no path is given"):
        load_pictures("folder", size=8, channels=3)


# --- landmarks


def landmarked(root: Path, text: str | None, name: str = "cat.jpg", size: tuple[int, int] = (100, 80)) -> np.ndarray:
    pixels = noise(*size)
    Image.fromarray(pixels).save(root / name, format="PNG")
    if text is not None:
        (root / f"{name}.cat").write_text(text)
    return pixels


def test_landmark_crop_by_hand(root: Path) -> None:
    # Box x 30..60, y 20..40: side 30 + 2*10 = 50, middle (45, 30): x 20..70, y 5..55.
    pixels = landmarked(root, "3 30 20 60 40\n 45 25 \n")
    found = load(root, 50, crop="landmarks")
    np.testing.assert_array_equal(found.pictures[0], pixels[5:55, 20:70].transpose(2, 0, 1))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "ascii"])
def test_landmark_files_of_other_encodings(root: Path, encoding: str) -> None:
    pixels = landmarked(root, None)
    (root / "cat.jpg.cat").write_bytes("3 30 20 60 40\r\n 45 25".encode(encoding))
    found = load(root, 50, crop="landmarks")
    np.testing.assert_array_equal(found.pictures[0], pixels[5:55, 20:70].transpose(2, 0, 1))


def test_landmark_crop_comes_before_the_orientation(root: Path) -> None:
    pixels = noise(100, 80)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(root / "cat.jpg", format="PNG", exif=exif)
    (root / "cat.jpg.cat").write_text("2 30 20 60 40")
    found = load(root, 50, crop="landmarks")
    np.testing.assert_array_equal(found.pictures[0], pixels[5:55, 20:70][::-1, ::-1].transpose(2, 0, 1))


@pytest.mark.parametrize(
    ("points", "box"),
    [
        ([(0, 0), (30, 10)], (0, 0, 50, 50)),  # moved inside, left and top
        ([(99, 79)], (80, 60, 100, 80)),  # moved inside, right and bottom; one point alone
        ([(0, 0), (99, 79)], (10, 0, 90, 80)),  # shrunk to the picture's height
        ([(40, 40)], (30, 30, 50, 50)),
    ],
)
def test_landmark_box_is_clipped(points: list[tuple[float, float]], box: tuple[int, ...]) -> None:
    assert landmark_box(points, 100, 80) == box


@given(
    points=st.lists(st.tuples(st.floats(0, 99.9), st.floats(0, 79.9)), min_size=1, max_size=9),
)
def test_landmark_box_is_a_square_inside_and_around_the_points(points: list[tuple[float, float]]) -> None:
    left, top, right, bottom = landmark_box(points, 100, 80)
    assert right - left == bottom - top and 0 <= left < right <= 100 and 0 <= top < bottom <= 80
    if right - left < 80:
        assert all(left <= x <= right and top <= y <= bottom for x, y in points)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "is not square and has no landmark file cat.jpg.cat"),
        ("", "is empty"),
        ("two 1 2 3 4", "other than numbers"),
        ("2 1 2 3", "promises 2 points but holds 3 coordinates"),
        ("1 1 2 3 4", "promises 1 points but holds 4 coordinates"),
        ("0", "promises 0 points"),
        ("-1", "promises -1 points"),
        ("2 10 10 100 20", r"landmark \(100, 20\) lies outside its 100x80 picture"),
        ("1 -1 5", "lies outside"),
        ("1 nan 5", "lies outside"),
        ("9" * 70_000, "larger than 65536 bytes"),
        ("9" * 6_000 + " 1", "promises|other than numbers"),
    ],
)
def test_landmark_faults(root: Path, text: str | None, reason: str) -> None:
    landmarked(root, text)
    landmarked(root, "1 50 40", name="good.jpg")
    with pytest.raises(GanletError, match=rf"1 of the 2 pictures .* cat\.jpg .*{reason}"):
        load(root, crop="landmarks")
    found = load(root, crop="landmarks", skip_bad=True)
    assert found.names == ("good.jpg",) and found.skipped[0].startswith("cat.jpg ")


def test_a_square_picture_without_landmarks_counts_as_cropped(root: Path) -> None:
    landmarked(root, None, size=(40, 40))
    assert np.array_equal(load(root, crop="landmarks").pictures[:], load(root, crop="none").pictures[:])
    landmarked(root, "1 20 20", size=(40, 40))
    assert not np.array_equal(load(root, crop="landmarks").pictures[:], load(root, crop="none").pictures[:])


def test_landmark_files_are_in_the_key_only_when_they_are_used(root: Path) -> None:
    landmarked(root, "1 30 30")
    plain, marked = load(root).sha256, load(root, crop="landmarks").sha256
    (root / "cat.jpg.cat").write_text("1 70 30")
    assert load(root, crop="landmarks").sha256 != marked
    assert load(root).sha256 == plain
    assert len(list((root.parent / "cache").glob("*.npy"))) == 3


def test_landmark_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(BadPictureError, match="is not a regular file"):
        read_landmarks(tmp_path)
