"""Copies of training pictures are found out, fresh pictures are not, and the sheet shows what was found."""

import numpy as np
import pytest

from ganlet.errors import GanletError
from ganlet.latent import flattened, memorisation, neighbours_sheet, rms_unit
from ganlet.latent.neighbours import GAP


def pictures(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)


def test_fresh_samples_are_as_near_as_held_out_pictures() -> None:
    random = np.random.default_rng(0)
    training, held, samples = (random.standard_normal((n, 6)) for n in (800, 400, 400))
    found = memorisation(samples, training, held)
    assert found.rate.low < 0.05 < found.rate.high and found.copies.value == 0.0
    assert found.median == pytest.approx(found.held_out_median, rel=0.1) and found.searched == 800
    far = np.sqrt(((samples[:, None] - training) ** 2).sum(-1))
    np.testing.assert_allclose(found.distances, np.sort(far, axis=1)[:, :3], rtol=1e-12)
    np.testing.assert_array_equal(found.indices, np.argsort(far, axis=1)[:, :3])


def test_a_generator_that_repeats_its_training_pictures_is_found_out() -> None:
    random = np.random.default_rng(0)
    training, held, samples = (random.standard_normal((n, 6)) for n in (800, 400, 400))
    samples[:100] = training[300:400]
    samples[100:200] = training[:100] + 0.01 * random.standard_normal((100, 6))
    found = memorisation(samples, training, held)
    assert found.copies.value == 0.25 and found.rate.low > 0.4
    assert found.indices[:100, 0].tolist() == list(range(300, 400))
    assert found.as_json()["rate"] == found.rate.as_json()


def test_a_distance_in_pixels_is_the_root_mean_square_of_a_pixel() -> None:
    base = np.zeros((1, 3, 4, 4), np.uint8)
    rows = flattened(base)
    assert rows.shape == (1, 48) and rows.dtype == np.uint8
    found = memorisation(flattened(base + np.uint8(51)), rows, np.tile(rows, (2, 1)), unit=rms_unit(rows))
    assert found.median == pytest.approx(0.2, rel=1e-12) and found.distances.shape == (1, 1)


def test_large_pictures_are_halved_before_they_are_compared() -> None:
    large = np.repeat(np.repeat(pictures(2, 0).transpose(0, 3, 1, 2), 32, axis=2), 32, axis=3)  # blocks of one colour
    assert large.shape == (2, 3, 128, 128)
    expected = np.repeat(np.repeat(pictures(2, 0).transpose(0, 3, 1, 2), 8, axis=2), 8, axis=3)
    np.testing.assert_array_equal(flattened(large), expected.reshape(2, -1))
    assert flattened(np.zeros((1, 3, 50, 50), np.uint8)).shape == (1, 3 * 25 * 25)


def test_the_sheet_shows_each_sample_beside_its_neighbours() -> None:
    training, held, samples = pictures(40, 0), pictures(20, 1), pictures(12, 2)
    samples[10] = training[5]
    rows, base, others = (flattened(part.transpose(0, 3, 1, 2)) for part in (samples, training, held))
    found = memorisation(rows, base, others)
    sheet = neighbours_sheet(samples, (found, training), (found, training))
    cell, height = 4 + 2, 8 * (4 + 2) + 2
    half = (1 * cell + 2) + 2 * (GAP + 3 * cell + 2)
    assert sheet.shape == (height, 2 * half + 5 * GAP, 3)
    np.testing.assert_array_equal(sheet[2:6, 2:6], samples[0])
    left = cell + 2 + GAP + 2
    np.testing.assert_array_equal(sheet[2:6, left : left + 4], training[found.indices[0, 0]])
    right = half + 5 * GAP
    np.testing.assert_array_equal(sheet[2:6, right + 2 : right + 6], samples[10])  # the most suspect first
    np.testing.assert_array_equal(sheet[2:6, right + left : right + left + 4], training[5])


def test_without_held_out_pictures_nothing_is_calibrated() -> None:
    rows = np.zeros((5, 3))
    with pytest.raises(GanletError, match=r"1 held-out pictures.*data\.holdout"):
        memorisation(rows, rows, rows[:1])
