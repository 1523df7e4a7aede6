"""One reader for all: modes, ranges, metadata that is too long, and pictures that are huge."""

import io
import os
import struct
import threading
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from ganlet.data import PictureSet, load_pictures
from ganlet.data.parallel import Room, in_order
from ganlet.data.pixels import FILTER, to_square
from ganlet.data.reading import read_whole
from ganlet.data.values import value_notes
from ganlet.errors import GanletError

RNG = np.random.default_rng(0)


def load(root: Path, size: int = 8, channels: int = 1, **settings: bool) -> PictureSet:
    return load_pictures("folder", path=root, size=size, channels=channels, **settings)


def noise(*shape: int, top: int = 256) -> np.ndarray:
    return RNG.integers(0, top, shape, dtype=np.uint8)


def tiff(values: np.ndarray, bits: int, photometric: int, packed: bytes | None = None) -> bytes:
    """A grey TIFF written by hand: Pillow writes neither 12 bits nor 0 as white."""
    height, width = values.shape
    body = packed if packed is not None else values.astype("<u2").tobytes()
    tags = [(256, 3, width), (257, 3, height), (258, 3, bits), (259, 3, 1), (262, 3, photometric)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 3, height), (279, 4, len(body))]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + struct.pack("<H", len(tags)) + entries + bytes(4)


# --- values


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("F", r"floating-point values \(mode F\)"),
        ("I", r"32 bits or with a sign \(mode I\)"),
        ("LAB", "colours of the mode LAB"),
    ],
)
def test_modes_without_a_known_white_are_refused_by_name(root: Path, mode: str, words: str) -> None:
    Image.fromarray(noise(8, 8)).save(root / "good.png")
    Image.new(mode, (8, 8)).save(root / "odd.tif")
    with pytest.raises(GanletError, match=rf"1 of the 2 pictures .*: odd\.tif holds .*{words}.*; convert .* 8 bits"):
        load(root)
    assert load(root, skip_bad=True).names == ("good.png",)


def test_floats_in_several_channels_and_damaged_tiffs_are_told_apart_from_other_files(root: Path) -> None:
    (root / "a.tif").write_bytes(b"II*\0" + bytes(40))
    (root / "b.jpg").write_bytes(b"\0\0\0\x18ftypheic")
    with pytest.raises(
        GanletError, match=r"a\.tif is a damaged TIFF or one of a kind.*b\.jpg is a HEIC, AVIF or video"
    ):
        load(root)


def test_twelve_bits_and_a_reversed_scale_of_a_tiff_are_read_exactly(root: Path) -> None:
    values = np.arange(0, 4096, 64, dtype=np.int64).reshape(8, 8)
    first, second = values.reshape(-1, 2).T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype(np.uint8).tobytes()
    (root / "twelve.tif").write_bytes(tiff(values, 12, 1, packed))
    (root / "reversed.tif").write_bytes(tiff(values * 16, 16, 0))
    found = load(root)
    np.testing.assert_array_equal(found.pictures[1, 0], np.floor(values * 255 / 4095 + 0.5))
    np.testing.assert_array_equal(found.pictures[0, 0], np.floor((65535 - values * 16) / 257 + 0.5))


@pytest.mark.parametrize("kind", ["12 bits in 16", "0 and 1 in 8 bits", "white sprites"])
def test_a_set_that_hardly_uses_its_range_is_said_from_the_cache_too(root: Path, kind: str) -> None:
    for number in range(6):
        if kind == "12 bits in 16":
            picture = Image.fromarray(RNG.integers(0, 4096, (8, 8), dtype=np.uint16))
        elif kind == "0 and 1 in 8 bits":
            picture = Image.fromarray(noise(8, 8, top=2))
        else:
            picture = Image.fromarray(np.dstack([noise(8, 8, 3), np.zeros((8, 8), np.uint8)]))
        picture.save(root / f"{number}.png")
    for _ in range(2):
        notes = load(root).notes
        assert any("of 256 levels" in note and "scale the values to the full range" in note for note in notes)
        if kind == "white sprites":
            assert notes[0].startswith("6 of 6 pictures are transparent all over and become white")
            assert any("6 of 6 are of one colour" in note.replace(" pictures", "") for note in notes)


def test_a_set_that_uses_its_range_is_not_said(root: Path) -> None:
    for number in range(6):
        Image.fromarray(noise(8, 8)).save(root / f"{number}.png")
    assert load(root).notes == ()
    dark = np.full((50, 1, 8, 8), 200, np.uint8)
    dark[:, 0, 0, 0] = np.arange(0, 200, 4)  # a small figure on a grey ground
    assert value_notes(dark, None) == []


def test_several_frames_and_cmyk_are_counted(root: Path) -> None:
    frames = [Image.fromarray(noise(8, 8)) for _ in range(3)]
    for name in ("a.gif", "b.tif", "c.png", "d.webp"):
        frames[0].save(
            root / name, save_all=True, append_images=frames[1:], **({"lossless": True} if "w" in name else {})
        )
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(root / "e.jpg")
    Image.fromarray(noise(8, 8)).save(root / "f.png")
    for _ in range(2):
        found = load(root)
        assert found.notes[0] == "4 of 6 pictures hold more than one picture: the first of each is taken"
        assert found.notes[1].startswith("1 of 6 pictures are CMYK")
    for number in range(3):
        np.testing.assert_array_equal(found.pictures[number, 0], np.asarray(frames[0]))


# --- metadata


def long_texts(pixels: np.ndarray, kind: str) -> bytes:
    """A PNG whose text or profile unpacks to more than Pillow takes."""
    info, profile = PngImagePlugin.PngInfo(), None
    if kind == "zTXt":
        info.add_text("parameters", "x" * 2**21, zip=True)
    elif kind == "iTXt":
        info.add_itxt("workflow", "y" * 2**21, zip=True)
    elif kind == "iCCP":
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(2**21)
    elif kind == "behind":
        info.add(b"zTXt", b"parameters\0\0" + zlib.compress(b"x" * 2**21), after_idat=True)
    else:
        for number in range(3):
            info.add_text(f"key{number}", "z" * (2**20 - 10), zip=True)
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(stream, "PNG", pnginfo=info, icc_profile=profile, exif=exif)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP", "behind", "many"])
def test_long_texts_and_profiles_do_not_make_a_png_damaged(
    root: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 2**21)  # of 64 MiB
    pixels = noise(8, 8)
    (root / "a.png").write_bytes(long_texts(pixels, kind))
    with pytest.raises(ValueError, match=r"MAX_TEXT"), Image.open(root / "a.png") as image:
        image.load()
    Image.fromarray(noise(8, 8)).save(root / "b.png")
    found = load(root)
    np.testing.assert_array_equal(found.pictures[0, 0], pixels[::-1, ::-1])  # and its orientation is kept
    (root / "b.png").write_bytes((root / "b.png").read_bytes()[:60])
    assert load(root, skip_bad=True).names == ("a.png",)


def test_a_cut_png_with_long_texts_is_damaged(root: Path) -> None:
    content = long_texts(noise(64, 64), "zTXt")
    (root / "a.png").write_bytes(content[: len(content) - 1500])
    with pytest.raises(GanletError, match=r"a\.png is damaged"):
        load(root)


def test_what_an_earlier_reader_left_out_is_read_again(root: Path) -> None:
    (root / "a.png").write_bytes(long_texts(noise(8, 8), "zTXt"))
    Image.fromarray(noise(8, 8)).save(root / "b.png")
    whole = load(root, skip_bad=True)
    (meta,) = (root.parent / "cache").glob("*.json")
    text = meta.read_text()
    meta.write_text(
        text.replace('"reader": 2', '"reader": 1').replace('"skipped": []', '"skipped": ["a.png is damaged"]')
    )
    assert load(root, skip_bad=True).skipped == () and load(root, skip_bad=True).sha256 == whole.sha256


def test_damaged_exif_data_leaves_the_picture_as_it_is(root: Path) -> None:
    pixels = noise(8, 8)
    Image.fromarray(pixels).save(root / "a.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    Image.fromarray(pixels).save(root / "b.webp", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    found = load(root)
    np.testing.assert_array_equal(found.pictures[0, 0], pixels)


# --- sizes


@pytest.mark.parametrize(
    ("mode", "size", "box"),
    [
        ("RGB", (700, 523), None),
        ("RGBA", (523, 700), (11, 40, 400, 429)),
        ("P", (640, 480), (80, 0, 560, 480)),
        ("L", (97, 61), None),
        ("CMYK", (300, 200), (3, 1, 203, 199)),
    ],
)
@pytest.mark.parametrize("side", [8, 33, 150])
def test_strips_give_the_pixels_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, mode: str, size: tuple[int, int], box: tuple[int, int, int, int] | None, side: int
) -> None:
    bands = noise(size[1], size[0], 4)
    image = Image.fromarray(bands).convert("RGB").convert(mode) if mode != "RGBA" else Image.fromarray(bands)
    whole = to_square(image, box, size=side, channels=3)
    monkeypatch.setattr("ganlet.data.pixels.STRIP_PIXELS", 4000)
    np.testing.assert_array_equal(to_square(image, box, size=side, channels=3), whole)
    plain = Image.alpha_composite(Image.new("RGBA", size, "white"), image) if mode == "RGBA" else image
    plain = plain.convert("RGB").crop(box or (0, 0, *size)).resize((side, side), FILTER, reducing_gap=3.0)
    np.testing.assert_array_equal(whole, np.asarray(plain).transpose(2, 0, 1))


def test_deep_grey_in_strips_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image.fromarray(RNG.integers(0, 65536, (90, 70), dtype=np.uint16))
    whole = to_square(image, None, size=9, channels=1)
    monkeypatch.setattr("ganlet.data.pixels.STRIP_PIXELS", 500)
    np.testing.assert_array_equal(to_square(image, None, size=9, channels=1), whole)


def test_too_many_pixels_are_refused_with_the_limit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.fromarray(noise(100, 100)).save(root / "a.webp")
    Image.fromarray(noise(100, 100)).save(root / "b.png")
    monkeypatch.setattr("ganlet.data.reading.MAX_WEBP_PIXELS", 5000)
    with pytest.raises(GanletError, match=r"1 of the 2 .* a\.webp has 100x100 pixels, more than"):
        load(root)
    monkeypatch.setattr("ganlet.data.reading.MAX_WHOLE_PIXELS", 5000)
    with pytest.raises(Exception, match="100x100 pixels"):
        read_whole(lambda: (root / "b.png").open("rb"))


def test_threads_share_a_bounded_room_and_what_is_larger_runs_alone() -> None:
    room, lock, held, most = Room(100), threading.Lock(), [0], [0]

    def work(need: int) -> int:
        with room.of(need):
            with lock:
                held[0] += min(need, 100)
                most[0] = max(most[0], held[0])
            time.sleep(0.001)
            with lock:
                held[0] -= min(need, 100)
        return need

    needs = [30, 1000, 60, 40, 100, 10] * 5
    assert list(in_order(work, needs)) == needs and most[0] <= 100 and held[0] == 0


def test_in_order_holds_no_more_results_than_told() -> None:
    begun: list[int] = []
    results = in_order(lambda number: begun.append(number) or number, range(50), most_held=3)
    assert next(results) == 0 and len(begun) <= 4
    assert list(results) == list(range(1, 50))


# --- no files


@pytest.mark.parametrize("kind", ["pipe", "device", "pipe for landmarks", "pipe without a suffix"])
def test_pipes_and_devices_among_the_pictures_do_not_hang(root: Path, kind: str) -> None:
    Image.fromarray(noise(8, 9)).save(root / "b.png")
    if kind == "pipe":
        os.mkfifo(root / "a.png")
    elif kind == "device":
        (root / "a.png").symlink_to("/dev/zero")
    elif kind == "pipe for landmarks":
        os.mkfifo(root / "b.png.cat")
    else:
        os.mkfifo(root / "a")
        assert load(root).intake.passed_over == {"no suffix": 1}
        return
    with pytest.raises(GanletError, match="is not a regular file"):
        load_pictures("folder", path=root, size=8, channels=1, crop="landmarks" if "land" in kind else "center")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("a\0b", "embedded null byte"),
        ("x" * 300, "File name too long"),
        ("~nobody-here/p", "home folder of .* not known"),
    ],
)
def test_paths_that_are_none(path: str, words: str) -> None:
    with pytest.raises(GanletError, match=rf"{words}.*set data\.path"):
        load_pictures("folder", path=Path(path), size=8, channels=1)


def test_a_pipe_as_the_source_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for source in ("folder", "idx"):
        with pytest.raises(GanletError, match="a pipe or a device"):
            load_pictures(source, path=tmp_path / "pipe", size=8, channels=1)  # type: ignore[arg-type]


def test_a_folder_that_may_not_be_read_is_a_sentence(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "closed").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(
        GanletError, match=r"Cannot read the folder .*closed \(Permission denied\); mend its permissions"
    ):
        load(root)
