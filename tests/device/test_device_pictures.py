"""Rounding, sheets and PNG bytes against values worked out by hand."""

import io

import numpy as np
import pytest
from PIL import Image

from ganlet.device.pictures import encode_png, grid, to_uint8
from ganlet.errors import GanletError


def test_to_uint8_rounds_halves_to_even_and_clips() -> None:
    values = np.array([-5, -1, 0, 1, 5, np.inf, -1 + 0.5 / 127.5, -1 + 1.5 / 127.5], dtype=np.float32)
    # 0 -> 127.5 -> 128; the last two lie at 0.5 and 1.5 up to the rounding of float32
    levels = to_uint8(values.reshape(1, 1, 1, 8)).ravel()
    assert levels[:6].tolist() == [0, 0, 128, 255, 255, 255]
    assert levels[6] in (0, 1) and levels[7] in (1, 2)
    exact = (np.arange(256, dtype=np.float32) / np.float32(127.5) - 1).reshape(1, 1, 16, 16)
    assert to_uint8(exact).ravel().tolist() == list(range(256))


def test_to_uint8_puts_channels_last() -> None:
    images = np.full((2, 3, 4, 5), -1, dtype=np.float32)
    images[1, 2, 3, 4] = 1
    levels = to_uint8(images)
    assert levels.shape == (2, 4, 5, 3) and levels.dtype == np.uint8 and levels.flags.c_contiguous
    assert levels[1, 3, 4, 2] == 255 and levels.sum() == 255


@pytest.mark.parametrize("images", [np.zeros((1, 3, 4, 4)), np.zeros((3, 4, 4), np.float32)])
def test_to_uint8_refuses_other_arrays(images: np.ndarray) -> None:
    with pytest.raises(GanletError, match="expected float32"):
        to_uint8(images)


def test_to_uint8_refuses_nan() -> None:
    with pytest.raises(GanletError, match="pictures hold NaN"):
        to_uint8(np.full((1, 1, 2, 2), np.nan, dtype=np.float32))


def test_grid_by_hand() -> None:
    pictures = np.arange(1, 4, dtype=np.uint8).reshape(3, 1, 1, 1)
    expected = [[9, 9, 9, 9, 9], [9, 1, 9, 2, 9], [9, 9, 9, 9, 9], [9, 3, 9, 9, 9], [9, 9, 9, 9, 9]]
    assert grid(pictures, pad_px=1, background=9)[:, :, 0].tolist() == expected
    assert grid(pictures, columns=3, pad_px=0)[:, :, 0].tolist() == [[1, 2, 3]]
    assert grid(pictures, columns=99, pad_px=0).shape == (1, 3, 1)
    assert grid(np.zeros((64, 32, 32, 3), np.uint8)).shape == (8 * 34 + 2, 8 * 34 + 2, 3)


@pytest.mark.parametrize("options", [{"columns": 0}, {"pad_px": -1}, {"background": 256}])
def test_grid_refuses_numbers_out_of_range(options: dict[str, int]) -> None:
    with pytest.raises(GanletError, match="Got a sheet"):
        grid(np.zeros((2, 4, 4, 3), np.uint8), **options)


def test_grid_refuses_no_pictures() -> None:
    with pytest.raises(GanletError, match="N >= 1"):
        grid(np.zeros((0, 4, 4, 3), np.uint8))


@pytest.mark.parametrize("channels", [1, 3])
def test_png_gives_back_every_pixel_and_is_reproducible(channels: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, channels), dtype=np.uint8)
    content = encode_png(picture)
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG" and image.mode == {1: "L", 3: "RGB"}[channels]
        assert np.array_equal(np.asarray(image).reshape(picture.shape), picture)
    assert encode_png(picture.copy()) == content
    assert b"tIME" not in content and b"tEXt" not in content


@pytest.mark.parametrize("shape", [(4, 4, 2), (4, 4), (0, 4, 3)])
def test_png_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(GanletError, match="expected uint8"):
        encode_png(np.zeros(shape, np.uint8))
